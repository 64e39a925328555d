"""Kafka messages as the engine's records."""

from collections.abc import Iterable
from operator import methodcaller

from confluent_kafka import Message

from consumer.engine.records import Headers, Record, header_bytes

_headers = methodcaller("headers")  # called directly, an error inside it can surface in a later, unrelated call


class RecordReader:
    """Converts messages to records; for one thread.

    Producers usually send the same headers with every record. Consecutive records with equal headers share them, so the
    core reads them once: 2 µs less for such a request, and 400 bytes. Headers that differ cost one comparison.
    """

    def __init__(self) -> None:
        self._headers: Headers | None = ()
        self._header_bytes = 0

    def read(self, message: Message) -> Record | Message:
        """Return the record of a message, or the message itself if it stands for an error of the library."""
        return self.record_of(message) if message.error() is None else message

    def record_of(self, message: Message) -> Record:
        """Return the record of a message without error; headers whose names are not UTF-8 become ``None``."""
        try:
            headers = _headers(message)
        except (SystemError, UnicodeDecodeError):
            headers = None
        else:
            headers = headers or ()
        if headers != self._headers:
            self._headers, self._header_bytes = headers, header_bytes(headers)
        partition, offset = coordinates(message)
        key, value, timestamp = message.key(), message.value(), message.timestamp()[1]
        return Record(partition, offset, timestamp, key, value, self._headers, None, self._header_bytes)


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
