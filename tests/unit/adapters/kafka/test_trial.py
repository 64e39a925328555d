"""What a run needs of Kafka, judged: addresses, bounds of the brokers, refusals, transports."""

import socket
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from consumer.adapters.finding import Finding, Level
from consumer.adapters.kafka import trial
from consumer.adapters.kafka.properties import Times
from consumer.adapters.kafka.refusals import refusal
from consumer.adapters.kafka.trial import check_addresses, check_bounds, check_transaction, try_addresses
from consumer.adapters.transports import check_base_urls, check_settings
from schemas.settings import load

DEFAULTS = {
    "group.min.session.timeout.ms": "6000",
    "group.max.session.timeout.ms": "1800000",
    "offset.metadata.max.bytes": "4096",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.max.timeout.ms": "900000",
}
TIMES = Times(session=10_000, transaction=8_000)


class Admin:
    """Tells of one broker's settings, or refuses to."""

    def __init__(self, answer: dict[str, str] | KafkaError) -> None:
        self._answer = answer

    def describe_configs(self, resources: list[Any], **_: object) -> dict[Any, "Future[Any]"]:
        futures: dict[Any, Future[Any]] = {}
        for resource in resources:
            future: Future[Any] = Future()
            futures[resource] = future
            if isinstance(self._answer, KafkaError):
                future.set_exception(KafkaException(self._answer))
            else:
                future.set_result({name: SimpleNamespace(value=value) for name, value in self._answer.items()})
        return futures


def bounds(answer: dict[str, str] | KafkaError, *, exactly_once: bool = True) -> list[Finding]:
    return list(check_bounds(Admin(answer), [1], TIMES, exactly_once=exactly_once))  # type: ignore[arg-type]


def test_brokers_as_they_come_suit() -> None:
    assert [Level.OK] == [finding.level for finding in bounds(DEFAULTS)]


@pytest.mark.parametrize(
    ("name", "value", "level"),
    [
        ("group.max.session.timeout.ms", "9999", Level.FAIL),
        ("group.min.session.timeout.ms", "10001", Level.FAIL),
        ("offset.metadata.max.bytes", "200", Level.WARN),
        ("transaction.state.log.replication.factor", "3", Level.FAIL),
        ("transaction.state.log.min.isr", "2", Level.FAIL),
        ("transaction.max.timeout.ms", "7999", Level.FAIL),
    ],
)
def test_a_bound_that_does_not_suit_is_named_with_its_value(name: str, value: str, level: Level) -> None:
    (finding,) = bounds({**DEFAULTS, name: value})
    assert level == finding.level
    assert value in finding.message
    assert name.removeprefix("group.min.").removeprefix("group.max.").split(".")[0] in finding.message + finding.remedy


def test_without_transactions_their_log_does_not_matter() -> None:
    assert [Level.OK] == [
        each.level for each in bounds({**DEFAULTS, "transaction.state.log.min.isr": "2"}, exactly_once=False)
    ]


def test_bounds_that_may_not_be_read_are_a_risk_that_names_the_right() -> None:
    (finding,) = bounds(KafkaError(KafkaError.CLUSTER_AUTHORIZATION_FAILED))
    assert Level.WARN == finding.level
    assert "DESCRIBE_CONFIGS" in finding.remedy


def test_each_advertised_address_is_tried() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        there = SimpleNamespace(id=1, host="127.0.0.1", port=port)
        gone = SimpleNamespace(id=2, host="127.0.0.1", port=1)
        metadata: Any = SimpleNamespace(brokers={1: there, 2: gone})
        first, second = check_addresses(try_addresses(metadata))

    assert (Level.OK, Level.FAIL) == (first.level, second.level)
    assert "127.0.0.1:1 " in second.message
    assert "advertised.listeners" in second.remedy
    assert second.unreachable


@pytest.mark.parametrize(
    ("code", "said", "named"),
    [
        (KafkaError._AUTHENTICATION, "SASL authentication error: Invalid username or password", "sasl.password"),
        (
            KafkaError._AUTHENTICATION,
            "Authentication failed during authentication due to invalid credentials with SASL mechanism SCRAM-SHA-512",
            "sasl.password",
        ),
        (KafkaError._AUTHENTICATION, "Unsupported SASL mechanism", "sasl.mechanisms"),
        (
            KafkaError._AUTHENTICATION,
            "Client SASL mechanism 'PLAIN' not enabled in the server, enabled mechanisms are [SCRAM-SHA-512]",
            "sasl.mechanisms",
        ),
        (KafkaError._AUTHENTICATION, 'SASL authentication error: {"status":"invalid_token"}', "sasl.oauthbearer"),
        (
            KafkaError._AUTHENTICATION,
            "Failed to acquire SASL OAUTHBEARER token: Failed to retrieve OIDC token",
            "sasl.oauthbearer",
        ),
        (KafkaError._SSL, "error:0A000086:SSL routines::certificate verify failed", "ssl.ca.location"),
        (KafkaError._SSL, "sslv3 alert bad certificate: SSL alert number 42", "ssl.certificate.location"),
        (KafkaError._SSL, "tlsv13 alert certificate required: SSL alert number 116", "ssl.certificate.location"),
        (KafkaError._SSL, "ssl3_get_record:wrong version number", "security.protocol"),
        (KafkaError._TRANSPORT, "Disconnected: connection closed (in state APIVERSION_QUERY)", "security.protocol"),
    ],
)
def test_a_refusal_is_told_from_an_outage(code: int, said: str, named: str) -> None:
    found = refusal([KafkaError(KafkaError._ALL_BROKERS_DOWN), KafkaError(code, said)])
    assert found is not None
    assert named in found.remedy
    assert said in found.problem


def test_an_outage_is_no_refusal() -> None:
    assert refusal([KafkaError(KafkaError._TRANSPORT, "Connect to ipv4#127.0.0.1:1 failed: refused")]) is None


@pytest.mark.parametrize(
    ("environ", "warned"),
    [
        ({}, "PLAINTEXT"),
        ({"RESYNC_KAFKA__PROPERTIES": '{"security.protocol": "sasl_plaintext"}'}, "SASL_PLAINTEXT"),
        ({"RESYNC_KAFKA__PROPERTIES": '{"security.protocol": "SASL_SSL"}'}, None),
        ({"RESYNC_SCHEMA_REGISTRY__URL": "http://registry"}, "schema registry"),
        ({"RESYNC_SCHEMA_REGISTRY__URL": "https://registry"}, None),
        ({"RESYNC_DATABASE_URL": "postgresql+psycopg://u:p@db.example/x"}, "PostgreSQL"),
        ({"RESYNC_DATABASE_URL": "postgresql+psycopg://u:p@db.example/x?sslmode=prefer"}, "PostgreSQL"),
        ({"RESYNC_DATABASE_URL": "postgresql+psycopg://u:p@db.example/x?sslmode=verify-full"}, None),
        ({"RESYNC_DATABASE_URL": "postgresql+psycopg://u:p@localhost/x"}, None),
        ({"RESYNC_DATABASE_URL": "postgresql+psycopg:///x?host=/run/postgresql"}, None),
        ({"RESYNC_MIRAKL__PROXY_URL": "http://u:p@proxy:3128"}, "proxy"),
        ({"RESYNC_MIRAKL__PROXY_URL": "http://proxy:3128"}, None),
        ({"RESYNC_MIRAKL__PROXY_URL": "https://u:p@proxy:3128"}, None),
    ],
)
def test_what_travels_in_plain_text_is_warned_of(environ: dict[str, str], warned: str | None) -> None:
    secured = {"RESYNC_KAFKA__PROPERTIES": '{"security.protocol": "SSL"}'}
    plain = environ if not environ else {**secured, **environ}
    found = list(check_settings(load(plain)))
    assert (1 if warned else 0) == len(found)
    assert all(Level.WARN == each.level and (warned or "") in each.message and each.remedy for each in found)
    assert "u:p" not in str(found)


def test_a_mirakl_over_http_is_warned_of_once() -> None:
    (found,) = check_base_urls(["http://mirakl.test/a", "http://mirakl.test/a", "https://other.test"])
    assert "mirakl.test" in found.message


class RefusedProducer:
    """Of a user who may not use a transactional id."""

    def __init__(self, _properties: object) -> None: ...

    def init_transactions(self, _timeout: float) -> None:
        raise KafkaException(KafkaError(KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED))


@pytest.mark.parametrize(
    ("instance", "level", "granted"),
    [
        ({}, Level.FAIL, "the prefix group-."),
        ({"RESYNC_KAFKA__GROUP_INSTANCE_ID": "a"}, Level.WARN, "the transactional id group-a,"),
    ],
    ids=["ids are new at each start", "one id is enough"],
)
def test_transactional_ids_may_be_granted_literally_where_they_are_stable(
    monkeypatch: pytest.MonkeyPatch, instance: dict[str, str], level: Level, granted: str
) -> None:
    monkeypatch.setattr(trial, "Producer", RefusedProducer)
    finding = check_transaction(load({"RESYNC_KAFKA__GROUP_ID": "group", **instance}), {})

    assert level is finding.level
    assert granted in finding.remedy
    assert "group-doctor" in finding.message
