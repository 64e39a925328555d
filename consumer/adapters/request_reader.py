"""The codec of ``schemas`` behind the engine's port for reading requests."""

from collections.abc import Hashable
from typing import Any

from consumer.engine.ports import NotARequest, SchemaNeeded
from schemas.avro.codec import RequestDecoder, UnknownSchema, write_long
from schemas.avro.framing import SchemaRef
from schemas.avro.learnt import Unreadable
from schemas.avro.resolution import Resolved
from schemas.avro.writer_schema import SchemaError


def string_encodings(text: str) -> tuple[bytes, bytes]:
    """Return byte strings of which one is part of every Avro value that contains this non-empty string.

    Avro writes a string as its length and its UTF-8 bytes. The length is a variable-length number. In its shortest
    form its last byte is not zero; any longer form, which readers accept, ends with a zero byte.
    """
    encoded = text.encode()
    return write_long(len(encoded)) + encoded, b"\x00" + encoded


class RequestReader:
    """Reads requests: the engine's ``Decoder``. ``registry``: whether schema ids can be asked for."""

    def __init__(self, *, registry: bool, max_bytes: int) -> None:
        self._decoder = RequestDecoder(registry=registry, max_bytes=max_bytes)

    def decode(self, value: bytes | None, schema_header: bytes | None) -> dict[str, Any] | NotARequest | SchemaNeeded:
        """Return the fields of a record's value, a schema to ask for, or why it is no request.

        Never raises, whatever the bytes. On the core's thread.
        """
        body = self._decoder.decode(value, schema_header)
        if isinstance(body, dict):
            return body
        if isinstance(body, UnknownSchema):
            return SchemaNeeded(body.ref)
        return NotARequest(body.reason, body.message)

    def learn(self, reference: Hashable, schema: str) -> None:
        """Prepare a writer schema and remember it. Only on the thread that decodes."""
        if not isinstance(reference, SchemaRef):
            raise TypeError(f"not a schema reference: {reference!r}")
        self.adopt(reference, self.prepare(reference, schema))

    def prepare(self, ref: SchemaRef, schema: str) -> Resolved | Unreadable:
        """Resolve a writer schema that the registry gave. On any thread; a hostile one takes up to a second."""
        return self._decoder.prepare(ref, schema)

    def refusal(self, ref: SchemaRef, error: SchemaError) -> Unreadable:
        return self._decoder.refusal(ref, error)

    def adopt(self, ref: SchemaRef, prepared: Resolved | Unreadable) -> None:
        """Remember a prepared writer schema. Only on the thread that decodes."""
        self._decoder.adopt(ref, prepared)
