"""Framings by which a record names its writer schema.

====================  =========================  ==========================================
where                 bytes                      the schema's
====================  =========================  ==========================================
header                ``00`` + 4 bytes           id in the registry, big-endian
header                ``01`` + 16 bytes          GUID in the registry
in front of the body  ``00`` + 4 bytes           id in the registry (Confluent wire format)
in front of the body  ``C3 01`` + 8 bytes        fingerprint (Avro single-object encoding)
====================  =========================  ==========================================

The header is `schemas.contract.SCHEMA_ID_HEADER`; if it is present, the body has no prefix.

Sources: Confluent's documentation, "Wire format"; Avro specification 1.12, "Single-object encoding".
"""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

ID_MAGIC: Final = b"\x00"
GUID_MAGIC: Final = b"\x01"
SINGLE_OBJECT_MAGIC: Final = b"\xc3\x01"

ID_BYTES: Final = 5
GUID_BYTES: Final = 17
SINGLE_OBJECT_BYTES: Final = 10


@dataclass(frozen=True, slots=True)
class SchemaRef:
    """A schema's name as it stands on the wire: magic, then id, GUID or fingerprint."""

    wire: bytes

    @classmethod
    def from_id(cls, schema_id: int) -> "SchemaRef":
        """Return the name of the schema with this id in the registry (0 to 2**32 - 1)."""
        return cls(ID_MAGIC + schema_id.to_bytes(4, "big"))

    @classmethod
    def from_guid(cls, guid: UUID) -> "SchemaRef":
        """Return the name of the schema with this GUID, which the registry assigns to the schema's content."""
        return cls(GUID_MAGIC + guid.bytes)

    @classmethod
    def from_fingerprint(cls, fingerprint: bytes) -> "SchemaRef":
        """Return the name of the schema with this CRC-64-AVRO fingerprint: 8 bytes, little-endian as on the wire."""
        return cls(SINGLE_OBJECT_MAGIC + fingerprint)

    @property
    def id(self) -> int | None:
        return int.from_bytes(self.wire[1:], "big") if len(self.wire) == ID_BYTES else None

    @property
    def guid(self) -> UUID | None:
        return UUID(bytes=self.wire[1:]) if len(self.wire) == GUID_BYTES else None

    @property
    def fingerprint(self) -> bytes | None:
        return self.wire[2:] if len(self.wire) == SINGLE_OBJECT_BYTES else None

    def __str__(self) -> str:
        if self.fingerprint is not None:
            return f"schema fingerprint {self.fingerprint.hex()}"
        return f"schema id {self.id}" if self.guid is None else f"schema GUID {self.guid}"


def header_framing(header: bytes) -> bytes:
    """Return the framing in the value of the schema id header; empty if its magic does not belong in a header."""
    return header if header[:1] in (ID_MAGIC, GUID_MAGIC) else b""


def parse_framing(framing: bytes) -> SchemaRef | None:
    """Return the schema that a header or a prefix names; ``None`` if it is not a framing, or truncated."""
    if framing[:1] in (ID_MAGIC, GUID_MAGIC):
        known = len(framing) == (ID_BYTES if framing[:1] == ID_MAGIC else GUID_BYTES)
    else:
        known = framing[:2] == SINGLE_OBJECT_MAGIC and len(framing) == SINGLE_OBJECT_BYTES
    return SchemaRef(framing) if known else None
