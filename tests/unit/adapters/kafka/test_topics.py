"""What is judged of topics, and how unreachable brokers are told."""

import time

import pytest
from confluent_kafka import Producer

from consumer.adapters.finding import Level
from consumer.adapters.kafka.broker_errors import BrokerUnreachableError
from consumer.adapters.kafka.topic_admin import UNCOMPRESSED, TopicAdmin, TopicFacts, TopicLimits, names_of
from consumer.adapters.kafka.topic_checks import check_topics
from schemas.contract import HEADROOM_BYTES
from schemas.settings import KafkaSettings, SettingsError, TopicSettings

DAY_MS = 86_400_000
ROOM = 1_000_000
TOPICS = TopicSettings()


def facts(
    *,
    retention_days: int = 3,
    results_room: int = ROOM + HEADROOM_BYTES,
    compacted: bool = False,
    compression: str = UNCOMPRESSED,
) -> dict[str, TopicFacts]:
    limits = {
        TOPICS.requests: TopicLimits(ROOM, retention_days * DAY_MS, compacted, compression),
        TOPICS.results: TopicLimits(results_room, -1, compacted=False),
        TOPICS.dead_letters: TopicLimits(ROOM + HEADROOM_BYTES, -1, compacted=False),
    }
    return {name: TopicFacts(name, 4, 1, limits[name]) for name in names_of(TOPICS)}


def worst(found: dict[str, TopicFacts]) -> dict[str, Level]:
    findings = sorted(check_topics(found, TOPICS), key=lambda finding: finding.level != Level.OK)
    return {finding.subject.removeprefix("topic "): finding.level for finding in findings}


def test_topics_as_ensured_are_fine() -> None:
    assert dict.fromkeys(names_of(TOPICS), Level.OK) == worst(facts())


@pytest.mark.parametrize("name", names_of(TOPICS))
def test_a_missing_topic_fails_with_its_remedy(name: str) -> None:
    found = facts()
    del found[name]
    assert Level.FAIL == worst(found)[name]
    assert any("topics ensure" in finding.remedy for finding in check_topics(found, TOPICS))


@pytest.mark.parametrize("found", [facts(retention_days=8), facts(retention_days=-1), facts(compacted=True)])
def test_requests_that_outlive_offsets_or_are_compacted_are_a_risk(found: dict[str, TopicFacts]) -> None:
    assert Level.WARN == worst(found)[TOPICS.requests]


@pytest.mark.parametrize("compression", ["producer", "zstd"])
def test_batches_that_the_broker_keeps_compressed_are_a_risk(compression: str) -> None:
    found = facts(compression=compression)

    assert Level.WARN == worst(found)[TOPICS.requests]
    assert any("compression.type" in finding.message for finding in check_topics(found, TOPICS))


def test_a_compacted_dead_letter_topic_fails_since_it_refuses_letters_without_a_key() -> None:
    limits = TopicLimits(ROOM + HEADROOM_BYTES, -1, compacted=True)
    found = facts() | {TOPICS.dead_letters: TopicFacts(TOPICS.dead_letters, 4, 1, limits)}
    (failed,) = [each for each in check_topics(found, TOPICS) if each.level == Level.FAIL]
    assert "cleanup.policy" in failed.remedy


def test_requests_may_be_kept_as_long_as_offsets() -> None:
    assert Level.OK == worst(facts(retention_days=7))[TOPICS.requests]


def test_results_that_may_not_fit_are_a_risk() -> None:
    assert Level.WARN == worst(facts(results_room=ROOM + HEADROOM_BYTES - 1))[TOPICS.results]


def test_limits_that_are_not_told_are_a_risk() -> None:
    found = facts() | {TOPICS.requests: TopicFacts(TOPICS.requests, 4, 1, limits=None)}
    assert Level.WARN == worst(found)[TOPICS.requests]


def test_the_embedded_broker_is_not_asked_what_it_never_answers() -> None:
    producer = Producer({"test.mock.num.brokers": 1, "log_level": 0})
    brokers = ",".join(f"{broker.host}:{broker.port}" for broker in producer.list_topics(timeout=10).brokers.values())
    producer.produce("topic", b"")
    producer.flush(10)
    began = time.monotonic()
    found = TopicAdmin(KafkaSettings(bootstrap_servers=brokers)).facts(["topic"])
    assert time.monotonic() - began < 3
    assert [None] == [fact.limits for fact in found.values()]


@pytest.mark.parametrize(("brokers", "reason"), [("127.0.0.1:1", "refused"), ("no.such.invalid:9092", "resolve")])
def test_unreachable_brokers_are_told_in_time_with_reason_and_remedy(brokers: str, reason: str) -> None:
    began = time.monotonic()
    with pytest.raises(BrokerUnreachableError, match=reason) as caught:
        TopicAdmin(KafkaSettings(bootstrap_servers=brokers), reach_timeout=0.5).facts(["topic"])
    assert time.monotonic() - began < 5
    assert "RESYNC_KAFKA__BOOTSTRAP_SERVERS" in str(caught.value)


def test_a_value_that_librdkafka_refuses_is_a_wrong_setting() -> None:
    with pytest.raises(SettingsError, match=r'RESYNC_KAFKA__PROPERTIES: .*"security\.protocol"'):
        TopicAdmin(KafkaSettings(properties={"security.protocol": "nonsense"}))
