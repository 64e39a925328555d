"""The owner thread and librdkafka on a real broker: what the unit tests' consumer claims about them."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from consumer.adapters.kafka.properties import consumer_properties
from consumer.adapters.kafka.source import KafkaSource
from consumer.adapters.kafka.topic_consumer import TopicConsumer
from consumer.engine.commands import Reread
from consumer.engine.events import Assigned, Event, Fetched
from consumer.engine.status import FetchBudget
from schemas.settings import load
from tests.support.parts import wait_until
from tests.support.records import RawRecord, send_raw
from tests.support.topics import Topics

PARTITION = 0
SWELLING_BYTES = 50_000_000
"""Beyond what librdkafka decompresses of a zstd batch; 3 KB on the wire."""


def send(bootstrap: str, topics: Topics, count: int) -> None:
    send_raw(bootstrap, topics.requests, [RawRecord(b"%d" % number, partition=PARTITION) for number in range(count)])


@contextmanager
def reading(bootstrap: str, topics: Topics, offset: int) -> Iterator[tuple[Consumer, TopicConsumer]]:
    """The service's consumer, which is assigned one partition at an offset."""
    environment = {"RESYNC_KAFKA__BOOTSTRAP_SERVERS": bootstrap, **topics.environment}
    consumer = Consumer(consumer_properties(load(environment)))
    partitions = TopicConsumer(consumer, topics.requests)
    try:
        partitions.assign(PARTITION, offset)
        yield consumer, partitions
    finally:
        consumer.close()


def polled(consumer: Consumer, wanted: Callable[[KafkaError | None], bool], timeout: float = 20.0) -> int:
    """The offset of the next message with such an error, or without any."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        message = consumer.poll(0.1)
        if message is not None and wanted(message.error()):
            offset = message.offset()
            assert offset is not None
            return offset
    raise TimeoutError("nothing of the kind arrived")


def is_record(error: KafkaError | None) -> bool:
    return error is None


def is_out_of_range(error: KafkaError | None) -> bool:
    return error is not None and error.code() == KafkaError._AUTO_OFFSET_RESET


def test_a_partition_that_is_not_fetched_refuses_to_seek_and_goes_on_once_it_is_assigned_anew(
    kafka_bootstrap: str, topics: Topics
) -> None:
    send(kafka_bootstrap, topics, 10)
    cut = [TopicPartition(topics.requests, PARTITION, 5)]
    admin = AdminClient({"bootstrap.servers": kafka_bootstrap})  # named: the answers end with it
    for future in admin.delete_records(cut).values():
        future.result(30)
    with reading(kafka_bootstrap, topics, 1) as (consumer, partitions):
        polled(consumer, is_out_of_range)
        for partition in (PARTITION, PARTITION + 1):
            with pytest.raises(KafkaException) as refused:
                partitions.seek(partition, 7)
            assert KafkaError._STATE == refused.value.args[0].code()

        assert (5, 10) == partitions.watermarks(PARTITION)
        partitions.reassign(PARTITION, 7, paused=False)
        assert 7 == polled(consumer, is_record)


def test_records_of_an_open_transaction_are_seen_and_cannot_be_read(kafka_bootstrap: str, topics: Topics) -> None:
    """Turns rely on both offsets: one shows that the log has grown, the other that it can be read."""
    send(kafka_bootstrap, topics, 10)
    writer = Producer({"bootstrap.servers": kafka_bootstrap, "transactional.id": topics.group})
    writer.init_transactions()
    writer.begin_transaction()
    writer.produce(topics.requests, b"open", partition=PARTITION)
    writer.flush()
    with reading(kafka_bootstrap, topics, 0) as (consumer, partitions):
        polled(consumer, lambda error: error is not None and error.code() == KafkaError._PARTITION_EOF)

        assert 11 == partitions.end_seen(PARTITION)
        ends = {PARTITION: 10, PARTITION + 1: 0}
        wait_until(lambda: partitions.readable_ends(ends) == ends, timeout=10, what="the brokers answer in time")
        writer.commit_transaction()
        wait_until(lambda: partitions.readable_ends([PARTITION]) == {PARTITION: 12}, timeout=10, what="it has ended")


class Owner:
    """The owner thread; its events in a list, and a fetch budget that allows so many records a second."""

    def __init__(self, bootstrap: str, topics: Topics, rate: float = float("inf")) -> None:
        self.rate = rate
        self._began = time.monotonic()
        settings = load({"RESYNC_KAFKA__BOOTSTRAP_SERVERS": bootstrap, **topics.environment})
        self.events: list[Event] = []
        self.source = KafkaSource(consumer_properties(settings), topics.requests, self._post, self._budget, 1.0)

    def _budget(self) -> FetchBudget:
        received = int(min(1e9, self.rate * (time.monotonic() - self._began)))
        return FetchBudget(500, received, 10**9)

    def _post(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, Assigned):
            self.source.resume([event.partition])

    @property
    def offsets(self) -> list[int]:
        """Offsets of all records that were posted, in order."""
        return [record.offset for event in self.events if isinstance(event, Fetched) for record in event.records]

    def records_by_partition(self) -> dict[int, list[int]]:
        """Offsets of all records that were posted, in order, by partition."""
        found: dict[int, list[int]] = {}
        for event in self.events:
            for record in event.records if isinstance(event, Fetched) else ():
                found.setdefault(record.partition, []).append(record.offset)
        return found

    def epoch(self) -> int:
        return next(e.epoch for e in self.events if isinstance(e, Assigned) and e.partition == PARTITION)

    def turn(self) -> None:
        """Wait until everything that was asked for is carried out, and a poll has followed."""
        self.wait(lambda: not self.source._requests)
        for _ in range(2):
            turned_at = self.source.progress_at
            self.wait(lambda: self.source.progress_at > turned_at)  # noqa: B023 - waited for at once

    def wait(self, condition: Callable[[], bool], timeout: float = 30.0) -> float:
        """Seconds until the condition holds."""
        began = time.monotonic()
        while not condition():
            assert time.monotonic() - began < timeout, self.events[-5:]
            assert self.source.failure is None
            time.sleep(0.01)
        return time.monotonic() - began


@pytest.fixture
def owner(kafka_bootstrap: str, topics: Topics) -> Iterator[Owner]:
    made = Owner(kafka_bootstrap, topics)
    yield made
    assert made.source.stop(10)


def test_records_that_were_given_back_come_again_from_exactly_there(
    kafka_bootstrap: str, topics: Topics, owner: Owner
) -> None:
    """The core pauses, has the partition read again from the first record that it gave back, and resumes later."""
    send(kafka_bootstrap, topics, 40)
    owner.source.start()
    owner.wait(lambda: len(owner.offsets) == 40)
    posted = len(owner.events)
    owner.source.pause([PARTITION])
    owner.source.reread(Reread(PARTITION, owner.epoch(), 13, given_back=True))
    owner.turn()
    send(kafka_bootstrap, topics, 2)
    owner.turn()
    assert 40 == len(owner.offsets)

    owner.source.resume([PARTITION])
    owner.wait(lambda: owner.offsets[-1] == 41)
    assert [*range(40), *range(13, 42)] == owner.offsets
    again = [event.ranges[PARTITION] for event in owner.events[posted:] if isinstance(event, Fetched) and event.records]
    assert 13 == again[0].begin
    assert all(before.end == after.begin for before, after in pairwise(again))


def test_unreadable_batches_cost_a_few_seconds_at_first_and_little_after_that(
    kafka_bootstrap: str, topics: Topics, owner: Owner
) -> None:
    """Librdkafka waits 500 ms (``fetch.error.backoff.ms``) before it fetches one again; three errors confirm it."""
    swelling = RawRecord(bytes(SWELLING_BYTES), b"k", partition=PARTITION)
    for _ in range(4):
        send_raw(kafka_bootstrap, topics.requests, [swelling], compression="zstd")
    send(kafka_bootstrap, topics, 1)
    owner.source.start()
    owner.wait(lambda: any(isinstance(event, Assigned) for event in owner.events))

    first = owner.wait(lambda: len(owner.offsets) >= 1)
    rest = owner.wait(lambda: len(owner.offsets) == 5)
    assert list(range(5)) == owner.offsets
    problems = [record.problem for e in owner.events if isinstance(e, Fetched) for record in e.records]
    assert [True] * 4 + [False] == [problem is not None for problem in problems]
    assert first < 8, first
    assert rest < 8, rest


def test_large_batches_of_one_partition_do_not_keep_those_behind_from_being_read(
    kafka_bootstrap: str, topics: Topics
) -> None:
    """Three partitions, each with megabytes in batches that no response holds twice; read at 5,000 records a second."""
    count = 15_000
    producer = Producer({"bootstrap.servers": kafka_bootstrap, "linger.ms": 1_000})
    for number in range(3 * count):
        producer.produce(topics.requests, bytes(200), partition=number % 3)
    producer.flush()
    owner = Owner(kafka_bootstrap, topics, rate=5_000)
    owner.source.start()
    try:
        owner.wait(lambda: owner.records_by_partition().keys() == {0, 1, 2})
        read = owner.records_by_partition()
        assert max(map(len, read.values())) < count, "one was read to its end before the others had their turn"
        owner.rate = float("inf")
        owner.wait(lambda: sum(map(len, owner.records_by_partition().values())) == 3 * count)
        assert {each: list(range(count)) for each in range(3)} == owner.records_by_partition()
    finally:
        assert owner.source.stop(10)
