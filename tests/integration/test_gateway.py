"""The published call over real parts: curl, two gateways, the service, Apache Kafka, a simulated Mirakl."""

import json
import signal
import sqlite3
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions

from producer_tools.connection import Connection
from producer_tools.sandbox.mirakl import Effect, Fault
from producer_tools.topic_reader import TopicReader
from schemas.avro.codec import RequestDecoder
from schemas.settings import load
from tests.integration.contract.deployment import Deployment, deployed
from tests.integration.gateway import BODY, Answer, Gateway
from tests.support.certificates import self_signed
from tests.support.kafka import Kafka
from tests.support.parts import wait_until
from tests.support.service import Service
from tests.support.topics import create_topics, delete_topics

NOWHERE = "0b6ff0dd-6e62-4f9f-8c6b-0f2e5a4e9d11"


@pytest.fixture(scope="module")
def deployment(kafka_bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Stores, topics and a Mirakl; requests have 8 s."""
    topics = create_topics(kafka_bootstrap)
    folder = tmp_path_factory.mktemp("gateway")
    with deployed(kafka_bootstrap, topics, folder, RESYNC_REQUEST_DEADLINE="8s") as made:
        yield made
    delete_topics(kafka_bootstrap, topics)


@pytest.fixture(scope="module")
def gateway(deployment: Deployment) -> Iterator[Gateway]:
    """One gateway for the whole module."""
    with Gateway(deployment) as running:
        yield running


@pytest.fixture(scope="module")
def specification(deployment: Deployment, service: Service) -> str:  # noqa: ARG001 - it answers
    """The only active client specification of the tenant `default`."""
    return deployment.specification("gateway")


def test_the_published_call_gets_the_published_answer(gateway: Gateway, key: str, specification: str) -> None:
    """With the id given as well as without: byte for byte, but for white space."""
    for body in (BODY, {**BODY, "clientSpecificationId": specification, "somethingNew": {"a": [1.5e3, None]}}):
        answer = gateway.ask(key, body)

        assert (200, "application/json") == (answer.status, answer.headers["content-type"])
        expected = f'{{"synchronizedProducts":1,"clientSpecificationId":"{specification}"}}'
        assert expected == "".join(answer.text.split())
        assert answer.headers["resync-request-id"]


@pytest.fixture(scope="module")
def rows(deployment: Deployment, key: str, specification: str) -> Mapping[str, tuple[Sequence[str], Mapping[str, Any]]]:
    """Code -> headers and body of a call that it is the answer to."""
    assert specification
    faults = {
        "CM21_REFUSED": Fault(effect=Effect.STATUS, status=409),
        "CM21_UNAUTHORIZED": Fault(effect=Effect.STATUS, status=401),
        "CM21_OUTCOME_UNKNOWN": Fault(effect=Effect.NO_TRACKING_ID),
        "CM21_UNAVAILABLE": Fault(effect=Effect.STATUS, status=503),
    }
    ids = {}
    for code, fault in faults.items():
        instance = code.lower().replace("_", "-")
        deployment.mirakl.script(instance, fault)
        ids[code] = deployment.specification(instance, "--inactive")
    suspended = deployment.specification("suspended", "--inactive")
    deployment.administer("clients", "suspend", suspended)
    unusable = deployment.specification("unusable", "--inactive")
    _break_credential(deployment, unusable)
    several = [deployment.specification(f"several-{number}", tenant="several") for number in range(2)]
    assert several
    client = "dj-client: OPERATOR"

    def by(api_key: str, **body: object) -> tuple[Sequence[str], Mapping[str, Any]]:
        return (client, f"dj-api-key: {api_key}"), {**BODY, **body}

    calls = {
        "API_KEY_MISSING": ((client,), BODY),
        "API_KEY_INVALID": by("nobody's"),
        "OPERATOR_REQUIRED": by(deployment.key(role="SUPPLIER")),
        "VALIDATION_FAILED": by(key, products=[]),
        "CLIENT_SPECIFICATION_NOT_FOUND": by(key, clientSpecificationId=NOWHERE),
        "NO_ACTIVE_CLIENT_SPECIFICATION": by(deployment.key("none")),
        "MULTIPLE_ACTIVE_CLIENT_SPECIFICATIONS": by(deployment.key("several")),
        "CLIENT_SPECIFICATION_UNUSABLE": by(key, clientSpecificationId=unusable),
        "CLIENT_SPECIFICATION_SUSPENDED": by(key, clientSpecificationId=suspended),
    }
    time.sleep(5)  # a change takes effect within 5 s
    return calls | {code: by(key, clientSpecificationId=id_) for code, id_ in ids.items()}


def _break_credential(deployment: Deployment, specification_id: str) -> None:
    """As a row that was encrypted with a key which is gone."""
    database = deployment.database_url.removeprefix("sqlite:///")
    with sqlite3.connect(database) as connection:
        connection.execute(
            "UPDATE client_specifications SET credential = ? WHERE id = ?", ("gAAAAA-no-credential", specification_id)
        )


STATUSES = {
    "API_KEY_MISSING": 401,
    "API_KEY_INVALID": 401,
    "OPERATOR_REQUIRED": 403,
    "VALIDATION_FAILED": 400,
    "CLIENT_SPECIFICATION_NOT_FOUND": 404,
    "NO_ACTIVE_CLIENT_SPECIFICATION": 400,
    "MULTIPLE_ACTIVE_CLIENT_SPECIFICATIONS": 400,
    "CLIENT_SPECIFICATION_UNUSABLE": 500,
    "CLIENT_SPECIFICATION_SUSPENDED": 503,
    "CM21_REFUSED": 502,
    "CM21_UNAUTHORIZED": 502,
    "CM21_OUTCOME_UNKNOWN": 502,
    "CM21_UNAVAILABLE": 503,
}
"""The contract's table."""


def test_each_row_of_the_error_table_comes_back_under_its_status(
    gateway: Gateway, rows: Mapping[str, tuple[Sequence[str], Mapping[str, Any]]]
) -> None:
    def ask(code: str) -> Answer:
        headers, body = rows[code]
        given = (*headers, "content-type: application/json")
        return gateway.curl("--data", json.dumps(body), *(part for each in given for part in ("--header", each)))

    with ThreadPoolExecutor(len(STATUSES)) as callers:
        answers = dict(zip(STATUSES, callers.map(ask, STATUSES), strict=True))

    for code, answer in answers.items():
        assert (STATUSES[code], code) == (answer.status, answer.json["code"]), answer.text
        assert "application/problem+json" == answer.headers["content-type"]
        assert f"urn:mirakl-resync:problem:{code}" == answer.json["type"]
        assert answer.json["detail"]
    assert 2 == len(answers["MULTIPLE_ACTIVE_CLIENT_SPECIFICATIONS"].json["availableClientSpecificationIds"])
    assert "products" == answers["VALIDATION_FAILED"].json["fieldErrors"][0]["field"]


@pytest.mark.usefixtures("specification")
def test_any_gateway_knows_the_result_also_one_that_was_started_since(
    deployment: Deployment, gateway: Gateway, key: str
) -> None:
    with Gateway(deployment, "second") as second:
        accepted = gateway.ask(key, BODY, "Prefer: respond-async")
        location = accepted.headers["location"]
        idempotent = gateway.ask(key, BODY, "Idempotency-Key: both")
        repeated = second.ask(key, BODY, "Idempotency-Key: both")

        assert 202 == accepted.status
        for port in (gateway.port, second.port):
            wait_until(
                lambda port=port: httpx.get(f"http://127.0.0.1:{port}{location}").status_code == 200,  # type: ignore[misc]  # the loop's value
                timeout=10,
                what="the gateway knows the result",
            )
        assert 200 == repeated.status
        assert idempotent.headers["resync-request-id"] == repeated.headers["resync-request-id"]
    with Gateway(deployment, "third") as third:
        assert "SYNCHRONIZED" == httpx.get(f"http://127.0.0.1:{third.port}{location}").json()["status"]


@pytest.mark.usefixtures("specification")
def test_answers_on_added_partitions_find_their_caller(deployment: Deployment, gateway: Gateway, key: str) -> None:
    admin = AdminClient({"bootstrap.servers": deployment.bootstrap})
    for created in admin.create_partitions([NewPartitions(deployment.topics.results, 8)]).values():
        created.result(10)
    with ThreadPoolExecutor(16) as callers:
        answers = list(callers.map(lambda _: gateway.ask(key), range(48)))

    assert {200} == {answer.status for answer in answers}


@pytest.mark.usefixtures("specification")
def test_a_stop_answers_those_who_wait_and_takes_nobody_in(deployment: Deployment, key: str) -> None:
    deployment.mirakl.script("slow-stop", Fault(effect=Effect.DELAY, delay=1.5))
    slow = deployment.specification("slow-stop", "--inactive")
    deployment.mirakl.script("never", Fault(effect=Effect.DELAY, delay=30))
    never = deployment.specification("never", "--inactive")
    with Gateway(deployment, "stopping", RESYNC_SHUTDOWN_TIMEOUT="4s") as stopping, ThreadPoolExecutor(2) as callers:
        answers = [callers.submit(stopping.ask, key, {**BODY, "clientSpecificationId": id_}) for id_ in (slow, never)]
        wait_until(
            lambda: "resync_gateway_waiting_calls 2.0" in stopping.get("/metrics").text, timeout=10, what="both wait"
        )
        stopping.signal(signal.SIGTERM)
        wait_until(lambda: _refuses(stopping), timeout=5, what="nobody is taken in")

        assert 200 == answers[0].result().status
        assert (504, "RESULT_PENDING") == (answers[1].result().status, answers[1].result().json["code"])
        assert 0 == stopping.wait_end(10)


def _refuses(gateway: Gateway) -> bool:
    try:
        return httpx.post(gateway.url, json=BODY, headers={"dj-api-key": "k"}, timeout=2).status_code == 503
    except httpx.TransportError:
        return True


def test_keys_and_bodies_are_in_no_log_and_each_call_has_one_line(
    gateway: Gateway, deployment: Deployment, key: str, specification: str
) -> None:
    assert specification
    trace, secret = uuid.uuid4().hex, f"SKU-{uuid.uuid4()}"
    body = {"products": [{"miraklProductId": "MKL-LOG", "productSku": secret}]}
    answer = gateway.ask(key, body, f"traceparent: 00-{trace}-00f067aa0ba902b7-01")
    request_id = answer.headers["resync-request-id"]
    # The line is written once the answer has been sent.
    wait_until(lambda: request_id in gateway.output(), timeout=5, what="the line of the call")
    lines = [line for line in gateway.log() if line.get("request_id") == request_id]

    assert [(200, None, trace)] == [(line["status"], line["code"], line["trace_id"]) for line in lines]
    assert not any(known in gateway.output() for known in (*deployment.keys, secret))


def test_https_by_files(deployment: Deployment) -> None:
    made = self_signed("127.0.0.1")
    certificate, key_file = deployment.folder / "gateway.pem", deployment.folder / "gateway.key"
    certificate.write_bytes(made.certificate)
    key_file.write_bytes(made.key)
    files = {"RESYNC_GATEWAY__TLS_CERT_FILE": str(certificate), "RESYNC_GATEWAY__TLS_KEY_FILE": str(key_file)}
    with Gateway(deployment, "https", **files) as gateway:
        url = f"https://127.0.0.1:{gateway.port}/openapi.yaml"
        command = ["curl", "--silent", "--fail", "--cacert", str(certificate), url]
        done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert "ADM-MIRAKL-100" in done.stdout


def test_an_address_in_use_is_said_and_ends_the_program(deployment: Deployment, gateway: Gateway) -> None:
    second = Gateway(deployment, "same-port", RESYNC_GATEWAY__PORT=str(gateway.port))
    second.start()

    assert 1 == second.wait_end(30)
    assert "RESYNC_GATEWAY__PORT" in second.output()


@pytest.mark.slow
def test_nobody_is_told_no_about_a_request_that_is_on_the_topic(own_kafka: Kafka, tmp_path: Path) -> None:
    """Gateway, service and broker are killed amid calls; then answers and records are compared."""
    topics = create_topics(own_kafka.bootstrap)
    with deployed(own_kafka.bootstrap, topics, tmp_path) as deployment:
        key, _ = deployment.key(), deployment.specification("killed")
        service, gateway = deployment.service(), Gateway(deployment, "killed")
        with service, gateway, ThreadPoolExecutor(8) as callers:
            told: list[tuple[str, int]] = []
            until = time.monotonic() + 9

            def call_on() -> None:
                while time.monotonic() < until:
                    sku = uuid.uuid4().hex
                    body = {"products": [{"miraklProductId": f"M-{sku}", "productSku": sku}]}
                    headers = {"dj-api-key": key, "dj-client": "OPERATOR", "prefer": "wait=2"}
                    try:
                        status = httpx.post(gateway.url, json=body, headers=headers, timeout=10).status_code
                    except httpx.TransportError:
                        status = 0
                        time.sleep(0.1)
                    told.append((sku, status))

            calling = [callers.submit(call_on) for _ in range(8)]
            time.sleep(1)
            service.kill()
            service.start()
            time.sleep(1)
            gateway.kill()
            gateway.start()
            gateway.wait_ready()
            time.sleep(1)
            own_kafka.kill()
            own_kafka.start()
            for each in calling:
                each.result()
        written = _skus_on_the_topic(deployment)

    refused = {sku for sku, status in told if status >= 400 and status != 504}
    good = {sku for sku, status in told if status == 200}
    assert not refused & written
    assert good
    assert good <= written
    assert {status for _, status in told} <= {0, 200, 503, 504}


def _skus_on_the_topic(deployment: Deployment) -> set[str]:
    settings = load(
        {
            name: value
            for name, value in deployment.environment.items()
            if name.startswith(("RESYNC_KAFKA", "RESYNC_TOPICS"))
        }
    )
    decoder = RequestDecoder(registry=False, max_bytes=1 << 20)
    reader = TopicReader(Connection(settings.kafka), deployment.topics.requests, "beginning")
    try:
        found = [decoder.decode(message.value()) for message in reader.to_end()]
    finally:
        reader.close()
    return {product["productSku"] for each in found if isinstance(each, dict) for product in each["products"]}
