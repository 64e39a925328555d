"""The reader on an embedded broker: which results it tells of, from where on, and how far it is."""

import asyncio
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from confluent_kafka import Producer

from producer_tools.connection import Connection
from producer_tools.gateway.broker_watch import BrokerWatch, TopicEnds
from producer_tools.gateway.known_results import ResultRecord
from producer_tools.gateway.policy import GatewayPolicy
from producer_tools.gateway.request_ids import idempotent_request_id, new_request_id
from producer_tools.gateway.results_reader import ResultsReader
from producer_tools.sandbox.broker import PARTITIONS, EmbeddedBroker
from schemas.contract import SCHEMA_ID_HEADER
from schemas.settings import KafkaSettings

REQUESTS, RESULTS = "requests", "results"
POLICY = GatewayPolicy(probe_seconds=0.05, poll_seconds=0.02)


@contextmanager
def cluster() -> Iterator[tuple[Connection, Callable[..., None]]]:
    """A broker with both topics: the way to it, and what writes a result (key, partition) and waits for its end."""
    with EmbeddedBroker() as broker:
        for topic in (REQUESTS, RESULTS):
            broker.create_topic(topic)
        producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "log_level": 0})

        def write(*keys: str | bytes | None, partition: int = 0) -> None:
            for key in keys:
                headers: list[tuple[str, str | bytes | None]] = [(SCHEMA_ID_HEADER, b"\x00\x00\x00\x00\x07")]
                producer.produce(RESULTS, b"value", key, partition=partition, headers=headers)
            assert 0 == producer.flush(10)

        yield Connection(KafkaSettings(bootstrap_servers=broker.bootstrap_servers)), write


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a thread."""
    give_up_at = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < give_up_at
        await asyncio.sleep(0.01)


def test_results_of_http_requests_are_told_undecoded_and_all_others_are_passed_over() -> None:
    async def story() -> None:
        ids = [new_request_id(), idempotent_request_id(b"key", b"k"), f"alert-{'0' * 32}"]
        others = [str(uuid.uuid4()), "job-7", b"\xff\xfe", None, b"", ids[0].upper()]
        with cluster() as (connection, write):
            topics = TopicEnds(connection, REQUESTS, RESULTS)
            write("written before the position was fixed")
            reader = ResultsReader(connection, RESULTS, topics.ends(5), POLICY)
            told: list[ResultRecord] = []
            reader.subscribe(told.extend)
            write(*ids, *others)
            write(ids[0], partition=3)
            reader.start(asyncio.get_running_loop())
            await until(lambda: len(told) == 4 and reader.read_records == 10)
            reader.stop()

        assert sorted([*ids, ids[0]]) == sorted(each.request_id for each in told)
        assert {(b"value", b"\x00\x00\x00\x00\x07")} == {(each.value, each.schema_header) for each in told}
        assert 4 == reader.kept_records
        assert {0: 10, 1: 0, 2: 0, 3: 1} == reader.progress

    asyncio.run(story())


def test_a_partition_that_is_added_is_read_from_its_first_record_on() -> None:
    async def story() -> None:
        with cluster() as (connection, write):
            reader = ResultsReader(connection, RESULTS, {0: 0}, POLICY)
            told: list[ResultRecord] = []
            reader.subscribe(told.extend)
            reader.start(asyncio.get_running_loop())
            first, second = new_request_id(), new_request_id()
            write(first, partition=2)
            write(second, partition=0)
            await until(lambda: [second] == [each.request_id for each in told])
            reader.add_partitions([2, 0])  # the second one is read already
            await until(lambda: [second, first] == [each.request_id for each in told])
            reader.stop()

    asyncio.run(story())


def test_the_watch_sees_that_the_reader_has_arrived() -> None:
    async def story() -> None:
        with cluster() as (connection, write):
            write(*(str(number) for number in range(100)))
            topics = TopicEnds(connection, REQUESTS, RESULTS)
            reader = ResultsReader(connection, RESULTS, dict.fromkeys(range(PARTITIONS), 0), POLICY)
            watch = BrokerWatch(connection, topics, reader, POLICY)
            watch.probe()
            assert 100 == watch.lag_records
            assert not watch.reader_is_up_to_date
            reader.start(asyncio.get_running_loop())
            watch.start()
            await until(lambda: watch.reader_is_up_to_date and watch.brokers_answer)
            assert 0 == watch.lag_records
            watch.stop()
            reader.stop()

    asyncio.run(story())
