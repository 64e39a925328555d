"""Avro: how events are encoded, framed and read."""
