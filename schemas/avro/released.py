"""The released schema versions, bundled: ``schemas/<record>/v<N>.avsc``. A released version is never changed."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, Final, TypeAlias

from fastavro import parse_schema
from fastavro.schema import fingerprint, to_parsing_canonical_form

from schemas.avro.framing import SchemaRef

Json: TypeAlias = Any

_LOGICAL_TYPE: Final = "logicalType"


@dataclass(frozen=True, slots=True)
class ReleasedSchema:
    """One released version of one record. Its file never changes, so its fingerprint names it for good."""

    version: int
    text: str
    """The content of the file, JSON."""

    @property
    def ref(self) -> SchemaRef:
        """Its name in Avro single-object encoding: the CRC-64-AVRO fingerprint of the schema."""
        return SchemaRef.from_fingerprint(crc64_avro(self.text))


def crc64_avro(schema_text: str) -> bytes:
    """Return the CRC-64-AVRO fingerprint of a schema's Parsing Canonical Form: 8 bytes, little-endian.

    Source: Avro specification 1.12, "Schema fingerprints".
    """
    canonical = to_parsing_canonical_form(json.loads(schema_text))
    return bytes.fromhex(fingerprint(canonical, "CRC-64-AVRO"))


def plain_schema(schema_text: str) -> tuple[Json, Mapping[str, Json]]:
    """Return a schema parsed for fastavro without its logical types, and its named types by full name."""
    named: dict[str, Json] = {}
    return parse_schema(_without_logical_types(json.loads(schema_text)), named), named


def _without_logical_types(node: Json) -> Json:
    if isinstance(node, list):
        return [_without_logical_types(item) for item in node]
    if isinstance(node, dict):
        return {key: _without_logical_types(value) for key, value in node.items() if key != _LOGICAL_TYPE}
    return node


@cache
def requests() -> tuple[ReleasedSchema, ...]:
    """Return all released versions of ``ProductResyncRequested``, oldest first. Read from the package once."""
    return _released("product_resync_requested")


@cache
def results() -> tuple[ReleasedSchema, ...]:
    """Return all released versions of ``ProductResyncResult``, oldest first. Read from the package once."""
    return _released("product_resync_result")


def _released(record: str) -> tuple[ReleasedSchema, ...]:
    paths = (path for path in (files(__package__.rpartition(".")[0]) / record).iterdir() if path.name.endswith(".avsc"))
    return tuple(sorted(map(_load, paths), key=lambda schema: schema.version))


def _load(path: Traversable) -> ReleasedSchema:
    version = path.name.removeprefix("v").removesuffix(".avsc")
    return ReleasedSchema(version=int(version), text=path.read_text(encoding="utf-8"))
