"""Encoding requests and decoding results, with the schema registry where one is set and without it where none is."""


from pydantic import ValidationError

from consumer.settings import SchemaRegistrySettings
from producer_tools.topic_reader import Headers
from schemas.codec import RequestEncoder, ResultDecoder, UnknownSchema, Unreadable
from schemas.events import ProductResyncResult
from schemas.framing import SCHEMA_ID_HEADER


def request_encoder(settings: SchemaRegistrySettings, topic: str) -> RequestEncoder:
    return RequestEncoder()


class ResultReader:
    """Decodes results in either framing, whatever compatible schema they were written with."""

    def __init__(self, settings: SchemaRegistrySettings) -> None:
        self._decoder = ResultDecoder(registry=settings.url is not None)

    def decode(self, value: bytes | None, headers: Headers) -> ProductResyncResult | str:
        """The result, or why these bytes are none. Raises ``UnreachableError`` where the registry has to be asked and is down."""
        decoded = self._decoder.decode(value, dict(headers).get(SCHEMA_ID_HEADER))
        if isinstance(decoded, UnknownSchema):
            return "x"
        if isinstance(decoded, Unreadable):
            return decoded.message
        try:
            return ProductResyncResult.from_record(decoded)
        except (ValidationError, OverflowError) as error:
            return f"its fields are not those of a result ({error})"
