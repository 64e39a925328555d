"""Kafka: the consumer, the producer, and the records that are published."""
