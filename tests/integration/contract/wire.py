"""Requests and results as somebody else's programs write and read them: by the published schemas, nothing of ours."""

import datetime as dt
import io
import json
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import fastavro

from tests.support.service import ROOT
from tests.unit.schemas.avro.spec_avro import canonical_form, crc64

Event: TypeAlias = dict[str, Any]


def published(name: str) -> dict[str, Any]:
    """A released schema, parsed."""
    path = ROOT / "schemas" / name
    schema: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    return schema


REQUEST = published("product_resync_requested/v1.avsc")
RESULT = published("product_resync_result/v1.avsc")


def fingerprint(schema: dict[str, Any]) -> bytes:
    """CRC-64-AVRO of the parsing canonical form, as it stands on the wire."""
    return crc64(canonical_form(json.dumps(schema)).encode()).to_bytes(8, "little")


def body(event: Event, schema: dict[str, Any] = REQUEST) -> bytes:
    """The Avro binary alone."""
    written = io.BytesIO()
    fastavro.schemaless_writer(written, fastavro.parse_schema(schema), event)
    return written.getvalue()


def single_object(event: Event, schema: dict[str, Any] = REQUEST) -> bytes:
    """Avro single-object encoding."""
    return b"\xc3\x01" + fingerprint(schema) + body(event, schema)


def read_result(value: bytes | None, magic: bytes | None = None) -> Event:
    """A result in single-object encoding, or behind another ``magic`` prefix."""
    prefix = magic or b"\xc3\x01" + fingerprint(RESULT)
    assert value is not None
    assert value.startswith(prefix)
    rest = io.BytesIO(value[len(prefix) :])
    event = fastavro.schemaless_reader(rest, fastavro.parse_schema(RESULT), None)
    assert rest.read() == b""
    assert isinstance(event, dict)
    for name in ("requestedAt", "completedAt"):
        event[name] = round((event[name] - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)).total_seconds() * 1000)
    if event["clientSpecificationId"] is not None:
        event["clientSpecificationId"] = str(event["clientSpecificationId"])
    return event


def pairs(count: int, prefix: str = "MKL") -> list[Event]:
    """Product references."""
    return [{"miraklProductId": f"{prefix}-{number}", "productSku": f"SKU-{number}"} for number in range(count)]


def request(products: Sequence[Event] | None = None, specification: str | None = None, **changes: object) -> Event:
    """A good request."""
    event = {
        "requestId": str(uuid.uuid4()),
        "clientSpecificationId": specification,
        "products": pairs(2) if products is None else list(products),
        "requestedAt": int(time.time() * 1000),
        "requestedBy": "acceptance",
        "reason": None,
    }
    return {**event, **changes}
