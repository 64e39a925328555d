"""The registry behind the engine's port: whatever it answers is a schema, a "no" or a trouble, never the end."""

import asyncio
import json
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from consumer.adapters import schema_registry as adapter
from consumer.adapters.request_reader import RequestReader
from consumer.adapters.schema_registry import RegistrySchemas
from consumer.engine.ports import NotARequest, SourceError
from schemas.avro.codec import RequestEncoder
from schemas.avro.framing import SchemaRef
from schemas.avro.released import requests, results
from schemas.registry.address import RegistryAddress
from schemas.registry.client import SchemaRegistry
from schemas.registry.errors import RegistryError
from schemas.registry.policy import REGISTRY
from schemas.settings import SchemaRegistrySettings
from tests.unit.schemas.values import REQUEST

ID_7 = SchemaRef.from_id(7)
SETTINGS = SchemaRegistrySettings(url="https://registry.test")
REQUESTED = json.dumps({"schema": requests()[-1].text}).encode()


def answering(
    monkeypatch: pytest.MonkeyPatch, handler: Callable[[httpx.Request], httpx.Response]
) -> tuple[RegistrySchemas, RequestReader]:
    """The adapter, with this in the network's place."""

    def registry(address: RegistryAddress) -> SchemaRegistry:
        return SchemaRegistry(address, httpx.MockTransport(handler))

    monkeypatch.setattr(adapter, "SchemaRegistry", registry)
    reader = RequestReader(registry=True, max_bytes=1 << 20)
    return RegistrySchemas(SETTINGS, reader), reader


def learnt(schemas: RegistrySchemas) -> bool:
    try:
        return asyncio.run(schemas.learn(ID_7))
    finally:
        schemas.close()


def json_answer(body: bytes, status: int = 200) -> Callable[[httpx.Request], httpx.Response]:
    headers = {"content-type": "application/json"}
    return lambda _: httpx.Response(status, stream=httpx.ByteStream(body), headers=headers)


def test_a_schema_is_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    schemas, reader = answering(monkeypatch, json_answer(REQUESTED))

    assert learnt(schemas)
    assert REQUEST == reader.decode(RequestEncoder(7).encode(REQUEST), None)


def test_a_registry_that_has_none_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    schemas, _ = answering(monkeypatch, json_answer(b'{"error_code": 40403}', 404))

    assert not learnt(schemas)


@pytest.mark.parametrize(
    "problem",
    [
        ssl.SSLError(1, "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert certificate required (_ssl.c:2580)"),
        ssl.SSLCertVerificationError("certificate verify failed"),
        OSError(24, "Too many open files"),
        httpx.LocalProtocolError("Illegal header value"),
        UnicodeError("label empty or too long"),
        RuntimeError("unexpected"),
        MemoryError(),
        RecursionError(),
    ],
    ids=lambda problem: type(problem).__name__,
)
def test_any_exception_on_the_way_to_the_registry_is_a_trouble_with_its_place(
    monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> None:
    def handler(_: httpx.Request) -> httpx.Response:
        raise problem

    schemas, _ = answering(monkeypatch, handler)

    with pytest.raises(SourceError, match=r"https://registry.test.*schema id 7"):
        learnt(schemas)


def test_a_client_certificate_that_the_registry_demands_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def handler(_: httpx.Request) -> httpx.Response:
        raise ssl.SSLError(1, "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert certificate required")

    schemas, _ = answering(monkeypatch, handler)

    with pytest.raises(SourceError, match="client certificate"):
        learnt(schemas)


@pytest.mark.parametrize(
    "body",
    [
        b'{"schema": "\\"string\\"", "references": [{"name": "a", "subject": "b", "version": %s}]}' % (b"9" * 4300),
        b'{"schema": "\\"string\\"", "references": [{"name": "a", "subject": "b", "version": "%s"}]}' % (b"9" * 5000),
        b'{"schema": "\\"string\\"", "references": [{"name": "a", "subject": "b", "version": -7}]}',
        b"[" * 500_000,
    ],
    ids=["version of 4,300 digits", "version of 5,000 digits", "negative version", "deep"],
)
def test_answers_without_sense_are_troubles(monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    schemas, _ = answering(monkeypatch, json_answer(body))

    with pytest.raises(SourceError):
        learnt(schemas)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (json.dumps({"schema": results()[-1].text}).encode(), "another record type"),
        (json.dumps({"schema": " " * 300_000}).encode(), "characters"),
        (b'{"schema": "' + b"x" * REGISTRY.body_bytes + b'"}', "bytes"),
        (b'{"schemaType": "PROTOBUF", "schema": "syntax"}', "not an Avro schema"),
    ],
    ids=["results", "long", "longer than an answer", "protobuf"],
)
def test_a_schema_that_cannot_be_used_makes_its_records_unreadable(
    monkeypatch: pytest.MonkeyPatch, body: bytes, why: str
) -> None:
    schemas, reader = answering(monkeypatch, json_answer(body))

    assert learnt(schemas)
    answer = reader.decode(RequestEncoder(7).encode(REQUEST), None)
    assert isinstance(answer, NotARequest)
    assert answer.reason == "UNREADABLE"
    assert why in answer.message


@pytest.mark.parametrize("given", [b"-1", b"2147483648", b"1e400", b'"x"', b"9" * 5000])
def test_an_id_of_our_results_without_sense_is_a_trouble(monkeypatch: pytest.MonkeyPatch, given: bytes) -> None:
    schemas, _ = answering(monkeypatch, json_answer(b'{"id": %s}' % given))

    with pytest.raises(RegistryError, match="RESYNC_SCHEMA_REGISTRY__URL"):
        schemas.result_encoder("results")


def test_a_ca_file_that_vanished_is_a_trouble(tmp_path: Path) -> None:
    authorities = tmp_path / "ca.pem"
    authorities.write_text(
        Path(ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt").read_text()
    )
    settings = SchemaRegistrySettings(url="https://registry.test", ca_file=authorities)
    schemas = RegistrySchemas(settings, RequestReader(registry=True, max_bytes=1 << 20))
    authorities.unlink()

    with pytest.raises(SourceError, match="RESYNC_SCHEMA_REGISTRY__CA_FILE"):
        learnt(schemas)


def test_the_loop_turns_while_a_schema_is_resolved_and_the_reader_learns_on_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    schemas, reader = answering(monkeypatch, json_answer(REQUESTED))
    threads: dict[str, str] = {}
    prepare, adopt = reader.prepare, reader.adopt

    def slowly_prepare(ref: SchemaRef, schema: str) -> object:
        threads["prepare"] = threading.current_thread().name
        time.sleep(0.3)
        return prepare(ref, schema)

    def noted_adopt(ref: SchemaRef, prepared: object) -> None:
        threads["adopt"] = threading.current_thread().name
        adopt(ref, prepared)  # type: ignore[arg-type] # what prepare gave

    monkeypatch.setattr(reader, "prepare", slowly_prepare)
    monkeypatch.setattr(reader, "adopt", noted_adopt)

    async def turns() -> int:
        learning = asyncio.create_task(schemas.learn(ID_7))
        count = 0
        while not learning.done():
            await asyncio.sleep(0.01)
            count += 1
        return count

    assert asyncio.run(turns()) >= 10
    assert threads["prepare"] != threads["adopt"] == threading.current_thread().name
    schemas.close()
