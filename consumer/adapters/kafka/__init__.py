"""Kafka: the consumer (``source``), the producer (``committer``), records to publish, and administration."""
