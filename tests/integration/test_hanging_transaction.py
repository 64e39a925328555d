"""A transaction whose end a broker has lost: committed offsets cannot be read any more, until its producer ends it."""

from collections.abc import Iterator
from queue import SimpleQueue

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from consumer.adapters.kafka.known_progress import KnownProgress
from consumer.adapters.kafka.membership import Membership
from consumer.adapters.kafka.outgoing import Publication
from consumer.adapters.kafka.remedies import Named
from consumer.adapters.kafka.transactions import TransactionalSink
from consumer.engine.commands import Commit, PartitionCommit
from consumer.engine.events import Event, TransactionFinished, TransactionResult
from tests.support.fixtures import running
from tests.support.kafka import Kafka, real_kafka
from tests.support.parts import wait_until
from tests.support.raw_producer import hang_transaction
from tests.support.topics import Topics, create_topics


@pytest.fixture
def broker() -> Iterator[Kafka]:
    """A broker that takes offsets into a transaction which its coordinator does not know, as those before 3.6 did."""
    yield from running(lambda: real_kafka({"transaction.partition.verification.enable": "false"}))


class Member:
    """A member of the group with its partition, and the offsets that the group has committed."""

    def __init__(self, broker: Kafka, topics: Topics) -> None:
        self._place = TopicPartition(topics.requests, 0)
        self._consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": topics.group})
        self._consumer.subscribe([topics.requests])
        wait_until(self._joined, timeout=20, what="the member has its partition")
        self.known = KnownProgress()

    @property
    def membership(self) -> Membership:
        return Membership(self._consumer.consumer_group_metadata(), {0: 1})

    def committed(self) -> int | None:
        """Return the offset; ``None``: no answer within 2 s, since librdkafka asks again while one is unstable."""
        try:
            [place] = self._consumer.committed([self._place], timeout=2)
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


class Nothing:
    """A publisher without outcomes."""

    def publications(self, outcomes: object) -> list[Publication]:
        assert not outcomes
        return []

    def reduced(self, outcome: object, *, smallest: bool) -> Publication:
        raise AssertionError((outcome, smallest))


def test_a_transaction_that_hangs_is_ended_by_the_successor_of_its_producer(broker: Kafka) -> None:
    """The coordinator believes that it has ended, so the successor's beginning alone does nothing about it."""
    topics = create_topics(broker.bootstrap, partitions=1)
    named = Named(topics.requests, topics.group, f"{topics.group}-member")
    member, told = Member(broker, topics), SimpleQueue[Event]()
    properties = {"bootstrap.servers": broker.bootstrap}
    sink = TransactionalSink(properties, named, Nothing(), told.put, lambda _: None, owner=member)
    sink.start()

    def commit(number: int, offset: int) -> TransactionResult:
        sink.commit(Commit(number, (PartitionCommit(0, 1, offset, "", ()),)))
        while not isinstance(event := told.get(timeout=60), TransactionFinished):
            pass
        return event.result

    try:
        assert TransactionResult.COMMITTED is commit(1, 7)
        hang_transaction(broker.bootstrap, named.transactional_id, topics.group, topics.requests, 0)
        assert member.committed() is None

        assert TransactionResult.COMMITTED is not commit(2, 8)  # its producer is fenced
        wait_until(lambda: member.committed() == 7, timeout=20, what="offsets can be read again")
        assert TransactionResult.COMMITTED is commit(3, 9)
        assert member.committed() == 9
    finally:
        assert sink.stop(10)
        member.close()
