"""Faults on a real Kafka under load, and what they cost: ``python -m tests.chaos``."""
