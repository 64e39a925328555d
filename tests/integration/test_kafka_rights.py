"""A broker that refuses: what is decided waits and nothing is called again, and an operator is told what to grant."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from confluent_kafka.admin import AclOperation, ResourceType  # type: ignore[attr-defined]  # public, yet not marked

from consumer.adapters.kafka import topic_admin
from producer_tools.cli import main as tools
from tests.integration.contract import wire
from tests.integration.contract.deployment import Deployment, administered, deployed, operator, record
from tests.support.documented_rights import documented_rights, grant
from tests.support.parts import wait_until
from tests.support.policies import adjust
from tests.support.records import RawRecord
from tests.support.secured_kafka import SecuredKafka
from tests.support.service import Service
from tests.support.tokens import TokenEndpoint
from tests.support.topics import create_topics

TOPIC, GROUP, ID = ResourceType.TOPIC, ResourceType.GROUP, ResourceType.TRANSACTIONAL_ID
CLUSTER = ResourceType.BROKER
READ, WRITE = AclOperation.READ, AclOperation.WRITE
TOKEN_SECONDS = 5.0
"""The life of a token. Clients ask for the next one when four fifths of it are over."""
QUIET_SECONDS = 15.0
"""Long enough for hundreds of calls, were they made again and again."""


@pytest.fixture(scope="module")
def deployment(secured_kafka: SecuredKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """The tests use the broker as a superuser, the service has the rights that docs/operate/rights.md lists."""
    topics = create_topics(secured_kafka.bootstrap, partitions=1)
    grant(secured_kafka, topics, "service", "run")
    with deployed(secured_kafka.bootstrap, topics, tmp_path_factory.mktemp("deployment")) as made:
        made.specification("shop")
        made.key()
        yield made


@pytest.fixture
def restricted(secured_kafka: SecuredKafka) -> dict[str, str]:
    """Settings of the service as the user that has these rights only."""
    return {
        "RESYNC_KAFKA__BOOTSTRAP_SERVERS": secured_kafka.secured,
        "RESYNC_KAFKA__PROPERTIES": json.dumps(secured_kafka.properties()),
    }


@pytest.fixture
def service(deployment: Deployment, restricted: dict[str, str]) -> Iterator[Service]:
    with deployment.service(**restricted) as replica:
        yield replica


def requests(deployment: Deployment, count: int, prefix: str) -> list[RawRecord]:
    return [record(deployment.keys[0], wire.request(wire.pairs(1, f"{prefix}-{n}"))) for n in range(count)]


def calls(deployment: Deployment, prefix: str) -> int:
    submissions = deployment.mirakl.submissions("shop")
    return sum(any(product.startswith(prefix) for product in products) for products in submissions)


@pytest.mark.slow
@pytest.mark.parametrize("right", ["results", "transactional id"])
def test_without_a_right_no_call_is_made_again_and_all_goes_out_once_it_is_granted(
    secured_kafka: SecuredKafka, deployment: Deployment, service: Service, right: str
) -> None:
    topics = deployment.topics
    prefix = right[:3].upper()
    warm = deployment.send(*requests(deployment, 1, "WARM"))
    deployment.outcomes.wait(warm)
    resource, name, prefixed = (TOPIC, topics.results, False) if right == "results" else (ID, f"{topics.group}-", True)
    with secured_kafka.without(resource, name, AclOperation.WRITE, prefixed=prefixed):
        time.sleep(1)
        first = deployment.send(*requests(deployment, 3, prefix))
        wait_until(lambda: service.status("/readyz") == httpx.codes.SERVICE_UNAVAILABLE, timeout=20, what="503")
        later = deployment.send(*requests(deployment, 3, f"{prefix}LATER"))
        made = calls(deployment, prefix)
        time.sleep(QUIET_SECONDS)

        assert made == calls(deployment, prefix) <= 3
        assert 0 == calls(deployment, f"{prefix}LATER")
        told = service.get("/readyz").text
        assert "WRITE" in told
        assert name in told
        assert deployment.outcomes.quiet([*first, *later])
        assert any("Grant this user WRITE" in line["event"] for line in service.log() if line["level"] == "error")

    deployment.outcomes.wait([*first, *later], timeout=40)
    assert {1} == {len(deployment.outcomes.results[each]) for each in (*first, *later)}
    assert made + 3 >= calls(deployment, prefix)
    wait_until(lambda: service.status("/readyz") == httpx.codes.OK, timeout=20, what="ready again")


@pytest.mark.slow
def test_a_refused_dead_letter_topic_holds_up_no_result(
    secured_kafka: SecuredKafka, deployment: Deployment, service: Service
) -> None:
    with secured_kafka.without(TOPIC, deployment.topics.dead_letters, AclOperation.WRITE):
        time.sleep(1)
        junk = deployment.send(RawRecord(b"junk", None, operator(None)))
        results = deployment.send(*requests(deployment, 3, "BESIDE"))
        deployment.outcomes.wait(results)
        time.sleep(3)
        later = deployment.send(*requests(deployment, 3, "AFTER"))
        deployment.outcomes.wait(later)
        assert deployment.outcomes.quiet(junk)
        assert "dead letters wait" in service.get("/readyz").text

    deployment.outcomes.wait(junk, timeout=40)
    assert 1 == len(deployment.outcomes.dead_letters[junk[0]])


def findings(deployment: Deployment, settings: dict[str, str]) -> tuple[int, list[dict[str, str]]]:
    code, out, _ = administered({**deployment.environment, **settings}, "doctor", "--output", "json")
    return code, json.loads(out)


def failed(deployment: Deployment, settings: dict[str, str]) -> list[str]:
    _, rows = findings(deployment, settings)
    return [f"{row['subject']}: {row['message']} {row['remedy']}" for row in rows if row["level"] == "FAIL"]


def test_with_all_rights_nothing_fails(deployment: Deployment, restricted: dict[str, str]) -> None:
    code, rows = findings(deployment, restricted)
    assert [] == [row for row in rows if row["level"] == "FAIL"]
    assert 0 == code
    assert {"OK"} == {row["level"] for row in rows if row["subject"] in {"transactions", "brokers", "broker 1"}}
    warned = " ".join(row["message"] for row in rows if row["level"] == "WARN")
    assert "Kafka is reached without encryption" not in warned
    (certificates,) = (row for row in rows if row["subject"] == "certificates")
    assert "1 last for two weeks" in certificates["message"], "that of the broker"


def test_each_documented_right_that_is_not_only_recommended_is_taken_away_by_a_test() -> None:
    """The cases of the next test are the lines of the document."""
    documented = {
        (right.resource, operation)
        for right in documented_rights("run")
        for operation in right.operations
        if operation != AclOperation.DESCRIBE_CONFIGS
    }

    assert {(TOPIC, READ), (TOPIC, WRITE), (GROUP, READ), (ID, WRITE)} == documented


def test_a_tool_with_the_documented_rights_can_do_its_work(
    secured_kafka: SecuredKafka,
    deployment: Deployment,
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`send`, `results`, `retry` and `dlq list`; no right on any group, and none on the service's."""
    del service
    topics = deployment.topics
    for program in ("send", "send --wait", "results", "retry", "dlq list", "topics ensure"):
        grant(secured_kafka, topics, "tool", program)
    settings = {
        **deployment.environment,
        "RESYNC_KAFKA__BOOTSTRAP_SERVERS": secured_kafka.secured,
        "RESYNC_KAFKA__PROPERTIES": json.dumps(secured_kafka.properties("tool")),
        "RESYNC_API_KEY": deployment.keys[0],
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)

    assert 0 == tools(["send", "--product", "TOOL-1:SKU-1"])
    assert 0 == tools(["send", "--product", "TOOL-2:SKU-2", "--wait", "--timeout", "60"])
    assert 0 == tools(["results", "--limit", "1", "--output", "json"])
    assert 0 == tools(["retry", "--code", "CM21_UNAUTHORIZED", "--yes"])
    assert 0 == tools(["dlq", "list", "--output", "json"])
    assert 0 == administered(settings, "topics", "ensure")[0]
    assert "SYNCHRONIZED" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("resource", "name", "operation", "named"),
    [
        (TOPIC, "requests", AclOperation.READ, "Grant READ on the topic"),
        (TOPIC, "results", AclOperation.WRITE, "Grant WRITE on the topic"),
        (TOPIC, "dead_letters", AclOperation.WRITE, "Grant WRITE on the topic"),
        (GROUP, "group", AclOperation.READ, "Grant READ on the group"),
        (ID, "group", AclOperation.WRITE, "transactional ids with the prefix"),
    ],
    ids=["requests", "results", "dead letters", "group", "transactional id"],
)
def test_a_missing_right_is_named_by_doctor_and_ends_a_start(
    secured_kafka: SecuredKafka,
    deployment: Deployment,
    restricted: dict[str, str],
    resource: ResourceType,
    name: str,
    operation: AclOperation,
    named: str,
) -> None:
    wanted = getattr(deployment.topics, name) + ("-" if resource == ID else "")
    with secured_kafka.without(resource, wanted, operation, prefixed=resource == ID):
        found = failed(deployment, restricted)
        assert any(named.lower() in each.lower() and wanted in each for each in found), found
        if resource != ID:  # which is waited for, as whatever keeps transactions from beginning
            code, _, err = administered({**deployment.environment, **restricted}, "run")
            assert 1 == code
            assert wanted in err


def test_a_wrong_password_is_told_as_such(
    secured_kafka: SecuredKafka, deployment: Deployment, restricted: dict[str, str]
) -> None:
    wrong = {**restricted, "RESYNC_KAFKA__PROPERTIES": json.dumps(secured_kafka.properties(password="wrong"))}
    began = time.monotonic()
    (found,) = failed(deployment, wrong)
    assert "user or password" in found
    assert "sasl.password" in found
    assert time.monotonic() - began < 8
    code, _, err = administered({**deployment.environment, **wrong}, "run")
    assert 2 == code
    assert "sasl.password" in err


@pytest.mark.slow
def test_tokens_that_end_while_the_service_runs_are_replaced(
    secured_kafka: SecuredKafka, deployment: Deployment
) -> None:
    """OAUTHBEARER: a session ends with its token, so a client that keeps the first one would be shut out."""
    with TokenEndpoint("tokens", TOKEN_SECONDS) as endpoint:
        grant(secured_kafka, deployment.topics, "tokens", "run")
        settings = {
            "RESYNC_KAFKA__BOOTSTRAP_SERVERS": secured_kafka.secured,
            "RESYNC_KAFKA__PROPERTIES": json.dumps(secured_kafka.token_properties(endpoint.url)),
        }
        assert [] == failed(deployment, settings)
        with deployment.service(**settings):
            first = deployment.send(*requests(deployment, 1, "TOKEN"))
            deployment.outcomes.wait(first)
            seen = endpoint.issued
            wait_until(lambda: endpoint.issued >= seen + 4, timeout=3 * TOKEN_SECONDS, what="further tokens")
            later = deployment.send(*requests(deployment, 3, "TOKENLATER"))
            deployment.outcomes.wait(later)
    (found,) = failed(deployment, settings)
    assert "sasl.oauthbearer" in found, "without its endpoint there is no token"
    assert {1} == {len(deployment.outcomes.results[each]) for each in (*first, *later)}
    assert endpoint.refused == 0


def test_a_plain_client_of_a_secured_port_is_told_so(
    deployment: Deployment, secured_kafka: SecuredKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    adjust(monkeypatch, topic_admin, "ADMIN", reach_timeout=3.0)  # the port says nothing that a client understands
    (found,) = failed(deployment, {"RESYNC_KAFKA__BOOTSTRAP_SERVERS": secured_kafka.secured})
    assert "security.protocol" in found


def test_a_tls_client_of_a_plain_port_is_told_so(deployment: Deployment, tmp_path: Path) -> None:
    del tmp_path
    (found,) = failed(deployment, {"RESYNC_KAFKA__PROPERTIES": '{"security.protocol": "SSL"}'})
    assert "security.protocol" in found
