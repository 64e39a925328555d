"""The table of librdkafka's properties against the library itself."""

import json

import pytest
from confluent_kafka import Consumer, KafkaException, Producer

from schemas.settings import Settings, SettingsError, load
from schemas.settings.librdkafka import CONSUMER_ONLY, PRODUCER_ONLY, SHARED, redacted

KNOWN = sorted(SHARED | CONSUMER_ONLY | PRODUCER_ONLY)


def load_with(**properties: object) -> Settings:
    return load({"RESYNC_KAFKA__PROPERTIES": json.dumps(properties)})


def refusal(name: str, value: object = "1") -> str:
    with pytest.raises(SettingsError) as caught:
        load_with(**{name: value})
    return str(caught.value)


@pytest.mark.parametrize("name", KNOWN)
def test_librdkafka_knows_every_property_of_the_table(name: str) -> None:
    """A nonsense value is refused for what it is; an unknown name would be refused as such."""
    assert "No such configuration property" not in construction(name)
    assert "No such configuration property" in construction(f"{name}.not")


def construction(name: str) -> str:
    try:
        Consumer({"group.id": "group", name: "no such value"}).close()
    except (KafkaException, TypeError, ValueError) as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "name",
    [
        *("group.id", "bootstrap.servers", "enable.auto.commit", "enable.auto.offset.store", "auto.offset.reset"),
        *("isolation.level", "transactional.id", "enable.idempotence", "acks", "max.in.flight", "group.protocol"),
        *("group.instance.id", "partition.assignment.strategy", "enable.gapless.guarantee", "request.required.acks"),
        *("delivery.report.only.error", "test.mock.num.brokers", "plugin.library.paths", "rebalance_cb", "retries"),
        *("allow.auto.create.topics", "message.max.bytes", "auto.commit.enable", "metadata.broker.list"),
    ],
)
def test_a_property_that_would_break_a_guarantee_is_refused_with_the_reason(name: str) -> None:
    assert f"RESYNC_KAFKA__PROPERTIES: remove '{name}': " in refusal(name)


def test_an_unknown_property_names_the_nearest() -> None:
    assert "unknown property 'sasl.pasword'. Did you mean 'sasl.password'?" in refusal("sasl.pasword")


def test_the_session_is_the_brokers_matter_under_the_consumer_protocol() -> None:
    load_with(**{"session.timeout.ms": 10_000})
    with pytest.raises(SettingsError, match=r"remove 'session\.timeout\.ms'"):
        load(
            {
                "RESYNC_KAFKA__GROUP_PROTOCOL": "consumer",
                "RESYNC_KAFKA__PROPERTIES": '{"session.timeout.ms": 10000}',
            }
        )


def test_each_connection_gets_the_properties_that_mean_something_to_it() -> None:
    kafka = load_with(
        **{"security.protocol": "ssl", "fetch.min.bytes": 7, "linger.ms": 2.5, "socket.keepalive.enable": True}
    ).kafka
    shared = {"bootstrap.servers": "", "security.protocol": "ssl", "socket.keepalive.enable": "true"}
    assert shared | {"fetch.min.bytes": "7"} == kafka.consumer_properties()
    assert shared | {"linger.ms": "2.5"} == kafka.producer_properties()
    assert shared == kafka.admin_properties()
    Consumer(kafka.consumer_properties() | {"group.id": "group"}).close()
    Producer(kafka.producer_properties())


@pytest.mark.parametrize("value", [None, [], {}])
def test_a_value_that_is_neither_text_nor_number_nor_boolean_is_refused(value: object) -> None:
    assert "give 'client.id' a string, a number or a boolean" in refusal("client.id", value)


@pytest.mark.parametrize("text", ["[]", "1", "{", '{"sasl.password": "hunter2"'])
def test_what_is_no_json_object_says_so_without_its_secrets(text: str) -> None:
    with pytest.raises(SettingsError, match="JSON") as caught:
        load({"RESYNC_KAFKA__PROPERTIES": text})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        *("sasl.password", "ssl.key.password", "ssl.keystore.password", "ssl.key.pem", "ssl.certificate.pem"),
        *("sasl.oauthbearer.client.secret", "sasl.oauthbearer.client.credentials.client.secret"),
        *("sasl.oauthbearer.assertion.private.key.passphrase", "sasl.oauthbearer.assertion.private.key.pem"),
        "sasl.oauthbearer.config",
    ],
)
def test_secrets_among_the_properties_are_never_shown(name: str) -> None:
    assert {name: "***", "ssl.key.location": "/key"} == redacted({name: "hunter2", "ssl.key.location": "/key"})
    assert name in KNOWN
