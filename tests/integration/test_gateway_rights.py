"""A gateway on a broker with ACLs: its documented rights suffice, and each that is missing is named."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import httpx
import pytest
from confluent_kafka.admin import AclOperation, ResourceType  # type: ignore[attr-defined]  # public, yet not marked

from schemas.exit_codes import ExitCode
from tests.integration.contract.deployment import Deployment, deployed
from tests.integration.gateway import BODY, Gateway
from tests.integration.producer_tools import API_KEY, Responder, by_first_product
from tests.support.documented_rights import Right, documented_rights, grant
from tests.support.parts import wait_until
from tests.support.secured_kafka import SecuredKafka
from tests.support.topics import create_topics

USER = "gateway"
TOPIC = ResourceType.TOPIC
RIGHTS = [(right, operation) for right in documented_rights("gateway") for operation in right.operations]
"""The lines of docs/operate/rights.md, one operation each."""
NAMES = [f"{operation.name} on {right.name}" for right, operation in RIGHTS]


@pytest.fixture(scope="module")
def deployment(secured_kafka: SecuredKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """The tests use the broker as a superuser; the gateway has the documented rights, and something answers it."""
    topics = create_topics(secured_kafka.bootstrap, partitions=1)
    grant(secured_kafka, topics, USER, "gateway")
    own = {
        "RESYNC_KAFKA__BOOTSTRAP_SERVERS": secured_kafka.secured,
        "RESYNC_KAFKA__PROPERTIES": json.dumps(secured_kafka.properties(USER)),
    }
    folder = tmp_path_factory.mktemp("gateway-rights")
    with (
        deployed(secured_kafka.bootstrap, topics, folder, **own) as made,
        Responder(secured_kafka.bootstrap, topics, by_first_product),
    ):
        yield made


@pytest.fixture(scope="module")
def gateway(deployment: Deployment) -> Iterator[Gateway]:
    """One gateway for the whole module."""
    with Gateway(deployment) as running:
        yield running


def synchronizes(gateway: Gateway) -> bool:
    """Whether the published call gets the published answer."""
    return gateway.ask(API_KEY, BODY, "Prefer: wait=10").status == httpx.codes.OK


def reasons(gateway: Gateway) -> list[str]:
    """Why it is not ready."""
    found: list[str] = gateway.get("/readyz").json()["reasons"]
    return found


def words(name: str, operation: AclOperation) -> str:
    """Words for an operator about a missing right."""
    refused = "write to" if operation == AclOperation.WRITE else "read"
    return f"Kafka does not let us {refused} {name}. Grant this user {operation.name} on the topic."


def test_the_documented_rights_suffice_for_a_call_from_request_to_result(gateway: Gateway) -> None:
    assert [AclOperation.WRITE, AclOperation.READ] == [operation for _, operation in RIGHTS]
    assert synchronizes(gateway)
    assert [] == [line["event"] for line in gateway.log() if "Grant this user" in line["event"]]


@contextmanager
def without(broker: SecuredKafka, name: str, operation: AclOperation, *, visible: bool) -> Iterator[None]:
    """Take a right away for a while; ``visible``: the topic may still be described."""
    with ExitStack() as changes:
        if visible:
            broker.allow(TOPIC, name, AclOperation.DESCRIBE, user=USER)
            changes.callback(broker.forbid, TOPIC, name, AclOperation.DESCRIBE, user=USER)
        changes.enter_context(broker.without(TOPIC, name, operation, user=USER))
        yield


each_right = pytest.mark.parametrize(("right", "operation"), RIGHTS, ids=NAMES)
hidden_and_visible = pytest.mark.parametrize("visible", [False, True], ids=["hidden", "visible"])
"""A topic that may be described without the right looks as well as ever until something is read or written."""


@each_right
@hidden_and_visible
def test_a_right_that_is_revoked_is_named_and_waited_for(
    secured_kafka: SecuredKafka,
    deployment: Deployment,
    gateway: Gateway,
    right: Right,
    operation: AclOperation,
    *,
    visible: bool,
) -> None:
    name = right.name_among(deployment.topics)
    told = words(name, operation)
    with without(secured_kafka, name, operation, visible=visible):
        wait_until(lambda: [told] == reasons(gateway), timeout=10, what=told)
        refused = gateway.ask(API_KEY)
        assert (503, "KAFKA_UNAVAILABLE") == (refused.status, refused.json["code"])
        assert f"Kafka does not grant this gateway {operation.name} on its " in refused.json["detail"]
        assert "\nresync_gateway_brokers_answer 0" in gateway.get("/metrics").text
    # the results reader may notice only as it refreshes its leaders, which is every 10 s
    wait_until(lambda: gateway.status("/readyz") == httpx.codes.OK, timeout=30, what="ready again")
    assert synchronizes(gateway)
    assert told in [line["event"] for line in gateway.log() if line["level"] == "error"]


@each_right
@hidden_and_visible
def test_a_gateway_without_a_right_does_not_start_and_names_it(
    secured_kafka: SecuredKafka, deployment: Deployment, right: Right, operation: AclOperation, *, visible: bool
) -> None:
    name = right.name_among(deployment.topics)
    refused = Gateway(deployment, f"without-{operation.name}-{visible}")
    with without(secured_kafka, name, operation, visible=visible):
        refused.start()
        try:
            assert 1 == refused.wait_end(20)
        finally:
            refused.kill()
    assert words(name, operation) in refused.output()


def test_a_command_that_may_describe_a_topic_and_not_write_it_names_the_right(
    secured_kafka: SecuredKafka, deployment: Deployment
) -> None:
    """The brokers refuse its producer as such, which is fatal to the producer."""
    name = deployment.topics.requests
    with without(secured_kafka, name, AclOperation.WRITE, visible=True):
        code, _, told = deployment.tool(API_KEY, "send", "--product", "MKL-1:SKU-1")

    assert ExitCode.USAGE == code
    assert words(name, AclOperation.WRITE) in told
