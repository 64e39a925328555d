"""``topics ensure`` and the broker's part of ``doctor``, on a real broker."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from consumer.adapters.clocks import ClockReading
from consumer.adapters.kafka.broker_clock import brokers_clock
from consumer.adapters.kafka.topic_admin import TopicAdmin, TopicFacts
from schemas.contract import HEADROOM_BYTES
from schemas.settings import KafkaSettings
from tests.support.records import RawRecord, send_raw
from tests.support.topics import Topics, delete_topics, unused_topics
from tests.unit.cli.conftest import Run, run, stores  # noqa: F401  fixtures

DAY_MS = 86_400_000


@pytest.fixture
def names(kafka_bootstrap: str) -> Iterator[Topics]:
    """Names of topics that do not exist, and are deleted where the test made them."""
    topics = unused_topics()
    yield topics
    if topics.requests in AdminClient({"bootstrap.servers": kafka_bootstrap}).list_topics(timeout=10).topics:
        delete_topics(kafka_bootstrap, topics)


@pytest.fixture
def ensure(stores: Run, names: Topics, kafka_bootstrap: str, monkeypatch: pytest.MonkeyPatch) -> Run:  # noqa: F811
    for name, value in {**names.environment, "RESYNC_KAFKA__BOOTSTRAP_SERVERS": kafka_bootstrap}.items():
        monkeypatch.setenv(name, value)
    return stores


def facts(bootstrap: str, topics: Topics) -> dict[str, TopicFacts]:
    admin = TopicAdmin(KafkaSettings(bootstrap_servers=bootstrap))
    return admin.facts([topics.requests, topics.results, topics.dead_letters])


def limits(bootstrap: str, topics: Topics) -> list[tuple[int, int]]:
    """``(max.message.bytes, days kept)`` of requests, results and dead letters."""
    found = [fact.limits for fact in facts(bootstrap, topics).values()]
    return [(limit.max_message_bytes, limit.retention_ms // DAY_MS) for limit in found if limit]


def reports(program: Run, *options: str) -> list[dict[str, Any]]:
    ran = program("topics", "ensure", "--output", "json", *options)
    assert 0 == ran.code, ran.err
    listed: list[dict[str, Any]] = json.loads(ran.out)
    return listed


def test_topics_are_created_with_room_for_answers_and_their_retention(
    ensure: Run, kafka_bootstrap: str, names: Topics
) -> None:
    assert ["created"] * 3 == [report["outcome"] for report in reports(ensure)]
    (requests, _), *_ = limits(kafka_bootstrap, names)
    room = requests + HEADROOM_BYTES
    assert [(requests, 3), (room, 7), (room, 30)] == limits(kafka_bootstrap, names)
    assert {12} == {fact.partitions for fact in facts(kafka_bootstrap, names).values()}


def test_the_requests_topic_refuses_batches_that_unpack_to_more_than_a_message_may_have(
    ensure: Run, kafka_bootstrap: str, names: Topics
) -> None:
    """Whether it was created so, or existed before."""
    reports(ensure, "--partitions", "1")
    admin = TopicAdmin(KafkaSettings(bootstrap_servers=kafka_bootstrap))
    swelling = [RawRecord(bytes(20_000_000), partition=0)]
    with pytest.raises(KafkaException, match="too large"):
        send_raw(kafka_bootstrap, names.requests, swelling, compression="zstd")

    admin.configure(names.requests, {"compression.type": "producer"})
    requests, *_ = reports(ensure)

    assert "compression.type changed from producer to uncompressed" == requests["details"]
    with pytest.raises(KafkaException, match="too large"):
        send_raw(kafka_bootstrap, names.requests, swelling, compression="zstd")


def test_once_more_changes_nothing(ensure: Run, kafka_bootstrap: str, names: Topics) -> None:
    reports(ensure, "--partitions", "2", "--retention-days", "5")
    before = facts(kafka_bootstrap, names)
    assert ["unchanged"] * 3 == [report["outcome"] for report in reports(ensure)]
    assert before == facts(kafka_bootstrap, names)


def test_what_is_asked_for_is_changed_and_never_lost(ensure: Run, kafka_bootstrap: str, names: Topics) -> None:
    reports(ensure, "--partitions", "2")
    assert ["changed"] * 3 == [report["outcome"] for report in reports(ensure, "--partitions", "3")]
    requests, *_ = reports(ensure, "--partitions", "1", "--retention-days", "10")
    assert "cannot lose any" in requests["details"]
    assert {3} == {fact.partitions for fact in facts(kafka_bootstrap, names).values()}
    assert [10, 10, 30] == [days for _, days in limits(kafka_bootstrap, names)]


def test_too_small_a_topic_is_given_room(ensure: Run, kafka_bootstrap: str, names: Topics) -> None:
    reports(ensure, "--partitions", "1")
    TopicAdmin(KafkaSettings(bootstrap_servers=kafka_bootstrap)).configure(names.results, {"max.message.bytes": "1000"})
    assert ["unchanged", "changed", "unchanged"] == [report["outcome"] for report in reports(ensure)]
    (requests, _), (results, _), _ = limits(kafka_bootstrap, names)
    assert requests + HEADROOM_BYTES == results


def test_the_brokers_clock_shows_where_records_have_their_time(kafka_bootstrap: str, names: Topics) -> None:
    admin = TopicAdmin(KafkaSettings(bootstrap_servers=kafka_bootstrap))
    stamped = {"message.timestamp.type": "LogAppendTime"}
    for name, config in ((names.requests, {}), (names.results, stamped), (names.dead_letters, stamped)):
        admin.create(name, config, partitions=1, replication_factor=1)
    now = time.time()

    def clock(ours: float) -> ClockReading | None:
        return brokers_clock(admin.client, facts(kafka_bootstrap, names).values(), ours)

    send_raw(kafka_bootstrap, names.requests, [RawRecord(b"x", partition=0)])
    assert clock(now - 60) is None, "the time is the producer's"
    send_raw(kafka_bootstrap, names.results, [RawRecord(b"x", partition=0)])
    found = clock(now - 60)
    assert found is not None
    assert 60 <= found.certain < 120
    assert clock(time.time() + 1) is None


def test_what_the_broker_refuses_is_said(ensure: Run) -> None:
    ran = ensure("topics", "ensure", "--replication-factor", "99")
    assert (2, "") == (ran.code, ran.out)
    assert "replication" in ran.err.lower()


def test_the_doctor_sees_what_is_missing_and_what_is_there(ensure: Run, names: Topics) -> None:
    ensure("api-keys", "issue", "--name", "ada")
    missing = ensure("doctor", "--output", "json")
    assert 1 == missing.code
    failed = {row["subject"] for row in json.loads(missing.out) if row["level"] == "FAIL"}
    assert {f"topic {name}" for name in (names.requests, names.results, names.dead_letters)} == failed
    reports(ensure)
    assert 0 == ensure("doctor").code
    reports(ensure, "--retention-days", "8")
    risky = ensure("doctor", "--output", "json")
    assert 0 == risky.code
    assert {f"topic {names.requests}", "client specifications", "transport"} == {
        row["subject"] for row in json.loads(risky.out) if row["level"] == "WARN"
    }
