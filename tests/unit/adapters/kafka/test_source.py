"""The owner thread on a consumer of ours: who is a member of the group, and when."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from struct import pack
from typing import Any, Self

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from consumer.adapters.kafka import broken_batches, broker_watch, fetching, membership, positions, resets
from consumer.adapters.kafka import source as kafka_in
from consumer.adapters.kafka.consumer_errors import OwnerThreadError
from consumer.adapters.kafka.membership import Membership
from consumer.adapters.kafka.policy import READING
from consumer.adapters.kafka.source import KafkaSource
from consumer.domain.outcome import DeadLettered
from consumer.domain.progress import CommitPoint, encode_map, topic_id_of
from consumer.engine.commands import Reload, Reread
from consumer.engine.events import Event, MembershipChanged
from consumer.engine.status import FetchBudget
from tests.unit.engine.world import KEY, World, body

Step = Callable[[], None]
PARTITION = 0
OUT_OF_RANGE = KafkaError(KafkaError._AUTO_OFFSET_RESET, "out of range")


def metadata(generation: int) -> bytes:
    """As librdkafka writes it."""
    return b"CGMDv2:" + pack("<i", generation) + b"group\0member\0"


class FakeConsumer:
    """Calls back while it is polled, as it is told to."""

    def __init__(self) -> None:
        self.generation = -1
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
        return metadata(self.generation)

    def committed(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        assert timeout > 0
        return [TopicPartition(each.topic, each.partition, 7) for each in partitions]

    def close(self) -> None:
        """Leave."""

    def _nothing(self, *_: object) -> None:
        """Of no interest here."""

    def offsets_for_times(self, places: list[TopicPartition], timeout: float) -> None:
        """Of interest for what librdkafka does besides."""

    incremental_assign = incremental_unassign = pause = resume = seek = _nothing


class Group:
    """What happens to the one member, and what it takes itself for."""

    def __init__(self, consumer: FakeConsumer, source: KafkaSource) -> None:
        self.consumer, self.source = consumer, source

    def assigned(self, generation: int) -> Membership:
        return self._happens("on_assign", generation, lambda: bool(self.source.membership.epochs))

    def lost(self) -> Membership:
        return self._happens("on_lost", self.consumer.generation, lambda: not self.source.membership.epochs)

    def moves_on(self, generation: int) -> Membership:
        """The group does, without a word to this member."""
        return self._happens(None, generation, lambda: True)

    def _happens(self, callback: str | None, generation: int, done: Callable[[], bool]) -> Membership:
        def step() -> None:
            self.consumer.generation = generation
            if callback is not None:
                self.consumer.callbacks[callback](self.consumer, [TopicPartition("requests", PARTITION)])

        self.consumer.steps.append(step)
        deadline = time.monotonic() + 5
        while self.consumer.steps or not done():
            assert time.monotonic() < deadline
            time.sleep(0.001)
        time.sleep(2 * READING.metadata_interval)
        return self.source.membership


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> Iterator[Group]:
    consumer = FakeConsumer()
    monkeypatch.setattr(kafka_in, "Consumer", lambda _properties: consumer)
    source = KafkaSource({}, "requests", _ignore, lambda: FetchBudget(100), 1.0)
    source.start()
    yield Group(consumer, source)
    assert source.stop(5)
    assert source.failure is None


def _ignore(_event: Any) -> None:  # noqa: ANN401 - driver.Event
    """No core here."""


def test_a_membership_that_was_lost_counts_no_more_although_the_library_still_gives_it(group: Group) -> None:
    assert Membership(metadata(5), {PARTITION: 1}) == group.assigned(5)

    assert Membership(None, {}) == group.lost()


def test_a_membership_that_comes_back_as_it_was_is_one(group: Group) -> None:
    """KIP-848: a member that was fenced and joins again before the group has moved on."""
    group.assigned(5)
    group.lost()

    assert Membership(metadata(5), {PARTITION: 2}) == group.assigned(5)


def test_a_member_without_partitions_is_one_again_with_the_next_generation(group: Group) -> None:
    group.assigned(5)
    group.lost()

    assert Membership(metadata(6), {}) == group.moves_on(6)


def test_who_has_left_is_no_member(group: Group) -> None:
    group.assigned(5)

    assert group.moves_on(0).metadata is None


# -- what is read, and what is left out -------------------------------------------------------------------


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

    def get_watermark_offsets(self, _place: TopicPartition, timeout: float) -> tuple[int, int]:
        assert timeout > 0
        return self.start, self.end

    def seek(self, place: TopicPartition) -> None:  # type: ignore[override]  # FakeConsumer's does nothing
        if self.stopped:
            raise KafkaException(KafkaError(KafkaError._STATE, "Local: Erroneous state"))
        self.position, self.end_told = place.offset, -1

    def incremental_assign(self, places: list[TopicPartition]) -> None:  # type: ignore[override]  # as above
        self.position, self.end_told, self.stopped = max(places[0].offset, self.start), -1, False

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


class Reader:
    """The owner thread, turned by the test, with a real core behind it."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, offsets: Sequence[int] = (), topic_id: bytes | None = b""
    ) -> None:
        self.clock = FakeClock()
        self.log = Log(self.clock, offsets)
        self.world = World(start=False)
        self.events: list[Event] = []
        monkeypatch.setattr(kafka_in, "Consumer", lambda _properties: self.log)
        for module in (kafka_in, broken_batches, broker_watch, fetching, membership, positions, resets):
            monkeypatch.setattr(module, "time", self.clock)
        self.source = KafkaSource(
            {}, "requests", self.events.append, lambda: self.world.core.fetch_budget, 1.0, topic_id
        )
        self.world.do(MembershipChanged(member=True))

    def assign(self, *partitions: int) -> None:
        places = [TopicPartition("requests", each) for each in partitions or (PARTITION,)]
        self.source._group.on_assign(self.log, places)  # type: ignore[arg-type]  # a fake

    def turn(self, times: int = 1) -> None:
        """Let the owner thread turn and the core react; Mirakl takes everything in at once, transactions commit."""
        for _ in range(times):
            self.read(1)
            self.answer()

    def read(self, times: int) -> None:
        """Let the owner thread turn; nothing is answered."""
        for _ in range(times):
            self.source._turn()
            self.react()

    def react(self) -> None:
        """Pass events and commands on, as the driver would."""
        world = self.world
        events, self.events[:] = list(self.events), []
        for event in events:
            world.do(event)
        world.epochs = dict(self.source._group.epochs)
        for reread in world.rereads:
            self.source.reread(reread)
        if world.drained:
            self.source.drained(world.drained)
        if world.paused:
            self.source.pause(sorted(world.paused))
        self.source.resume(world.resumed)
        world.rereads, world.drained, world.resumed = [], [], []

    def answer(self) -> None:
        world = self.world
        while world.calls:
            world.answer()
        world.wait(0.1)
        if world.transaction is not None:
            world.commit()
        self.react()

    @property
    def answered(self) -> list[int]:
        return [request.record.offset for request in self.world.committed]


@pytest.mark.parametrize("skips", [False, True], ids=["the library asks again", "the library goes on behind it"])
@pytest.mark.parametrize("times", [1, 2])
def test_a_batch_that_a_second_fetch_heals_loses_none_of_its_records(
    monkeypatch: pytest.MonkeyPatch, times: int, *, skips: bool
) -> None:
    """Whatever stands behind it, and in whatever lists it comes."""
    reader = Reader(monkeypatch, range(8))
    reader.log.ends, reader.log.garbled, reader.log.skips = {2: 5}, {2: times}, skips
    reader.assign()
    reader.turn(30)

    assert list(range(8)) == sorted(reader.answered)
    assert not reader.world.dead
    assert (8, "") == reader.world.offsets[PARTITION]


@pytest.mark.parametrize("skips", [False, True], ids=["bad compression", "bad checksum"])
def test_a_batch_that_stays_unreadable_gets_a_dead_letter_for_each_offset_and_no_other(
    monkeypatch: pytest.MonkeyPatch, *, skips: bool
) -> None:
    reader = Reader(monkeypatch, [0, 1, *range(3, 12)])
    reader.log.ends, reader.log.garbled, reader.log.skips = {3: 6, 6: 7}, {3: 10**6, 6: 10**6}, skips
    reader.assign()
    reader.turn(80)

    dead = [each.record.offset for each in reader.world.committed if isinstance(each.verdict, DeadLettered)]
    assert [3, 4, 5, 6] == sorted(dead)
    assert [0, 1, 7, 8, 9, 10, 11] == sorted(set(reader.answered) - set(dead))
    assert (12, "") == reader.world.offsets[PARTITION]


@pytest.mark.parametrize("offset", [3, 4])
def test_an_error_that_left_records_out_has_them_read_again(monkeypatch: pytest.MonkeyPatch, offset: int) -> None:
    """Whatever the error says: what comes behind it counts only if it continues what was read before."""
    reader = Reader(monkeypatch, range(8))
    reader.assign()
    reader.read(1)
    reader.log.offsets = [*range(8), 8, 9, 10, 11]
    reader.log.errors = [KafkaError(KafkaError._NOT_IMPLEMENTED, "unsupported magic byte")]
    reader.log.position = 8 + offset
    reader.turn(10)

    assert list(range(12)) == sorted(reader.answered)
    assert (12, "") == reader.world.offsets[PARTITION]
    assert 1 <= reader.world.status.holes


def test_a_hole_that_stays_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that leaves the same records out each time: nothing is committed beyond, and `/readyz` says so."""
    reader = Reader(monkeypatch, range(8))
    reader.assign()
    reader.turn(2)
    reader.log.offsets = [*range(8), 9]
    monkeypatch.setattr(reader.source._reading, "seek", lambda *_: None)
    reader.source._reading.read_to.pop(PARTITION)
    reader.turn(3)
    reader.world.wait(30.0)

    assert (8, "") == reader.world.offsets[PARTITION]
    assert "Partition 0 cannot be read at offset 8" in reader.world.status.troubles[0]
    assert 1 == reader.world.status.unread_partitions


def test_records_that_were_read_before_the_log_was_cut_are_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader(monkeypatch, range(4))
    reader.assign()
    reader.read(2)
    epochs = dict(reader.source._group.epochs)
    reader.log.offsets, reader.log.start = [*range(20, 24)], 20
    reader.turn(10)

    assert [*range(4), *range(20, 24)] == sorted(reader.answered)
    assert epochs == reader.source._group.epochs
    assert 1 == reader.world.status.offset_resets
    assert 0 == reader.world.status.discarded


def test_a_log_that_ends_before_the_reader_is_read_from_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is another log; what was read of the former one is answered first."""
    reader = Reader(monkeypatch, range(10))
    reader.assign()
    reader.read(2)
    reader.log.offsets = list(range(3))
    reader.log.end_told = -1
    reader.log.told = (10, "")
    reader.turn(10)

    assert [*range(10), *range(3)] == reader.answered
    assert 1 == reader.world.status.offset_resets


def test_a_partition_that_is_read_anew_while_its_log_is_cut_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """That the position is out of range is told after the partition's progress was asked for again."""
    reader = Reader(monkeypatch, range(10))
    reader.log.told = (10, "")
    reader.assign()
    reader.read(1)
    reader.log.silent = {PARTITION}
    reader.source.reload(Reload(PARTITION, reader.source._group.epochs[PARTITION]))
    reader.read(1)
    reader.log.stopped = True
    reader.source._hand_over([Message(10, OUT_OF_RANGE)], {})  # type: ignore[list-item]  # a fake
    reader.log.silent, reader.log.offsets = set(), list(range(3))
    reader.turn(100)

    assert list(range(3)) == reader.answered


@pytest.mark.parametrize("offset", [0, 2])
def test_a_log_that_was_cut_is_read_on_although_more_goes_wrong_meanwhile(
    monkeypatch: pytest.MonkeyPatch, offset: int
) -> None:
    """An error that names no offset, and a hole that the core wants to have read."""
    reader = Reader(monkeypatch, range(4))
    reader.assign()
    reader.read(2)
    reader.log.stopped = True
    epochs = dict(reader.source._group.epochs)
    gone = Message(4, KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART, "unknown"))
    reader.source._hand_over([Message(4, OUT_OF_RANGE), gone], epochs)  # type: ignore[list-item]  # fakes
    reader.source.reread(Reread(PARTITION, epochs[PARTITION], offset))
    reader.log.offsets, reader.log.start = [*range(20, 24)], 20
    reader.turn(10)

    assert [*range(4), *range(20, 24)] == sorted(reader.answered)


def test_a_seek_that_fails_again_and_again_does_not_keep_the_thread_from_polling(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader = Reader(monkeypatch, range(4))
    reader.assign()
    reader.read(1)
    seeks = 0

    def refused(_place: TopicPartition) -> None:
        nonlocal seeks
        seeks += 1
        assert seeks < 10
        raise KafkaException(KafkaError(KafkaError._STATE, "Local: Erroneous state"))

    with monkeypatch.context() as patch:
        patch.setattr(reader.log, "seek", refused)
        reader.source.reread(Reread(PARTITION, reader.source._group.epochs[PARTITION], 0))
        reader.read(3)
    reader.turn(10)

    assert 3 == seeks
    assert list(range(4)) == reader.answered


def test_a_topic_made_anew_is_read_from_its_start(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its offsets go on where the reader stands: nothing but the id tells. What was read of the former is answered."""
    reader = Reader(monkeypatch, range(6), topic_id=b"former")
    reader.assign()
    reader.read(2)
    reader.log.offsets, reader.log.told = list(range(20)), (6, "")
    reader.source.topic_is(b"new")
    reader.turn(20)

    assert [*range(6), *range(20)] == reader.answered
    assert "was deleted and created again" in caplog.text
    assert 1 == reader.world.status.offset_resets


def test_a_restart_finds_a_topic_that_was_made_anew_meanwhile(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reader = Reader(monkeypatch, range(20), topic_id=None)
    reader.log.told = (6, encode_map(6, b"\x02", None, b"former"))
    reader.assign()
    reader.turn(5)
    assert not reader.answered

    reader.source.topic_is(b"new")
    reader.turn(10)
    assert list(range(20)) == reader.answered
    assert "was deleted and created again" in caplog.text


@pytest.mark.parametrize("told", [b"same", b""])
def test_a_topic_that_is_the_same_or_not_told_goes_on(monkeypatch: pytest.MonkeyPatch, told: bytes) -> None:
    reader = Reader(monkeypatch, range(20), topic_id=None)
    reader.log.told = (6, encode_map(6, b"\x02", None, b"same"))
    reader.assign()
    for topic_id in (told, b"", told):
        reader.source.topic_is(topic_id)
        reader.turn(5)

    assert [6, *range(8, 20)] == reader.answered
    assert told == topic_id_of(20, reader.world.offsets[PARTITION][1])


# -- progress that is not told ---------------------------------------------------------------------------


@pytest.mark.parametrize("partitions", [1, 32, 128])
def test_partitions_whose_progress_is_not_told_do_not_keep_the_thread_from_polling(
    monkeypatch: pytest.MonkeyPatch, partitions: int
) -> None:
    reader = Reader(monkeypatch)
    reader.log.silent = set(range(partitions))
    reader.assign(*range(partitions))
    longest = 0.0
    for _ in range(20):
        began = reader.clock.now
        reader.source._turn()
        longest = max(longest, reader.clock.now - began)

    assert longest <= 2 * READING.positions_budget + 0.1


def test_partitions_whose_progress_is_told_do_not_wait_for_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader(monkeypatch)
    reader.log.silent = set(range(0, 100, 2))
    reader.assign(*range(100))
    began = reader.clock.now
    while len(reader.source._group.epochs) < 50:
        reader.source._turn()

    assert reader.clock.now - began < 10


def test_a_partition_whose_progress_is_not_told_for_long_is_a_trouble_until_it_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reader = Reader(monkeypatch, range(2))
    reader.log.silent = {PARTITION}
    reader.assign()
    while reader.clock.now < 1000 + 0.9 * READING.unread_patience:
        reader.turn()
    assert not reader.world.status.troubles

    while reader.clock.now < 1000 + 2 * READING.unread_patience:
        reader.turn()
    assert ["Partition 0 has not been read for 20 s"] == [
        trouble.split(":", maxsplit=1)[0] for trouble in reader.world.status.troubles
    ]
    assert 1 == reader.world.status.unread_partitions
    assert "Partition 0 has not been read for 20 s" in caplog.text

    reader.log.silent = set()
    while reader.source._positions.troubles:
        reader.turn()
    assert not reader.world.status.troubles
    assert [0, 1] == reader.answered


def test_progress_that_cannot_be_true_is_a_trouble_and_then_what_is_certain_counts(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Answering a request again is allowed, losing one is not: so neither more than what was acknowledged, nor less."""
    reader = Reader(monkeypatch, range(40))
    reader.log.told = (10, "")
    reader.assign()
    reader.read(1)
    reader.source.known.learn(PARTITION, CommitPoint(20, ""))
    reader.source.reload(Reload(PARTITION, reader.source._group.epochs[PARTITION]))
    began = reader.clock.now
    while reader.clock.now < began + 2 * READING.unread_patience:
        reader.turn()
    assert not reader.source._group.epochs
    assert "the brokers report committed offset 10 although 20 is committed" in reader.world.status.troubles[0]

    while reader.clock.now < began + 1.2 * READING.credible_patience:
        reader.turn()
    assert list(range(20, 40)) == reader.answered
    assert "Reading goes on at 20" in caplog.text
    assert not reader.world.status.troubles


TOPIC_ID = b"0123456789abcdef"


def test_brokers_that_forgot_what_was_committed_are_not_believed_for_a_partition_that_comes_back(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The coordinator of the group forgot two minutes; the group fell apart and formed anew."""
    reader = Reader(monkeypatch, range(40), TOPIC_ID)
    reader.log.told = (10, "")
    reader.assign()
    reader.read(1)
    reader.source.known.learn(PARTITION, CommitPoint(20, encode_map(20, b"", topic_id=TOPIC_ID)))
    reader.source._group.on_lost(reader.log, [TopicPartition("requests", PARTITION)])  # type: ignore[arg-type]  # a fake
    reader.read(1)
    reader.assign()
    reader.read(1)
    assert not reader.source._group.epochs
    assert "the brokers report committed offset 10 although 20 is committed. They are asked again" in caplog.text

    reader.log.told = (25, "")
    while not reader.source._group.epochs:
        reader.turn()
    reader.turn(10)
    assert list(range(25, 40)) == reader.answered


def test_a_former_progress_map_is_not_believed_either(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reader = Reader(monkeypatch, range(40), TOPIC_ID)
    former, latest = (encode_map(10, bytes([bits]), topic_id=TOPIC_ID) for bits in (0b0010, 0b0110))
    reader.log.told = (10, former)
    reader.source.known.learn(PARTITION, CommitPoint(10, latest))
    reader.assign()
    reader.read(1)
    assert not reader.source._group.epochs
    assert "the brokers report committed offset 10 with an older progress map" in caplog.text

    reader.log.told = (10, latest)
    while not reader.source._group.epochs:
        reader.turn()
    reader.turn(10)
    assert [10, *range(13, 40)] == reader.answered


@pytest.mark.parametrize(
    ("note", "end"),
    [(encode_map(20, b"", topic_id=bytes(16)), 40), ("", 40), (encode_map(20, b"", topic_id=TOPIC_ID), 5)],
    ids=["of another id", "of an unknown id", "beyond the log"],
)
def test_a_commit_of_a_former_log_says_nothing_about_this_one(
    monkeypatch: pytest.MonkeyPatch, note: str, end: int
) -> None:
    reader = Reader(monkeypatch, range(end), TOPIC_ID)
    reader.log.told = (2, "")
    reader.source.known.learn(PARTITION, CommitPoint(20, note))
    reader.assign()
    reader.turn(10)
    assert list(range(2, end)) == reader.answered


def test_without_topic_ids_a_commit_counts_while_its_assignment_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The topic may have been created again while the partition was another's."""
    reader = Reader(monkeypatch, range(40), topic_id=b"")
    reader.assign()
    reader.read(1)
    reader.source.known.learn(PARTITION, CommitPoint(20, ""))
    reader.source._group.on_lost(reader.log, [TopicPartition("requests", PARTITION)])  # type: ignore[arg-type]  # a fake
    reader.log.told = (2, "")
    reader.read(1)
    reader.assign()
    reader.turn(10)
    assert list(range(2, 40)) == reader.answered


def test_a_commit_from_before_the_topic_id_was_known_counts_while_its_assignment_lasts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader = Reader(monkeypatch, range(40), topic_id=b"")
    reader.assign()
    reader.read(1)
    reader.source.known.learn(PARTITION, CommitPoint(20, ""))
    reader.source.topic_is(TOPIC_ID)
    reader.read(1)
    reader.log.told = (2, "")
    reader.source.reload(Reload(PARTITION, reader.source._group.epochs[PARTITION]))
    reader.read(1)

    assert not reader.source._group.epochs


def test_the_final_word_on_what_brokers_report_names_the_answer_and_counts_answers_only(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reader = Reader(monkeypatch, range(40), topic_id=b"")
    reader.log.told = (10, "")
    reader.source.known.learn(PARTITION, CommitPoint(20, ""))
    reader.assign()
    reader.read(1)
    reader.log.silent = {PARTITION}
    silent_until = reader.clock.now + 2 * READING.credible_patience
    while reader.clock.now < silent_until:
        reader.turn()
    reader.log.silent = set()
    reader.turn(10)
    assert not reader.answered

    while not reader.source._group.epochs:
        reader.turn()
    assert "the brokers report committed offset 10 although 20 is committed. Reading goes on at 20" in caplog.text


def test_a_partition_that_begins_does_not_wait_until_librdkafka_looks_for_work(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader(monkeypatch, range(3))
    calls: list[tuple[str, int]] = []

    def query(places: list[TopicPartition], timeout: float) -> None:
        assert timeout <= 0.1
        calls.extend(("query", each.partition) for each in places)
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    resume = reader.log.resume

    def resumed(places: list[TopicPartition]) -> None:
        calls.extend(("resume", each.partition) for each in places)
        resume(places)

    monkeypatch.setattr(reader.log, "resume", resumed)
    monkeypatch.setattr(reader.log, "offsets_for_times", query)
    reader.assign()
    reader.turn(5)

    assert [("resume", PARTITION), ("query", PARTITION)] == calls
    assert [0, 1, 2] == reader.answered


def test_partitions_that_begin_together_wait_for_a_silent_broker_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader(monkeypatch, range(3))
    queries: list[set[int]] = []

    def query(places: list[TopicPartition], timeout: float) -> None:
        assert timeout <= 0.1
        queries.append({each.partition for each in places})

    monkeypatch.setattr(reader.log, "offsets_for_times", query)
    reader.assign(*range(20))
    reader.turn(5)

    assert [set(range(20))] == queries


def test_a_stop_while_a_partition_is_given_up_leaves_the_group_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The core has had its last turn: nobody will say that the partition is drained."""
    reader = Reader(monkeypatch)
    reader.assign()
    reader.read(1)
    sleep, began = reader.clock.sleep, reader.clock.now

    def stopped(seconds: float) -> None:
        reader.source._stop.set()
        sleep(seconds)

    monkeypatch.setattr(reader.clock, "sleep", stopped)
    reader.source._group.on_revoke(reader.log, [TopicPartition("requests", PARTITION)])  # type: ignore[arg-type]  # a fake

    assert reader.clock.now - began < 0.1
    assert not reader.source.membership.epochs


class RefusedJoin:
    """As librdkafka tells it: once, of no topic."""

    def error(self) -> KafkaError:
        return KafkaError(KafkaError.INVALID_SESSION_TIMEOUT, "JoinGroup failed: Broker: Invalid session timeout")

    def topic(self) -> None:
        return None

    def partition(self) -> int:
        return 0

    def offset(self) -> None:
        return None


def test_a_session_timeout_that_the_brokers_refuse_ends_the_thread_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kafka_in, "Consumer", lambda _properties: FakeConsumer())
    source = KafkaSource({}, "requests", _ignore, lambda: FetchBudget(100), 1.0)
    with pytest.raises(OwnerThreadError, match=r"group\.min\.session\.timeout\.ms"):
        source._on_error(RefusedJoin(), {}, set())  # type: ignore[arg-type]  # a message in all that is looked at
