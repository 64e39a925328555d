"""The real parts do what the other tests build on."""

import httpx
import psycopg
import pytest
from confluent_kafka import Producer

from tests.support.kafka import Kafka, broker_answers
from tests.support.postgres import Postgres, server_answers
from tests.support.records import RawRecord, read_topic, send_raw
from tests.support.registry import RegistryProcess, registry_answers
from tests.support.topics import Topics, create_topics


def test_only_committed_records_are_read(kafka_bootstrap: str, topics: Topics) -> None:
    producer = Producer({"bootstrap.servers": kafka_bootstrap, "transactional.id": topics.group})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(topics.results, b"taken back")
    producer.flush(30)
    producer.abort_transaction(30)
    producer.begin_transaction()
    producer.produce(topics.results, b"committed")
    producer.commit_transaction(30)

    assert [b"committed"] == [record.value for record in read_topic(kafka_bootstrap, topics.results)]
    assert {b"committed", b"taken back"} == {
        record.value for record in read_topic(kafka_bootstrap, topics.results, isolation="read_uncommitted")
    }


def test_a_raw_record_arrives_byte_for_byte(kafka_bootstrap: str, topics: Topics) -> None:
    sent = RawRecord(None, b"\x00key", (("twice", b"\xff"), ("twice", b""), ("null", None)), partition=3)

    [coordinates] = send_raw(kafka_bootstrap, topics.requests, [sent])
    [read] = read_topic(kafka_bootstrap, topics.requests, count=1)

    assert coordinates == (read.partition, read.offset) == (3, 0)
    assert sent == RawRecord(read.value, read.key, read.headers, read.partition)


@pytest.mark.slow
def test_a_broker_comes_back_with_its_address_and_its_records(own_kafka: Kafka) -> None:
    topics = create_topics(own_kafka.bootstrap, partitions=1)
    send_raw(own_kafka.bootstrap, topics.requests, [RawRecord(b"kept")])

    for ending in (own_kafka.stop, own_kafka.kill):
        ending()
        assert not broker_answers(own_kafka.bootstrap)
        own_kafka.start()

        assert [b"kept"] == [record.value for record in read_topic(own_kafka.bootstrap, topics.requests, count=1)]


def test_a_database_server_comes_back_with_its_address_and_its_rows(own_postgres: Postgres) -> None:
    plain = own_postgres.url.replace("+psycopg", "")
    with psycopg.connect(plain) as connection:
        connection.execute("create table kept as select 1 as answer")

    for ending in (own_postgres.stop, own_postgres.kill):
        ending()
        assert not server_answers(own_postgres.url)
        own_postgres.start()

        with psycopg.connect(plain) as connection:
            assert (1,) == connection.execute("select answer from kept").fetchone()


def test_each_test_has_an_empty_database(postgres_database: str) -> None:
    with psycopg.connect(postgres_database.replace("+psycopg", "")) as connection:
        assert (0,) == connection.execute("select count(*) from pg_tables where schemaname = 'public'").fetchone()


def test_a_frozen_part_does_not_answer_until_it_goes_on(own_registry: RegistryProcess) -> None:
    own_registry.pause()
    assert not registry_answers(own_registry.url)
    own_registry.resume()
    assert registry_answers(own_registry.url)


def test_the_registry_answers_as_confluents_does(schema_registry_url: str) -> None:
    missing = httpx.get(f"{schema_registry_url}/schemas/ids/123456789")

    assert (404, 40403) == (missing.status_code, missing.json()["error_code"])
