"""Transactions on a real broker: one whose end it has lost, and those whose offsets the group refuses."""

from collections.abc import Iterable, Iterator, Sequence
from queue import SimpleQueue
from typing import Any

import pytest
from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, KafkaException, Producer, TopicPartition

from consumer.adapters.kafka import transactions
from consumer.adapters.kafka.known_progress import KnownProgress
from consumer.adapters.kafka.membership import Membership
from consumer.adapters.kafka.outgoing import Publication
from consumer.adapters.kafka.properties import producer_properties
from consumer.adapters.kafka.remedies import Named
from consumer.adapters.kafka.transactions import TransactionalSink
from consumer.engine.commands import Commit, PartitionCommit
from consumer.engine.events import Event, TransactionFinished, TransactionResult
from schemas.settings import KafkaSettings, Settings
from tests.support.fixtures import running
from tests.support.kafka import Kafka, real_kafka
from tests.support.parts import wait_until
from tests.support.raw_producer import hang_transaction
from tests.support.topics import Topics, create_topics

GENERATION_AT = len(b"CGMDv2:")
"""The generation's lowest byte in librdkafka's group metadata (``rd_kafka_consumer_group_metadata_write``)."""


@pytest.fixture
def broker() -> Iterator[Kafka]:
    """A broker that takes offsets into a transaction which its coordinator does not know, as those before 3.6 did."""
    yield from running(lambda: real_kafka({"transaction.partition.verification.enable": "false"}))


class Member:
    """A member of the group with its partition, and the offsets that the group has committed."""

    def __init__(self, bootstrap: str, topics: Topics) -> None:
        self._topic = topics.requests
        self._consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": topics.group})
        self._consumer.subscribe([topics.requests])
        wait_until(self._joined, timeout=20, what="the member has its partition")
        self.known = KnownProgress()
        self.late = False
        """Whether it shows a generation that is over."""

    @property
    def membership(self) -> Membership:
        metadata = bytearray(self._consumer.consumer_group_metadata())
        metadata[GENERATION_AT] += self.late
        return Membership(bytes(metadata), {0: 1})

    def committed(self, partition: int = 0) -> int | None:
        """Return the offset; ``None``: no answer within 2 s, since librdkafka asks again while one is unstable."""
        try:
            [place] = self._consumer.committed([TopicPartition(self._topic, partition)], timeout=2)
        except KafkaException as problem:
            if problem.args[0].code() != KafkaError._TIMED_OUT:
                raise
            return None
        return place.offset

    def close(self) -> None:
        self._consumer.close()

    def _joined(self) -> bool:
        self._consumer.poll(0.1)
        return bool(self._consumer.assignment())


class Words:
    """Outcomes are texts, each of which goes to the results topic as it is."""

    def __init__(self, topic: str) -> None:
        self._topic = topic

    def publications(self, outcomes: Sequence[Any]) -> Iterable[Publication]:
        return ((self._topic, each[:9].encode(), each.encode(), []) for each in outcomes)

    def reduced(self, outcome: object, *, smallest: bool) -> Publication:
        raise AssertionError((outcome, smallest))


class Sink:
    """A committer of one member's partition."""

    def __init__(self, bootstrap: str, topics: Topics, member: Member, *, inherits: bool = False) -> None:
        self.transactional_id = f"{topics.group}-member"
        self._named = Named(topics.requests, topics.group, self.transactional_id)
        self._told = SimpleQueue[Event]()
        self._sink = TransactionalSink(
            producer_properties(Settings(kafka=KafkaSettings(bootstrap_servers=bootstrap))),
            self._named,
            Words(topics.results),
            self._told.put,
            lambda _: None,
            owner=member,
            inherits=inherits,
        )
        self._sink.start()
        self._number = 0

    def commit(self, offset: int, outcomes: Sequence[Any] = ()) -> TransactionResult:
        self._number += 1
        self._sink.commit(Commit(self._number, (PartitionCommit(0, 1, offset, "", outcomes),)))
        while not isinstance(event := self._told.get(timeout=60), TransactionFinished):
            pass
        return event.result

    def stop(self) -> None:
        assert self._sink.stop(10)


def test_a_transaction_that_hangs_is_ended_by_the_successor_of_its_producer(broker: Kafka) -> None:
    """The coordinator believes that it has ended, so the successor's beginning alone does nothing about it."""
    topics = create_topics(broker.bootstrap, partitions=1)
    member = Member(broker.bootstrap, topics)
    sink = Sink(broker.bootstrap, topics, member)
    try:
        assert TransactionResult.COMMITTED is sink.commit(7)
        hang_transaction(broker.bootstrap, sink.transactional_id, topics.group, topics.requests, 0)
        assert member.committed() is None

        assert TransactionResult.COMMITTED is not sink.commit(8)  # its producer is fenced
        wait_until(lambda: member.committed() == 7, timeout=20, what="offsets can be read again")
        assert TransactionResult.COMMITTED is sink.commit(9)
        assert member.committed() == 9
    finally:
        sink.stop()
        member.close()


def test_a_transaction_that_a_former_process_left_hanging_is_not_committed(broker: Kafka) -> None:
    """Its results were never committed: were its offsets, nobody would answer the requests."""
    topics = create_topics(broker.bootstrap, partitions=2)
    member = Member(broker.bootstrap, topics)
    try:
        former = Sink(broker.bootstrap, topics, member)
        assert TransactionResult.COMMITTED is former.commit(7)
        former.stop()
        hang_transaction(broker.bootstrap, former.transactional_id, topics.group, topics.requests, 1)
        assert member.committed(1) is None

        successor = Sink(broker.bootstrap, topics, member, inherits=True)
        assert TransactionResult.COMMITTED is successor.commit(8)
        successor.stop()
        assert member.committed(0) == 8
        wait_until(lambda: member.committed(1) == OFFSET_INVALID, timeout=20, what="nothing is committed")
    finally:
        member.close()


def test_a_producer_goes_on_after_offsets_that_the_group_has_refused(
    kafka_bootstrap: str, topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each rebalance refuses some; records of a transaction that is aborted must not be missing in the next one."""
    made = []

    def make(properties: dict[str, Any]) -> Producer:
        made.append(Producer(properties))
        return made[-1]

    monkeypatch.setattr(transactions, "Producer", make)
    member = Member(kafka_bootstrap, topics)
    sink = Sink(kafka_bootstrap, topics, member)
    try:
        for turn, (count, size) in enumerate([(1, 20), (300, 20), (300, 5_000), (20, 30_000), (1_000, 300)]):
            texts = [f"{turn}-{number}-".ljust(size, "x") for number in range(count)]
            member.late = True
            assert TransactionResult.ABORTED is sink.commit(turn, texts)
            member.late = False
            assert TransactionResult.COMMITTED is sink.commit(turn, texts)
            assert member.committed() == turn
    finally:
        sink.stop()
        member.close()
    assert 1 == len(made)
