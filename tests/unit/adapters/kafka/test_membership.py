"""Membership of the group, from the first assignment to the last revocation."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import KafkaError, TopicPartition

from consumer.adapters.kafka import source as kafka_in
from consumer.adapters.kafka.consumer_errors import OwnerThreadError
from consumer.adapters.kafka.membership import Membership
from consumer.adapters.kafka.policy import READING
from consumer.adapters.kafka.source import KafkaSource
from consumer.engine.status import FetchBudget
from tests.unit.adapters.kafka.fake_consumer import PARTITION, FakeConsumer, metadata
from tests.unit.adapters.kafka.reader import Reader


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


def test_who_was_thrown_out_waits_for_nothing_when_partitions_are_revoked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session has timed out: librdkafka keeps the generation, and does not always say that partitions are lost."""
    reader = Reader(monkeypatch, range(2))
    reader.assign()
    reader.read(1)
    reader.log.member = b""
    began = reader.clock.now
    reader.revoke(PARTITION)

    assert began == reader.clock.now
    assert Membership() == reader.source.membership


def test_what_may_be_anothers_already_is_given_up_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A partition was fetched again while a revocation waited for its callback, which that has answered."""
    reader = Reader(monkeypatch, range(2))
    reader.assign(PARTITION, PARTITION + 1)
    reader.read(1)
    reader.source._reading.go_on(PARTITION + 1, 0)
    reader.log.generation += 1
    reader.source._group.publish()
    assert metadata(5) == reader.source.membership.metadata

    began = reader.clock.now
    reader.revoke(PARTITION)
    assert began == reader.clock.now
    assert Membership(metadata(6), {PARTITION + 1: 2}) == reader.source.membership


def test_a_membership_is_renewed_once_no_callback_can_wait_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader(monkeypatch)
    reader.assign()
    reader.read(1)
    reader.source._reading.go_on(PARTITION, 0)
    reader.log.generation += 1
    reader.read(20)

    assert metadata(6) == reader.source.membership.metadata


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
