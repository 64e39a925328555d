"""The owner thread on a consumer of ours: who is a member of the group, and when."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from struct import pack
from typing import Any, Self

import pytest
from confluent_kafka import TopicPartition

from consumer.adapters import kafka_in
from consumer.adapters.kafka_in import KafkaSource, Membership

Step = Callable[[], None]
PARTITION = 0


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
        time.sleep(2 * kafka_in.METADATA_SECONDS)
        return self.source.membership


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> Iterator[Group]:
    consumer = FakeConsumer()
    monkeypatch.setattr(kafka_in, "Consumer", lambda _properties: consumer)
    source = KafkaSource({}, "requests", _ignore, lambda: 100, 1.0)
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
