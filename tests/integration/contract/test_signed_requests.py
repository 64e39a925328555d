"""Signed requests end to end: no key on the topic, and nothing but the key holder's own record passes."""

import base64
import hashlib
import hmac
import json
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing

import pytest

from tests.integration.contract import wire
from tests.integration.contract.deployment import Deployment, record
from tests.integration.contract.wire import Event, request
from tests.integration.gateway import BODY, Gateway
from tests.support.records import RawRecord, ReadRecord, read_topic
from tests.support.service import ROOT, Service, environment

OPERATOR = ("dj-client", b"OPERATOR")
DAY_MILLISECONDS = 86_400_000


def signature(key: str, topic: str, value: bytes, client: bytes = b"OPERATOR", schema_id: bytes = b"") -> bytes:
    """By the words of the contract, with nothing of ours."""
    secret = hmac.digest(key.encode(), b"mirakl-resync signing v1", "sha256")
    signed = b"\n".join([b"mirakl-resync v1", topic.encode(), schema_id.hex().encode(), client, value])
    name = hashlib.sha256(key.encode()).hexdigest()[:16]
    return f"v1:{name}:{base64.b64encode(hmac.digest(secret, signed, 'sha256')).decode()}".encode()


def signed(deployment: Deployment, key: str, event: Event, *, partition: int | None = None) -> RawRecord:
    value = wire.single_object(event)
    header = ("dj-signature", signature(key, deployment.topics.requests, value))
    return RawRecord(value, None, (OPERATOR, header), partition)


def answer(deployment: Deployment, sent: RawRecord) -> tuple[str, str]:
    """Code and message of the result; the code is empty where all went well."""
    [coordinates] = deployment.send(sent)
    error = deployment.result(coordinates)["error"]
    return (error["code"], error["message"]) if error is not None else ("", "")


@pytest.fixture(scope="module")
def signing_key(deployment: Deployment) -> str:
    """A key that can sign."""
    return issue(deployment, "signer")


def issue(deployment: Deployment, name: str, *options: str) -> str:
    key = deployment.administer("api-keys", "issue", "--name", name, "--signing", *options)
    deployment.keys.append(key)
    return key


@pytest.fixture(scope="module", autouse=True)
def specification(deployment: Deployment, service: Service) -> str:  # noqa: ARG001 - it answers
    """The only active client specification."""
    return deployment.specification("signed")


def test_a_signed_request_is_answered_like_one_with_a_key(deployment: Deployment, signing_key: str) -> None:
    [coordinates] = deployment.send(signed(deployment, signing_key, request()))
    result = deployment.result_record(coordinates)

    assert "SYNCHRONIZED" == wire.read_result(result.value)["status"]
    assert "default" == result.header("resync-tenant")
    assert not any("signature" in name or "key" in name for name, _ in result.headers)


@pytest.fixture(scope="module")
def bad_records(deployment: Deployment, signing_key: str, key: str) -> Mapping[str, RawRecord]:
    """What is refused -> the record."""
    event, topic = request(), deployment.topics.requests
    value = wire.single_object(event)
    good = signature(signing_key, topic, value)
    revoked, now = issue(deployment, "revoked"), int(time.time() * 1000)
    deployment.administer("api-keys", "revoke", "revoked")
    supplier = issue(deployment, "supplier", "--role", "SUPPLIER")

    def headed(header: bytes, client: bytes = b"OPERATOR", own: bytes = value) -> RawRecord:
        return RawRecord(own, None, (("dj-client", client), ("dj-signature", header)))

    return {
        "is malformed": headed(good[:-1]),
        "does not match": headed(signature(signing_key, topic, wire.single_object(request()))),
        "does not match: ": headed(signature(signing_key, deployment.topics.results, value)),
        "does not match: sign": headed(good, b"SUPPLIER"),
        "is unknown": headed(signature("mrk_never-issued", topic, value)),
        "is revoked": headed(signature(revoked, topic, value)),
        "cannot sign": headed(signature(key, topic, value)),
        "is too old": signed(deployment, signing_key, request(requestedAt=now - 3 * DAY_MILLISECONDS - 60_000)),
        "in the future": signed(deployment, signing_key, request(requestedAt=now + 360_000)),
        "lacks the OPERATOR role": signed(deployment, supplier, event),
    }


def test_what_a_key_holder_has_not_signed_just_so_is_refused_with_its_sentence(
    deployment: Deployment, bad_records: Mapping[str, RawRecord]
) -> None:
    coordinates = deployment.send(*bad_records.values())
    errors = [deployment.result(each)["error"] for each in coordinates]

    for said, error in zip(bad_records, errors, strict=True):
        assert said in error["message"]
        assert ("OPERATOR_REQUIRED" if "role" in said else "API_KEY_INVALID") == error["code"]
        assert not error["retryable"]


def test_a_stolen_signature_opens_nothing_on_another_topic(deployment: Deployment, signing_key: str) -> None:
    """Whoever reads one deployment's topic cannot ask another deployment that knows the same keys."""
    event = request()
    stolen = signature(signing_key, "mirakl.product-resync.requests.of-another", wire.single_object(event))
    sent = RawRecord(wire.single_object(event), None, (OPERATOR, ("dj-signature", stolen)))

    assert "API_KEY_INVALID" == answer(deployment, sent)[0]


def test_a_stolen_database_signs_nothing(deployment: Deployment, signing_key: str) -> None:
    """The stored secret is encrypted, and belongs to its row."""
    with closing(sqlite3.connect(deployment.folder / "mirakl-resync.db")) as database:
        dump = "\n".join(database.iterdump())
    secret = hmac.digest(signing_key.encode(), b"mirakl-resync signing v1", "sha256")

    assert signing_key not in dump
    assert secret.hex() not in dump
    assert base64.b64encode(secret).decode() not in dump


def tool(deployment: Deployment, key: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``mirakl-resync``, which signs."""
    own = {name: value for name, value in deployment.environment.items() if "TOPICS" in name or "KAFKA" in name}
    own |= {"RESYNC_API_KEY": key, "RESYNC_REQUEST_AUTH": "signature"}
    command = [sys.executable, "-m", "producer_tools", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment(own), capture_output=True, text=True, timeout=60, check=False
    )


def test_send_signs_and_its_key_is_not_on_the_topic(deployment: Deployment, signing_key: str) -> None:
    sku = uuid.uuid4().hex
    ran = tool(deployment, signing_key, "send", "--product", f"MKL-SIGNED:{sku}", "--wait", "--output", "json")

    assert 0 == ran.returncode, ran.stderr
    (written,) = on_the_topic(deployment, sku)
    assert written.header("dj-signature")
    assert_no_key(deployment, signing_key)


def test_a_signed_dead_letter_is_redriven_with_a_signature_of_its_own(deployment: Deployment, signing_key: str) -> None:
    value = b"no request " + uuid.uuid4().hex.encode()
    theirs = signature(signing_key, deployment.topics.requests, value)
    [sent] = deployment.send(RawRecord(value, b"key", (OPERATOR, ("dj-signature", theirs))))
    letter = deployment.dead_letter(sent)
    assert (theirs.decode(), "default") == (letter.header("dj-signature"), letter.header("dlq.tenant"))

    other = issue(deployment, f"redriver-{uuid.uuid4().hex[:8]}")
    [known] = deployment.send(signed(deployment, other, request()))
    deployment.result(known)  # the service knows the key by now, which a dead letter does not wait for
    ran = tool(deployment, other, "dlq", "redrive", f"{letter.partition}:{letter.offset}", "--yes")

    assert 0 == ran.returncode, ran.stderr
    redriven = [each for each in on_the_topic(deployment, value) if each.header("dlq.redrive-of")]
    assert [signature(other, deployment.topics.requests, value)] == [
        each for record in redriven for name, each in record.headers if name == "dj-signature"
    ]
    again = deployment.dead_letter((redriven[0].partition, redriven[0].offset))
    assert ("1", "default") == (again.header("dlq.redrive-count"), again.header("dlq.tenant"))
    assert_no_key(deployment, other)


@pytest.fixture(scope="module")
def gateway(deployment: Deployment) -> Iterator[Gateway]:
    """A gateway that signs."""
    with Gateway(deployment, "signing-gateway", RESYNC_REQUEST_AUTH="signature") as running:
        yield running


def test_the_gateway_signs_with_its_callers_key(
    deployment: Deployment, gateway: Gateway, signing_key: str, key: str
) -> None:
    sku = uuid.uuid4().hex
    body = {"products": [{"miraklProductId": "MKL-GATEWAY", "productSku": sku}]}
    idempotency = f"Idempotency-Key: {uuid.uuid4()}"
    answers = [gateway.ask(signing_key, body, idempotency) for _ in range(2)]
    unable, at_once = gateway.ask(key, BODY), gateway.ask(key, BODY)

    assert [200, 200] == [each.status for each in answers]
    assert answers[0].headers["resync-request-id"] == answers[1].headers["resync-request-id"]
    assert [(401, "API_KEY_INVALID")] * 2 == [(each.status, each.json["code"]) for each in (unable, at_once)]
    assert "cannot sign" in unable.json["detail"]
    assert "requestId" not in at_once.json
    (written,) = on_the_topic(deployment, sku)
    assert written.header("dj-signature")
    assert_no_key(deployment, signing_key, key)


def test_a_service_that_accepts_signatures_only_refuses_keys(
    deployment: Deployment, service: Service, signing_key: str
) -> None:
    """The last test of the module: it takes the place of the replica."""
    assert 0 == service.terminate()
    with deployment.service("signatures-only", RESYNC_ACCEPT_CREDENTIALS="signature"):
        code, message = answer(deployment, record(signing_key, request()))
        assert ("API_KEY_INVALID", True) == (code, "sign the request" in message)
        assert "API_KEY_MISSING" == answer(deployment, record(" ", request()))[0]
        assert ("", "") == answer(deployment, signed(deployment, signing_key, request()))


def on_the_topic(deployment: Deployment, part: str | bytes) -> list[ReadRecord]:
    """The requests whose value contains this."""
    wanted = part.encode() if isinstance(part, str) else part
    return [
        each for each in read_topic(deployment.bootstrap, deployment.topics.requests) if wanted in (each.value or b"")
    ]


def assert_no_key(deployment: Deployment, *keys: str) -> None:
    """No record of the requests topic that a tool wrote contains one of these keys anywhere."""
    everything = read_topic(deployment.bootstrap, deployment.topics.requests)
    assert everything
    assert not any(
        key in json.dumps([str(each.headers), str(each.key), str(each.value)]) for each in everything for key in keys
    )
