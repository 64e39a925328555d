"""The codec of ``schemas`` behind the engine's port for reading requests."""

from collections.abc import Hashable
from typing import Any

from consumer.domain.outcome import DeadLetterReason
from consumer.engine.ports import NotARequest, SchemaNeeded
from schemas.codec import RequestDecoder, UnknownSchema
from schemas.framing import SchemaRef


class RequestReader:
    """Reads requests. ``registry``: whether schema ids can be asked for."""

    def __init__(self, *, registry: bool, max_bytes: int) -> None:
        self._decoder = RequestDecoder(registry=registry, max_bytes=max_bytes)

    def decode(self, value: bytes | None, schema_header: bytes | None) -> dict[str, Any] | NotARequest | SchemaNeeded:
        """Read a record's value; never raises, whatever the bytes."""
        body = self._decoder.decode(value, schema_header)
        if isinstance(body, dict):
            return body
        if isinstance(body, UnknownSchema):
            return SchemaNeeded(body.ref)
        return NotARequest(DeadLetterReason(body.reason), body.message)

    def learn(self, reference: Hashable, schema: str) -> None:
        """Remember a writer schema that the registry gave."""
        if not isinstance(reference, SchemaRef):
            raise TypeError(f"not a schema reference: {reference!r}")
        self._decoder.learn(reference, schema)
