"""Kafka messages as the engine's records."""

from collections.abc import Iterable
from operator import methodcaller

from confluent_kafka import Message

from consumer.engine.records import Record

_headers = methodcaller("headers")  # called directly, an error inside it can surface in a later, unrelated call


def read(message: Message) -> Record | Message:
    """Return the record of a message, or the message itself if it stands for an error of the library."""
    return record_of(message) if message.error() is None else message


def record_of(message: Message) -> Record:
    """Return the record of a message without error; headers whose names are not UTF-8 become ``None``."""
    try:
        headers = _headers(message)
    except (SystemError, UnicodeDecodeError):
        headers = None
    else:
        headers = headers or ()
    partition, offset = coordinates(message)
    return Record(partition, offset, message.timestamp()[1], message.key(), message.value(), headers)


def coordinates(message: Message) -> tuple[int, int]:
    """Return partition and offset of a message; -1 where the library gives none, as for errors."""
    partition, offset = message.partition(), message.offset()
    return -1 if partition is None else partition, -1 if offset is None else offset


def total_bytes(fetched: Iterable[Record | Message]) -> int:
    """Return the bytes of all records; errors count nothing."""
    return sum(each.size for each in fetched if isinstance(each, Record))


def unreadable_record(partition: int, offset: int) -> Record:
    """Return what stands for an offset whose batch librdkafka cannot decompress: it becomes a dead letter."""
    problem = "the batch of records that it came in cannot be unpacked: it is broken, or becomes too large"
    return Record(partition, offset, -1, None, None, None, problem)
