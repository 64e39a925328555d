"""librdkafka's consumer without brokers: one that calls back as it is told to, and one with a log and a clock."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from struct import pack
from typing import Self

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from tests.unit.engine.world import KEY, body

Step = Callable[[], None]
PARTITION = 0


def metadata(generation: int, member: bytes = b"member") -> bytes:
    """As librdkafka writes it."""
    return b"CGMDv2:" + pack("<i", generation) + b"group\0" + member + b"\0\1"


class FakeConsumer:
    """Calls back while it is polled, as it is told to."""

    def __init__(self) -> None:
        self.generation = -1
        self.member = b"member"
        self.steps: deque[Step] = deque()
        self.callbacks: dict[str, Callable[[Self, list[TopicPartition]], None]] = {}

    def subscribe(self, _topics: list[str], **callbacks: Callable[[Self, list[TopicPartition]], None]) -> None:
        self.callbacks = callbacks

    def poll(self, _seconds: float) -> None:
        if self.steps:
            self.steps.popleft()()
        else:
            time.sleep(0.001)

    def consumer_group_metadata(self) -> bytes:
        return metadata(self.generation, self.member)

    def committed(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        assert timeout > 0
        return [TopicPartition(each.topic, each.partition, 7) for each in partitions]

    def close(self) -> None:
        """Leave."""

    def _nothing(self, *_: object) -> None:
        """Do nothing."""

    def offsets_for_times(self, _places: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        """Answer nothing: of interest for what librdkafka does besides."""
        assert timeout > 0
        return []

    incremental_assign = incremental_unassign = pause = resume = seek = _nothing


class Message:
    """A record, or an error of a partition, as the library hands it over."""

    def __init__(self, offset: int, error: KafkaError | None = None, partition: int = PARTITION) -> None:
        self._offset, self._error, self._partition = offset, error, partition

    def error(self) -> KafkaError | None:
        return self._error

    def partition(self) -> int:
        return self._partition

    def offset(self) -> int:
        return self._offset

    def timestamp(self) -> tuple[int, int]:
        return (1, 0)

    def key(self) -> None:
        """None."""

    def value(self) -> bytes:
        return body(f"r{self._offset}")

    def headers(self) -> list[tuple[str, bytes]]:
        return [("dj-api-key", KEY), ("dj-client", b"OPERATOR")]


class Log(FakeConsumer):
    """One partition whose offsets stand in a list; ``garbled`` says how often a batch that begins there is unreadable.

    ``skips`` is what the library does behind a wrong checksum: it goes on behind the batch.
    """

    def __init__(self, clock: "FakeClock", offsets: Sequence[int] = ()) -> None:
        super().__init__()
        self.generation = 5
        self.clock = clock
        self.offsets = list(offsets)
        self.start, self.told = 0, (0, "")
        self.garbled: dict[int, int] = {}
        self.ends: dict[int, int] = {}
        """Begin of a batch that can be garbled -> its end."""
        self.skips = False
        self.assigned: set[int] = set()
        self.stopped = self.paused = False
        self.position = 0
        self.end_told = -1
        self.errors: list[KafkaError] = []
        self.closed_at: float | None = None
        self.asked: list[float] = []
        self.silent: set[int] = set()

    @property
    def end(self) -> int:
        return max(self.offsets, default=-1) + 1

    def poll(self, _seconds: float) -> Message | None:  # type: ignore[override]  # FakeConsumer's has none
        self.clock.now += 0.01
        if self.steps:
            self.steps.popleft()()
        return self._next()

    def consume(self, most: int, _seconds: float) -> list[Message]:
        found = (self._next() for _ in range(most))
        return [each for each in found if each is not None]

    def _next(self) -> Message | None:
        if self.stopped or self.paused:
            return None
        if self.errors:
            return Message(self.position, self.errors.pop(0))
        if not self.start <= self.position <= self.end:
            self.stopped = True
            return Message(self.position, KafkaError(KafkaError._AUTO_OFFSET_RESET, "out of range"))
        ahead = [offset for offset in self.offsets if offset >= self.position]
        if not ahead:
            return self._at_the_end()
        for begin, end in self.ends.items():
            if begin <= ahead[0] < end and self.garbled.get(begin, 0):
                return self._garble(begin, end)
        self.position = ahead[0] + 1
        return Message(ahead[0])

    def _at_the_end(self) -> Message | None:
        if self.end_told == self.position:
            return None
        self.end_told = self.position = max(self.position, self.end)
        return Message(self.position, KafkaError(KafkaError._PARTITION_EOF, "end"))

    def _garble(self, begin: int, end: int) -> Message:
        self.garbled[begin] -= 1
        if self.skips:
            self.position = end
        return Message(begin, KafkaError(KafkaError._BAD_MSG if self.skips else KafkaError._BAD_COMPRESSION, "garbled"))

    def committed(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        (partition,) = (each.partition for each in partitions)
        self.asked.append(self.clock.now)
        if partition in self.silent:
            self.clock.now += timeout
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "Local: Timed out", retriable=True))
        return [TopicPartition("requests", partition, *self.told)]

    def get_watermark_offsets(
        self, _place: TopicPartition, timeout: float = 0.0, *, cached: bool = False
    ) -> tuple[int, int]:
        assert cached or timeout > 0
        return self.start, self.end

    def seek(self, place: TopicPartition) -> None:  # type: ignore[override]  # FakeConsumer's does nothing
        if self.stopped:
            raise KafkaException(KafkaError(KafkaError._STATE, "Local: Erroneous state"))
        self.position, self.end_told = place.offset, -1

    def incremental_assign(self, places: list[TopicPartition]) -> None:  # type: ignore[override]  # as above
        for place in places:
            assert place.offset >= 0, "a seek could be lost while the offset is looked up"
            assert place.partition not in self.assigned
            self.assigned.add(place.partition)
            self.position, self.end_told, self.stopped = place.offset, -1, False

    def incremental_unassign(self, places: list[TopicPartition]) -> None:  # type: ignore[override]  # as above
        for place in places:
            self.assigned.remove(place.partition)

    def pause(self, _places: list[TopicPartition]) -> None:  # type: ignore[override]  # as above
        self.paused = True

    def resume(self, _places: list[TopicPartition]) -> None:  # type: ignore[override]  # as above
        self.paused = False

    def close(self) -> None:
        self.closed_at = self.clock.now


class FakeClock:
    """``time`` for the owner thread."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
