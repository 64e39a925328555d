"""The service: answers resynchronization requests read from Kafka."""

__version__ = "0.1.0"
