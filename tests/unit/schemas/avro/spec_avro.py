"""Avro as its specification tells it, knowing nothing of ours: what another team's library would do.

A stream is read from front to back by the writer's schema alone. Slow and plain on purpose.
"""

import json
import struct
from collections.abc import Callable
from io import BytesIO
from typing import Any, TypeAlias

Json: TypeAlias = Any
Value: TypeAlias = Any

EMPTY = 0xC15D213AA4D7A795


def crc64(data: bytes) -> int:
    """The specification's `fingerprint64`, bit by bit."""
    fingerprint = EMPTY
    for byte in data:
        fingerprint ^= byte
        for _ in range(8):
            fingerprint = (fingerprint >> 1) ^ (EMPTY & -(fingerprint & 1))
    return fingerprint


def canonical_form(schema_text: str) -> str:
    """The Parsing Canonical Form of a schema."""
    return json.dumps(_canonical(json.loads(schema_text), ""), separators=(",", ":"))


def _canonical(node: Json, namespace: str) -> Json:
    if isinstance(node, list):
        return [_canonical(branch, namespace) for branch in node]
    if isinstance(node, str):
        return node
    if set(node) <= {"type", "logicalType"}:
        return node["type"]
    namespace = node.get("namespace", namespace)
    kept: dict[str, Json] = {"name": f"{namespace}.{node['name']}"} if "name" in node else {}
    kept["type"] = node["type"]
    if "fields" in node:
        kept["fields"] = [{"name": f["name"], "type": _canonical(f["type"], namespace)} for f in node["fields"]]
    if "items" in node:
        kept["items"] = _canonical(node["items"], namespace)
    return kept | {key: node[key] for key in ("symbols",) if key in node}


def read_single_object(value: bytes, schema_text: str) -> Value:
    """A record in single-object encoding; the fingerprint must be the schema's."""
    assert value[:2] == b"\xc3\x01"
    assert value[2:10] == struct.pack("<Q", crc64(canonical_form(schema_text).encode()))
    return read_body(value[10:], schema_text)


def read_confluent(value: bytes, schema_of: Callable[[int], str]) -> Value:
    """A record in the Confluent wire format."""
    magic, schema_id = struct.unpack(">bI", value[:5])
    assert magic == 0
    return read_body(value[5:], schema_of(schema_id))


def read_body(body: bytes, schema_text: str) -> Value:
    """All of a body, to its last byte."""
    stream = BytesIO(body)
    value = _read(stream, json.loads(schema_text), {})
    assert stream.read() == b""
    return value


def _long(stream: BytesIO) -> int:
    number = shift = 0
    while True:
        byte = stream.read(1)[0]
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1)


def _read(stream: BytesIO, schema: Json, named: dict[str, Json]) -> Value:
    if isinstance(schema, list):
        return _read(stream, schema[_long(stream)], named)
    if isinstance(schema, str):
        if schema in named:
            return _read(stream, named[schema], named)
        return _primitive(stream, schema)
    if "name" in schema:
        named[schema["name"]] = schema
    return _complex(stream, schema, named)


def _complex(stream: BytesIO, schema: Json, named: dict[str, Json]) -> Value:
    kind = schema["type"]
    if kind == "record":
        return {field["name"]: _read(stream, field["type"], named) for field in schema["fields"]}
    if kind == "enum":
        return schema["symbols"][_long(stream)]
    if kind == "array":
        items = []
        while count := _long(stream):
            items += [_read(stream, schema["items"], named) for _ in range(count)]
        return items
    return _read(stream, kind, named)


def _primitive(stream: BytesIO, kind: str) -> Value:
    if kind == "string":
        return stream.read(_long(stream)).decode()
    return {"null": lambda: None, "boolean": lambda: stream.read(1) == b"\x01"}.get(kind, lambda: _long(stream))()
