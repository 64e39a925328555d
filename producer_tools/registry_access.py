"""Encoding requests and decoding results, with the schema registry if one is configured."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

from pydantic import ValidationError

from producer_tools.errors import MisconfiguredError, ResyncToolError, UnreachableError
from producer_tools.policy import TOOLS
from producer_tools.topic_reader import Headers
from schemas.avro.codec import RecordDecoder, RequestDecoder, RequestEncoder, ResultDecoder, UnknownSchema
from schemas.avro.framing import SchemaRef
from schemas.avro.learnt import Unreadable
from schemas.avro.released import requests
from schemas.avro.writer_schema import SchemaError
from schemas.contract import SCHEMA_ID_HEADER, value_subject
from schemas.events import Event, ProductResyncRequested, ProductResyncResult
from schemas.registry.address import RegistryAddress
from schemas.registry.errors import RegistryError, SchemaNotRegisteredError
from schemas.registry.questions import Missing, registered_id
from schemas.settings import SchemaRegistrySettings

if TYPE_CHECKING:
    from schemas.registry.client import SchemaRegistry  # loads httpx, which takes a fifth of a command's start

AnyEvent = TypeVar("AnyEvent", bound=Event)


def request_encoder(settings: SchemaRegistrySettings, topic: str) -> RequestEncoder:
    """Return the encoder for ``topic``: Confluent wire format with a registry, single-object encoding without.

    Raises ``UnreachableError``, or ``MisconfiguredError`` if the schema is not registered.
    """
    address = RegistryAddress.of(settings)
    if address is None:
        return RequestEncoder()
    from schemas.registry.registration import newest_id  # noqa: PLC0415 - loads httpx

    try:
        return RequestEncoder(newest_id(address, topic, requests()))
    except SchemaNotRegisteredError as error:
        raise MisconfiguredError(error.problem, error.remedy) from error
    except RegistryError as error:
        raise _explained(error) from error


def schema_header(headers: Headers) -> bytes | None:
    """Return the header that names the schema: names are case-insensitive, and the last of a repeated one counts."""
    return {name.lower(): value for name, value in headers}.get(SCHEMA_ID_HEADER)


class EventReader(Generic[AnyEvent]):
    """Decodes one kind of event in either framing, whatever compatible schema it was written with."""

    def __init__(
        self,
        settings: SchemaRegistrySettings,
        make_decoder: Callable[[bool], RecordDecoder],
        event: type[AnyEvent],
        kind: str,
    ) -> None:
        """``make_decoder`` is told whether there is a registry; ``kind`` is the event's name in messages."""
        self._kind = kind
        self._address = RegistryAddress.of(settings)
        self._decoder = make_decoder(self._address is not None)
        self._event = event
        self._registry: SchemaRegistry | None = None
        self._missing: dict[SchemaRef, float] = {}

    def decode(self, value: bytes | None, headers: Headers) -> AnyEvent | str:
        """Return the event, or why these bytes are not one.

        Raises ``UnreachableError`` or ``MisconfiguredError`` if the registry has to be asked and does not answer.
        """
        header = schema_header(headers)
        found = self.decode_known(value, header)
        if isinstance(found, UnknownSchema):
            if not self._learn(found.ref):
                return f"the schema registry does not have {found.ref}"
            found = self.decode_known(value, header)
        return "its schema is unknown" if isinstance(found, UnknownSchema) else found

    def decode_known(self, value: bytes | None, header: bytes | None) -> AnyEvent | str | UnknownSchema:
        """Return the event, why these bytes are not one, or the schema to request from the registry; never waits."""
        decoded = self._decoder.decode(value, header)
        if isinstance(decoded, UnknownSchema):
            return decoded
        if isinstance(decoded, Unreadable):
            return decoded.message
        try:
            return self._event.from_record(decoded)
        except (ValidationError, OverflowError):
            return f"its fields are not those of a {self._kind}"

    def close(self) -> None:
        if self._registry is not None:
            self._registry.close()
            self._registry = None

    def _connected(self, address: RegistryAddress) -> "SchemaRegistry":
        from schemas.registry.client import SchemaRegistry  # noqa: PLC0415 - loads httpx

        self._registry = self._registry or SchemaRegistry(address)
        return self._registry

    def _learn(self, ref: SchemaRef) -> bool:
        if self._address is None or time.monotonic() < self._missing.get(ref, 0.0):
            return False
        try:
            found = self._connected(self._address).schema(ref)
        except SchemaError as error:
            self._decoder.adopt(ref, self._decoder.refusal(ref, error))
            return True
        except RegistryError as error:
            raise _explained(error) from error
        if isinstance(found, Missing):
            if len(self._missing) >= TOOLS.missing_schemas:
                self._missing.clear()
            self._missing[ref] = time.monotonic() + TOOLS.ask_again_seconds
            return False
        self._decoder.learn(ref, found)
        return True


class ResultReader(EventReader[ProductResyncResult]):
    """Decoder of the results topic, which asks the registry for schemas that it does not know."""

    def __init__(self, settings: SchemaRegistrySettings) -> None:
        super().__init__(settings, lambda registry: ResultDecoder(registry=registry), ProductResyncResult, "result")


class RequestReader(EventReader[ProductResyncRequested]):
    """Decodes requests of at most ``max_bytes``, as the service does, though anybody may write any schema id.

    ``topic``: the one under whose subject our own schemas are registered.
    """

    def __init__(self, settings: SchemaRegistrySettings, max_bytes: int, topic: str) -> None:
        super().__init__(
            settings,
            lambda registry: RequestDecoder(registry=registry, max_bytes=max_bytes),
            ProductResyncRequested,
            "request",
        )
        self._subject = value_subject(topic)
        self._own: dict[SchemaRef, str] | None = None
        self._lookups = TOOLS.lookups

    def decode_own(self, value: bytes | None, headers: Headers) -> ProductResyncRequested | str:
        """Return the request if it was written with one of our released schemas, or why it cannot be read.

        Raises ``UnreachableError`` or ``MisconfiguredError`` if the registry does not say which ids these have; it is
        asked once, whatever records name.
        """
        header = schema_header(headers)
        found = self.decode_known(value, header)
        if isinstance(found, UnknownSchema):
            own = self._own_schemas()
            if found.ref in own:
                self._decoder.learn(found.ref, own[found.ref])
                found = self.decode_known(value, header)
        return f"{found.ref} is none of ours" if isinstance(found, UnknownSchema) else found

    def read(self, value: bytes | None, headers: Headers) -> ProductResyncRequested | str:
        """Return the request, or why it cannot be read; also the registry's refusal of a schema, and too many schemas.

        Raises as ``decode_own`` does: a registry that knows our own schemas is in order.
        """
        known = self.decode_known(value, schema_header(headers))
        if not isinstance(known, UnknownSchema):
            return known
        own = self.decode_own(value, headers)
        if not isinstance(own, str):
            return own
        if not self._lookups:
            return f"more than {TOOLS.lookups} questions to the schema registry"
        self._lookups -= 1
        try:
            return self.decode(value, headers)
        except ResyncToolError as error:
            return str(error)

    def _own_schemas(self) -> dict[SchemaRef, str]:
        if self._own is None:
            own = {}
            assert self._address is not None  # noqa: S101 - without one, no schema is worth a question
            try:
                registry = self._connected(self._address)
                for version in requests():
                    schema_id = registry.ask(registered_id(self._subject, version.text))
                    if not isinstance(schema_id, Missing):
                        own[SchemaRef.from_id(schema_id)] = version.text
            except RegistryError as error:
                raise _explained(error) from error
            self._own = own
        return self._own


def _explained(error: RegistryError) -> ResyncToolError:
    return (UnreachableError if error.unreachable else MisconfiguredError)(error.problem, error.remedy)
