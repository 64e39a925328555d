"""Records as they lie in a topic, written and read with nothing of ours in between."""

import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

Headers: TypeAlias = list[tuple[str, bytes | None]]


@dataclass(frozen=True, slots=True)
class RawRecord:
    """A record to send; ``partition`` of ``None`` leaves the choice to the partitioner."""

    value: bytes | None
    key: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    partition: int | None = None


@dataclass(frozen=True, slots=True)
class ReadRecord:
    """A record that was read."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    timestamp: int
    """Milliseconds since the epoch."""

    def header(self, name: str) -> str | None:
        """The last header of this name, as text."""
        found = [value for header, value in self.headers if header == name]
        return found[-1].decode() if found and found[-1] is not None else None


def send_raw(
    bootstrap: str, topic: str, records: Iterable[RawRecord], *, compression: str = "none"
) -> list[tuple[int, int]]:
    """Write records; their (partition, offset), in order. Returns once the broker has acknowledged all."""
    limits = {"linger.ms": 5, "message.max.bytes": 100_000_000, "compression.type": compression}
    producer = Producer({"bootstrap.servers": bootstrap, **limits})
    written: dict[int, tuple[int, int]] = {}

    def delivered(index: int) -> Callable[[KafkaError | None, Message], None]:
        def note(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                raise KafkaException(error)
            written[index] = _coordinates(message)

        return note

    for index, record in enumerate(records):
        producer.produce(
            topic,
            record.value,
            record.key,
            partition=-1 if record.partition is None else record.partition,
            headers=list(record.headers),
            on_delivery=delivered(index),
        )
        producer.poll(0)
    left = producer.flush(60)
    if left:
        raise TimeoutError(f"{left} records were not acknowledged within 60 s")
    return [coordinates for _, coordinates in sorted(written.items())]


def read_topic(
    bootstrap: str,
    topic: str,
    *,
    count: int | None = None,
    timeout: float = 30,
    isolation: Literal["read_committed", "read_uncommitted"] = "read_committed",
) -> list[ReadRecord]:
    """Read a topic as :func:`scan_topic` does; in the order of partition and offset."""
    read = scan_topic(bootstrap, topic, count=count, timeout=timeout, isolation=isolation)
    return sorted(read, key=lambda record: (record.partition, record.offset))


def scan_topic(
    bootstrap: str,
    topic: str,
    *,
    count: int | None = None,
    timeout: float = 600,
    isolation: Literal["read_committed", "read_uncommitted"] = "read_committed",
) -> Iterator[ReadRecord]:
    """Yield a topic's records from its beginning: ``count`` of them, or all up to its present end.

    Raises :class:`TimeoutError`, with the number read, where ``count`` do not arrive within ``timeout`` seconds.
    """
    consumer = _reader(bootstrap, isolation)
    try:
        metadata = consumer.list_topics(topic, timeout=10).topics[topic]
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in metadata.partitions])
        yield from _read(consumer, len(metadata.partitions), count, time.monotonic() + timeout)
    finally:
        consumer.close()


def _reader(bootstrap: str, isolation: str) -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"reader-{uuid.uuid4()}",
            "isolation.level": isolation,
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
        }
    )


def _read(consumer: Consumer, partitions: int, count: int | None, deadline: float) -> Iterator[ReadRecord]:
    """Stops after ``count`` records; where that is ``None``, once each partition's end was met."""
    seen, ended = 0, set[int | None]()
    while (seen < count) if count is not None else (len(ended) < partitions):
        if time.monotonic() > deadline:
            raise TimeoutError(f"read {seen} records of {'all' if count is None else count} in time")
        for message in consumer.consume(1000, 0.2):
            error = message.error()
            if error is None:
                seen += 1
                yield read_message(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                ended.add(message.partition())
            else:
                raise KafkaException(error)


def read_message(message: Message) -> ReadRecord:
    """The record that a consumer gave."""
    partition, offset = _coordinates(message)
    headers = tuple(cast(Headers, message.headers() or []))
    return ReadRecord(partition, offset, message.key(), message.value(), headers, message.timestamp()[1])


def _coordinates(message: Message) -> tuple[int, int]:
    partition, offset = message.partition(), message.offset()
    assert partition is not None
    assert offset is not None
    return partition, offset
