"""librdkafka's clients as the tools use them, over topics in memory: the edge, and nothing else.

A leader's address has to accept connections, since the tools try it: a socket on this machine does.
"""

import socket
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AclOperation  # type: ignore[attr-defined]  # public, yet not marked

from schemas.settings import Settings, load
from tests.support.policies import adjust

Header = tuple[str, bytes | None]


@dataclass(frozen=True)
class FakeMessage:
    """A record, or an event such as the end of a partition."""

    partition_: int = 0
    offset_: int = 0
    value_: bytes | None = b"value"
    key_: bytes | None = None
    headers_: Sequence[Header] | None = ()
    timestamp_: int = 1_700_000_000_250
    error_: KafkaError | None = None

    def partition(self) -> int:
        return self.partition_

    def offset(self) -> int:
        return self.offset_

    def value(self) -> bytes | None:
        return self.value_

    def key(self) -> bytes | None:
        return self.key_

    def headers(self) -> list[Header] | None:
        if self.headers_ is None:
            raise SystemError("a name that is not UTF-8")
        return list(self.headers_)

    def timestamp(self) -> tuple[int, int]:
        return 1, self.timestamp_

    def error(self) -> KafkaError | None:
        return self.error_


@dataclass
class FakeBroker:
    """Topics and what goes wrong with them."""

    address: tuple[str, int]
    topics: dict[str, list[list[FakeMessage]]] = field(default_factory=dict)
    """By name: the records of each partition, the first with the offset 0."""
    missing_offsets: dict[tuple[str, int], set[int]] = field(default_factory=dict)
    """Offsets of a partition that hold no record, such as transaction markers."""
    stable_ends: dict[tuple[str, int], int] = field(default_factory=dict)
    """Of a partition, where an open transaction begins: a reader of committed records sees nothing from there on."""
    first_offsets: dict[str, int] = field(default_factory=dict)
    """Of the partitions of a topic: earlier records have expired."""
    failures: list[KafkaError] = field(default_factory=list)
    """Raised by the next questions, one each."""
    reported: list[KafkaError] = field(default_factory=list)
    """Handed to ``error_cb`` at the next poll."""
    deliveries: list[KafkaError | None] = field(default_factory=list)
    """How the next records are acknowledged; when used up: all well."""
    fatal: list[KafkaError] = field(default_factory=list)
    """Fatal errors that the next polls of producers raise, one each; such a producer takes no record any more."""
    rights: list[Exception | Collection[AclOperation]] = field(default_factory=list)
    """How the next questions for the rights on all topics are answered, one each; when used up: all is granted."""
    full: int = 0
    """How often the producer's queue has no room yet."""
    answer: Callable[[FakeMessage], None] | None = None
    """Told of each record that is produced."""
    read: Counter[str] = field(default_factory=Counter)
    """Topic -> records that all consumers together were given."""
    handles: list["FakeAdmin | FakeConsumer | FakeProducer"] = field(default_factory=list)

    def add(self, topic: str, partition: int, **fields: Any) -> FakeMessage:  # noqa: ANN401 - of any field
        """Append a record to a partition."""
        partitions = self.topics.setdefault(topic, [])
        while len(partitions) <= partition:
            partitions.append([])
        message = FakeMessage(partition, len(partitions[partition]), **fields)
        partitions[partition].append(message)
        return message

    def metadata(self, topic: str) -> SimpleNamespace:
        """Answer ``list_topics``."""
        if self.failures:
            raise KafkaException(self.failures.pop(0))
        partitions = self.topics.get(topic, [])
        error = None if topic in self.topics else KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)
        return SimpleNamespace(
            topics={
                topic: SimpleNamespace(
                    error=error, partitions={number: SimpleNamespace(leader=1) for number, _ in enumerate(partitions)}
                )
            },
            brokers={1: SimpleNamespace(host=self.address[0], port=self.address[1])},
            controller_id=1,
        )


class _Handle:
    def __init__(self, broker: FakeBroker, properties: dict[str, Any]) -> None:
        self.broker = broker
        self.properties = properties
        self.closed = False

    def list_topics(self, topic: str, timeout: float) -> SimpleNamespace:
        assert timeout > 0
        return self.broker.metadata(topic)

    def report(self) -> None:
        """Tell of errors, as librdkafka does while it is polled."""
        while self.broker.reported:
            self.properties["error_cb"](self.broker.reported.pop(0))


class FakeConsumer(_Handle):
    """Reads what is assigned, partition by partition, and says where each ends."""

    def __init__(self, broker: FakeBroker, properties: dict[str, Any]) -> None:
        super().__init__(broker, properties)
        self._positions: dict[tuple[str, int], int] = {}
        self._at_end: set[tuple[str, int]] = set()

    def get_watermark_offsets(self, place: TopicPartition, timeout: float) -> tuple[int, int]:
        assert timeout > 0
        return self.broker.first_offsets.get(place.topic, 0), len(self._visible(place.topic, place.partition))

    def _visible(self, topic: str, partition: int) -> list[FakeMessage]:
        committed = self.properties["isolation.level"] == "read_committed"
        return self.broker.topics[topic][partition][
            : self.broker.stable_ends.get((topic, partition)) if committed else None
        ]

    def offsets_for_times(self, times: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        assert timeout > 0
        return [
            TopicPartition(each.topic, each.partition, self._since(each.topic, each.partition, each.offset))
            for each in times
        ]

    def _since(self, topic: str, partition: int, milliseconds: int) -> int:
        records = self.broker.topics[topic][partition]
        return next((record.offset_ for record in records if record.timestamp_ >= milliseconds), -1)

    def assign(self, places: list[TopicPartition]) -> None:
        self._positions = {}
        self.incremental_assign(places)

    def incremental_assign(self, places: list[TopicPartition]) -> None:
        self._positions |= {(each.topic, each.partition): each.offset for each in places}
        self._at_end = set()

    def poll(self, timeout: float) -> FakeMessage | None:
        assert timeout >= 0
        self.report()
        for (topic, partition), position in self._positions.items():
            records, at = self._visible(topic, partition), position
            while at < len(records) and at in self.broker.missing_offsets.get((topic, partition), ()):
                at += 1
            self._positions[topic, partition] = at
            if at < len(records):
                self._positions[topic, partition] = at + 1
                self._at_end.discard((topic, partition))
                self.broker.read[topic] += 1
                return records[at]
            if (topic, partition) not in self._at_end:
                self._at_end.add((topic, partition))
                end = KafkaError(KafkaError._PARTITION_EOF)
                return FakeMessage(partition, at, None, error_=end)
        return None

    def close(self) -> None:
        self.closed = True


class FakeAdmin(_Handle):
    """Describes topics, and what may be done on them."""

    def poll(self, timeout: float) -> int:
        assert timeout >= 0
        return 0

    def describe_topics(
        self, topics: TopicCollection, *, include_authorized_operations: bool, request_timeout: float
    ) -> dict[str, Future[SimpleNamespace]]:
        assert include_authorized_operations
        assert request_timeout > 0
        told = self.broker.rights.pop(0) if self.broker.rights else [AclOperation.ALL]
        answer = Future[SimpleNamespace]()
        if isinstance(told, Exception):
            answer.set_exception(told)
        else:
            answer.set_result(SimpleNamespace(authorized_operations=told))
        return dict.fromkeys(topics.topic_names, answer)


Report = Callable[[KafkaError | None, FakeMessage | None], None]
_Waiting = tuple[Report, FakeMessage]


class FakeProducer(_Handle):
    """Acknowledges records when it is polled or flushed."""

    def __init__(self, broker: FakeBroker, properties: dict[str, Any]) -> None:
        super().__init__(broker, properties)
        self._waiting: list[_Waiting] = []
        self.purged = False
        self._dead = False
        self._lock = threading.Lock()
        """Makes each step one, as in librdkafka: a record meets a fatal error, or is acknowledged, or waits."""

    def produce(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        *,
        partition: int,
        headers: list[Header],
        on_delivery: Report,
    ) -> None:
        with self._lock:
            if self._dead:
                raise KafkaException(KafkaError(KafkaError._FATAL))
            if self.broker.full:
                self.broker.full -= 1
                raise BufferError("Local: Queue full")
            if len(value or b"") > self.properties["message.max.bytes"]:
                raise KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))
            message = self.broker.add(topic, max(partition, 0), value_=value, key_=key, headers_=tuple(headers))
            if self.broker.answer is not None:
                self.broker.answer(message)
            self._waiting.append((on_delivery, message))

    def poll(self, timeout: float) -> int:
        assert timeout >= 0
        self.report()
        with self._lock:
            self._meet_fatal_error()
            waiting = [] if self._dead else self._take()
        return self._acknowledge(waiting)

    def purge(self, *, in_queue: bool, in_flight: bool, blocking: bool) -> None:
        assert (in_queue, in_flight, blocking) == (True, True, False)
        self.purged = True
        self.broker.deliveries = [KafkaError(KafkaError._PURGE_QUEUE)] * len(self._waiting)

    def flush(self) -> None:
        with self._lock:
            self._meet_fatal_error()
            waiting = self._take()
        self._acknowledge(waiting)

    def _meet_fatal_error(self) -> None:
        if self.broker.fatal and not self._dead:
            self._dead = True
            raise KafkaException(self.broker.fatal.pop(0))

    def _take(self) -> list[_Waiting]:
        waiting, self._waiting = self._waiting, []
        return waiting

    def _acknowledge(self, waiting: list[_Waiting]) -> int:
        for report, message in waiting:
            error = self.broker.deliveries.pop(0) if self.broker.deliveries else None
            report(error, None if error else message)
        return len(waiting)


@contextmanager
def fake_broker(monkeypatch: pytest.MonkeyPatch, topics: Iterable[tuple[str, int]] = ()) -> Iterator[FakeBroker]:
    """Put a broker in place of librdkafka; ``topics``: names and numbers of partitions."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        broker = FakeBroker(listener.getsockname())
        broker.topics = {name: [[] for _ in range(partitions)] for name, partitions in topics}

        def making(kind: Callable[..., Any]) -> Callable[..., object]:
            def make(properties: dict[str, Any], logger: object) -> object:
                assert logger is not None
                broker.handles.append(kind(broker, properties))
                return broker.handles[-1]

            return make

        monkeypatch.setattr("producer_tools.connection.AdminClient", making(FakeAdmin))
        monkeypatch.setattr("producer_tools.connection.Consumer", making(FakeConsumer))
        monkeypatch.setattr("producer_tools.connection.Producer", making(FakeProducer))
        hurried = {"retry_seconds": 0.001, "unknown_topic_seconds": 0.02, "connect_seconds": 0.1}
        adjust(monkeypatch, "producer_tools.connection", "TOOLS", **hurried)
        yield broker


ENVIRON = {
    "RESYNC_KAFKA__BOOTSTRAP_SERVERS": "broker:9092",
    "RESYNC_TOPICS__REQUESTS": "requests",
    "RESYNC_TOPICS__RESULTS": "results",
    "RESYNC_TOPICS__DEAD_LETTERS": "dlq",
    "RESYNC_API_KEY": "key",
}
"""Topics named ``requests``, ``results`` and ``dlq``."""


def settings(**environ: str) -> Settings:
    """Return the settings of ``ENVIRON``."""
    return load({**ENVIRON, **environ})
