"""The way to the brokers: what is asked, how long, and what each trouble asks somebody to do."""

from collections.abc import Iterator

import pytest
from confluent_kafka import KafkaError

from producer_tools.connection import Connection
from producer_tools.errors import (
    MisconfiguredError,
    MissingRightError,
    MissingTopicError,
    ResyncToolError,
    UnreachableError,
)
from tests.unit.producer_tools.fake_kafka import FakeBroker, fake_broker, settings


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeBroker]:
    with fake_broker(monkeypatch, [("requests", 3)]) as broker:
        yield broker


def connection(**environ: str) -> Connection:
    return Connection(settings(**environ).kafka)


def test_the_partitions_are_those_of_the_topic(broker: FakeBroker) -> None:
    asked = connection()

    assert [0, 1, 2] == asked.partitions(asked.producer(1000), "requests")
    assert "broker:9092" == broker.handles[0].properties["bootstrap.servers"]


def test_a_trouble_that_passes_is_asked_through(broker: FakeBroker) -> None:
    broker.failures = [KafkaError(KafkaError._TRANSPORT), KafkaError(KafkaError.LEADER_NOT_AVAILABLE)]
    asked = connection()

    assert [0, 1, 2] == asked.partitions(asked.consumer(), "requests")


def test_a_topic_that_is_missing_names_the_command_and_the_settings(broker: FakeBroker) -> None:
    asked = connection()

    with pytest.raises(MissingTopicError) as told:
        asked.partitions(asked.consumer(), "elsewhere")

    assert "There is no topic elsewhere." == told.value.problem
    assert "topics ensure" in told.value.remedy
    assert broker.handles[0].properties["allow.auto.create.topics"] is False


def test_a_topic_that_was_just_made_is_waited_for(broker: FakeBroker) -> None:
    asked = connection()
    broker.failures = [KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)]

    assert [0, 1, 2] == asked.partitions(asked.consumer(), "requests")


def test_brokers_that_never_answer_are_unreachable(broker: FakeBroker) -> None:
    broker.failures = [KafkaError(KafkaError._TRANSPORT)] * 10_000
    asked = connection()

    with pytest.raises(UnreachableError, match=r"Cannot reach Kafka at broker:9092 .*RESYNC_KAFKA__BOOTSTRAP_SERVERS"):
        asked.partitions(asked.consumer(), "requests")


def test_an_advertised_address_that_does_not_answer_is_named(broker: FakeBroker) -> None:
    broker.address = "127.0.0.1", 1
    asked = connection()

    with pytest.raises(UnreachableError, match=r"advertises does not: 127\.0\.0\.1:1 .*advertised\.listeners"):
        asked.partitions(asked.consumer(), "requests")


def test_refused_credentials_are_told_at_once_although_the_question_timed_out(broker: FakeBroker) -> None:
    broker.failures = [KafkaError(KafkaError._TIMED_OUT)] * 10_000
    broker.reported = [KafkaError(KafkaError._AUTHENTICATION), KafkaError(KafkaError._ALL_BROKERS_DOWN)]
    asked = connection()

    with pytest.raises(MisconfiguredError, match=r"refuses our credentials .*sasl\.\* and ssl\.\*"):
        asked.partitions(asked.consumer(), "requests")


@pytest.mark.usefixtures("broker")
@pytest.mark.parametrize(
    ("code", "kind", "remedy"),
    [
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, MissingRightError, "Grant this user READ on the topic."),
        (KafkaError.CLUSTER_AUTHORIZATION_FAILED, MissingRightError, "Grant this user WRITE on the topic."),
        (KafkaError.SASL_AUTHENTICATION_FAILED, MisconfiguredError, "sasl"),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, MissingTopicError, "topics ensure"),
        (KafkaError._INVALID_ARG, MisconfiguredError, "RESYNC_KAFKA__PROPERTIES"),
        (KafkaError._TRANSPORT, UnreachableError, "RESYNC_KAFKA__BOOTSTRAP_SERVERS"),
        (KafkaError.INVALID_RECORD, ResyncToolError, "log of the brokers"),
    ],
)
def test_every_trouble_has_its_kind_and_its_remedy(code: int, kind: type[ResyncToolError], remedy: str) -> None:
    told = connection().explain(KafkaError(code), "requests")

    assert kind is type(told)
    assert remedy in told.remedy
    assert told.problem.endswith(".")


def test_what_the_operator_sets_counts_except_for_what_the_tools_rely_on(broker: FakeBroker) -> None:
    asked = connection(
        RESYNC_KAFKA__PROPERTIES='{"fetch.wait.max.ms": 7, "compression.type": "zstd", "client.id": "me"}'
    )

    asked.consumer(read_committed=False)
    asked.producer(5000)

    reading, writing = (handle.properties for handle in broker.handles)
    assert ("7", "me", "read_uncommitted") == tuple(
        reading[name] for name in ("fetch.wait.max.ms", "client.id", "isolation.level")
    )
    assert ("zstd", True, "all", 5000) == tuple(
        writing[name] for name in ("compression.type", "enable.idempotence", "acks", "message.max.bytes")
    )
    assert "fetch.wait.max.ms" not in writing
    assert "compression.type" not in reading
