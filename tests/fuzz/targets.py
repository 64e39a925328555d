"""What is attacked: each target takes a source of chance and raises ``AssertionError`` where a promise is broken.

Any other exception is a finding as well: nothing that others send may raise.
"""

import contextlib
import json
from collections.abc import Callable
from random import Random
from typing import Any, TypeAlias

import httpx

from consumer.adapters.mirakl.address import base_url_problem, synchronization_address
from consumer.adapters.mirakl.policy import MIRAKL
from consumer.adapters.mirakl.response import read_answer
from consumer.adapters.request_reader import RequestReader
from consumer.domain.calls import CallFailure, Receipt
from consumer.domain.outcome import ResyncError
from consumer.domain.progress import WINDOW, ProgressMapIgnoredError, decode_map, encode_map
from consumer.domain.validation import validate
from consumer.engine.ports import NotARequest, SchemaNeeded
from consumer.engine.request_headers import read_headers
from schemas.avro.codec import RequestEncoder
from schemas.avro.framing import SchemaRef
from schemas.avro.released import requests
from schemas.avro.writer_schema import SchemaError
from schemas.contract import MAX_ERROR_ROWS, MAX_ERROR_TEXT_CHARACTERS
from schemas.registry.address import RegistryAddress
from schemas.registry.client import interpret, whole_schema
from schemas.registry.errors import RegistryError
from schemas.registry.questions import Missing
from tests.fuzz.bytes import mutated, text

Target: TypeAlias = Callable[[Random], None]

REQUEST = {
    "requestId": "a-request",
    "clientSpecificationId": "11111111-2222-3333-4444-555555555555",
    "products": [{"miraklProductId": f"MKL-{n}", "productSku": f"SKU-{n}"} for n in range(3)],
    "requestedAt": 1_700_000_000_000,
    "requestedBy": "somebody",
    "reason": "why not",
}
VALUE = RequestEncoder().encode(REQUEST)
BODY = VALUE[10:]
NAMED = SchemaRef.from_id(7)
READER = RequestReader(registry=True, max_bytes=1 << 20)
SCHEMA = requests()[-1].text
HEADER_NAMES = (
    *("dj-client", "DJ-API-KEY", "dj-api-key", "__value_schema_id", "traceparent", "tracestate"),
    *("correlation-id", "kafka_correlationId", "Correlation-ID", "dlq.redrive-count", "dlq.reason", "x"),
)
TRACEPARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
CREDENTIAL = "s3cret-credential"
ANSWERS = (
    b'{"tracking_id": "a-tracking-id"}',
    b'{"message": "no", "status": 400}',
    b'{"code": 1, "message": "no", "errors": [{"field": "a", "message": "b"}, {"field": [[]], "message": {}}]}',
    b"<html><head><title>t</title></head><script>x</script><body>" + CREDENTIAL.encode() + b"</body></html>",
)
JSON_TOKENS = (
    *(b"{", b"}", b"[", b"]", b'"', b",", b":", b"null", b"true", b"1e999", b"-1", b"9" * 5000, b'"\\ud800"', b"NaN"),
    *(
        b'"type"',
        b'"record"',
        b'"fields"',
        b'"array"',
        b'"items"',
        b'"name"',
        b'"string"',
        b'["null","string"]',
        b"\xff",
    ),
)
REGISTRY_ANSWERS = (
    json.dumps({"schema": SCHEMA, "references": [{"name": "a.B", "subject": "b", "version": 1}]}).encode(),
    b'{"error_code": 40403, "message": "no"}',
)
ADDRESS = RegistryAddress("http://registry.test/")


def record_value(rng: Random) -> bytes | None:
    """What may stand in a record's value."""
    kind = rng.random()
    if kind < 0.02:
        return None
    if kind < 0.05:
        return rng.randbytes(rng.randint(0, 40))
    if kind < 0.2:
        return b"\x00" + rng.choice((7, 8, 2**31)).to_bytes(4, "big") + mutated(rng, BODY)
    return mutated(rng, VALUE)


def record_headers(rng: Random) -> list[tuple[str, bytes | None]] | None:
    """What may stand in a record's headers; ``None``: names that are no text."""
    if rng.random() < 0.02:
        return None
    headers: list[tuple[str, bytes | None]] = [("dj-client", b"OPERATOR"), ("dj-api-key", b"operator-key")]
    for _ in range(rng.choice((0, 0, 1, 3, 70))):
        name = rng.choice(HEADER_NAMES) if rng.random() < 0.8 else text(rng)
        value = rng.choice((None, b"", mutated(rng, TRACEPARENT), b"\x01" + rng.randbytes(16), b"\x00\x00\x00\x00\x07"))
        headers.insert(rng.randint(0, len(headers)), (name, value))
    if rng.random() < 0.01:
        headers.append(("x", b"\x00" * 40_000))
    return headers


def body(rng: Random) -> None:
    """Bytes as a request: a request, a reason, or a schema to ask for; what is a request can be validated."""
    header = None if rng.random() < 0.8 else mutated(rng, NAMED.wire)
    read = READER.decode(record_value(rng), header)
    if isinstance(read, NotARequest):
        assert len(read.message) <= MAX_ERROR_TEXT_CHARACTERS
        assert read.message.isprintable()
    elif not isinstance(read, SchemaNeeded):
        _checked(read)


def _checked(request: dict[str, Any]) -> None:
    assert {*request} == {*REQUEST}
    said = validate(request["products"], request["clientSpecificationId"], 100)
    if isinstance(said, ResyncError):
        assert 0 < len(said.field_errors) <= MAX_ERROR_ROWS
        assert all(len(row.message) <= MAX_ERROR_TEXT_CHARACTERS for row in said.field_errors)
    else:
        assert said


def headers(rng: Random) -> None:
    """Any headers: facts, and a word about those beyond the bounds."""
    facts = read_headers(record_headers(rng))
    assert all(name.lower() in ("correlation-id", "kafka_correlationid") for name, _ in facts.correlation)
    assert facts.traceparent is None or len(facts.traceparent) >= len(TRACEPARENT)
    assert "operator-key" not in repr(facts)


def schema(rng: Random) -> None:
    """Any text as a writer schema, then any bytes by it."""
    reader = RequestReader(registry=True, max_bytes=1 << 20)
    reader.learn(NAMED, mutated(rng, SCHEMA.encode(), JSON_TOKENS).decode("utf-8", "replace"))
    read = reader.decode(NAMED.wire + mutated(rng, BODY), None)
    assert not isinstance(read, SchemaNeeded)
    if isinstance(read, NotARequest):
        assert read.message.isprintable()


def answer(rng: Random) -> None:
    """Any answer to CM21: an outcome in bounded words, and no credential in them."""
    given = mutated(rng, rng.choice(ANSWERS), (*JSON_TOKENS, b"<", b">", b"</script", b"&amp;", b"\x1b[2J"))
    if rng.random() < 0.01:
        given = b"[" * rng.randint(1, 3000) + given
    status = rng.choice((200, 201, 204, 302, 400, 401, 413, 422, 429, 500, 503, 504, 999, rng.randint(200, 999)))
    said = {
        "content-encoding": rng.choice(("", "gzip", "deflate", "br", text(rng))),
        "retry-after": rng.choice(("", "5", "-1", "1e9", "9" * 400, "Wed, 21 Oct 2015 07:28:00 GMT", text(rng, 40))),
        "location": text(rng, 400),
    }
    outcome = read_answer(status, said, given[: MIRAKL.body_bytes], credential=CREDENTIAL, wall_time=1.7e9)
    words = outcome.reason if isinstance(outcome, CallFailure) else getattr(outcome, "excerpt", "")
    assert words.isprintable()
    assert len(words) <= MIRAKL.excerpt_characters + len("HTTP 999: ")
    assert CREDENTIAL not in words
    if isinstance(outcome, Receipt):
        assert outcome.tracking_id.isprintable()


def base_url(rng: Random) -> None:
    """A base URL that is said to have no problem makes an address."""
    given = mutated(
        rng,
        b"https://shop.example:8443/api",
        (b"http", b"//", b"@", b"[::1]", b":", b"%41", b"#", b"?", b"..", b"xn--", b"-"),
    )
    written = given.decode("latin-1")
    if base_url_problem(written) is None:
        httpx.Request("POST", synchronization_address(written))


def progress(rng: Random) -> None:
    """Any metadata as a progress map: one that we wrote, or none."""
    base = rng.choice((0, 5, 2**40))
    right = encode_map(base, rng.randbytes(rng.choice((1, 10, 100, WINDOW // 8)))).encode()
    with contextlib.suppress(ProgressMapIgnoredError):
        assert len(decode_map(base, mutated(rng, right).decode("latin-1"))) <= WINDOW // 8


def registry(rng: Random) -> None:
    """Any answers of the registry: a text, "missing", or a trouble in people's words."""
    with contextlib.suppress(RegistryError, SchemaError):
        assert isinstance(_conversed(rng), str | Missing)


def _conversed(rng: Random) -> object:
    conversation = whole_schema(NAMED)
    question = next(conversation)
    while True:
        given = mutated(rng, rng.choice(REGISTRY_ANSWERS), JSON_TOKENS)
        answer = interpret(question, ADDRESS, rng.choice((200, 200, 200, 404, 500)), given)
        try:
            question = conversation.send(answer)
        except StopIteration as end:
            return end.value
