"""Follows results and dead letters as a ``read_committed`` subscriber does, by the coordinates of the request."""

import threading
import time
import uuid
from collections import Counter
from collections.abc import Mapping
from typing import Self, TypeAlias

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from tests.support.records import ReadRecord, read_message
from tests.support.topics import Topics

Coordinates: TypeAlias = tuple[int, int]
METADATA_MILLISECONDS = 2_000
"""librdkafka's default of 5 min is also how long it can take to notice that a broker is back: what is measured is the
service, not its subscriber."""
HARMLESS = frozenset({KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE, KafkaError._TIMED_OUT})


def request_coordinates(record: ReadRecord) -> Coordinates:
    """Partition and offset of the request that this result or dead letter answers."""
    for prefix in ("resync-request-", "dlq."):
        partition, offset = record.header(f"{prefix}partition"), record.header(f"{prefix}offset")
        if partition is not None and offset is not None:
            return int(partition), int(offset)
    raise ValueError(f"no coordinates in {record.headers}")


class Probe:
    """Waits for the first outcome of a request that was written after a moment, on each partition."""

    def __init__(self, ends: Mapping[int, int], since: float) -> None:
        self._marks = dict(ends)
        self.since = since
        self.waiting = set(ends)
        self.first: float | None = None
        """Seconds until the first outcome on any partition."""
        self.last: float | None = None
        """Seconds until there was one on every partition."""

    def note(self, coordinates: Coordinates, at: float) -> None:
        """An outcome has arrived."""
        partition, offset = coordinates
        if partition in self.waiting and offset >= self._marks[partition]:
            if self.first is None:
                self.first = max(0.0, at - self.since)
            if self.waiting == {partition}:
                self.last = max(0.0, at - self.since)
            self.waiting.discard(partition)  # last: another thread takes the times once nothing is waited for


class Outcomes:
    """A thread that reads both topics from their beginning."""

    def __init__(self, bootstrap: str, topics: Topics) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": f"chaos-{uuid.uuid4()}",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 20,
                "reconnect.backoff.max.ms": 500,
                "topic.metadata.refresh.interval.ms": METADATA_MILLISECONDS,
                "log_level": 2,
            }
        )
        places = []
        for topic in (topics.results, topics.dead_letters):
            partitions = self._consumer.list_topics(topic, timeout=10).topics[topic].partitions
            places += [TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in partitions]
        self._consumer.assign(places)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="outcomes")
        self._lock = threading.Lock()
        self._probes: list[Probe] = []
        self._seen: Counter[Coordinates] = Counter()
        self._last_at: dict[int, float] = {}
        self._gaps: dict[int, float] = {}
        self.arrived_at: dict[Coordinates, float] | None = None
        """Monotonic seconds of the first outcome, once somebody has put a dictionary here."""
        self.repeated: list[Coordinates] = []
        """Requests with more than one outcome."""
        self.problem: Exception | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._consumer.close()

    @property
    def answered(self) -> int:
        """Requests with an outcome."""
        return len(self._seen)

    def probe(self, ends: Mapping[int, int], since: float) -> Probe:
        """Watch for the first outcomes of what is written from now on."""
        probe = Probe(ends, since)
        with self._lock:
            self._probes = [each for each in self._probes if each.waiting] + [probe]
        return probe

    def begin_gaps(self) -> None:
        """Forget the gaps so far."""
        with self._lock:
            self._gaps = {}
            self._last_at = dict.fromkeys(self._last_at, time.monotonic())

    def gaps(self) -> dict[int, float]:
        """Of each partition: the longest time without an outcome since :meth:`begin_gaps`."""
        with self._lock:
            now = time.monotonic()
            return {each: max(self._gaps.get(each, 0.0), now - at) for each, at in self._last_at.items()}

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                for message in self._consumer.consume(1000, 0.02):
                    error = message.error()
                    if error is None:
                        self._note(request_coordinates(read_message(message)))
                    elif error.code() not in HARMLESS and not error.retriable():
                        self.problem = KafkaException(error)
        except Exception as problem:  # noqa: BLE001 - kept for the main thread, which ends the run with it
            self.problem = problem

    def _note(self, coordinates: Coordinates) -> None:
        at = time.monotonic()
        partition = coordinates[0]
        with self._lock:
            self._seen[coordinates] += 1
            if self._seen[coordinates] > 1:
                self.repeated.append(coordinates)
            elif self.arrived_at is not None:
                self.arrived_at[coordinates] = at
            if partition in self._last_at:
                self._gaps[partition] = max(self._gaps.get(partition, 0.0), at - self._last_at[partition])
            self._last_at[partition] = at
            for probe in self._probes:
                probe.note(coordinates, at)
