"""Headers of a request record, read in one pass: names are case-insensitive, the last value of a name counts."""

from dataclasses import dataclass

from consumer.engine.records import Headers
from schemas.contract import (
    API_KEY_HEADER,
    CLIENT_HEADER,
    CORRELATION_HEADER,
    DLQ_REDRIVE_COUNT_HEADER,
    KAFKA_CORRELATION_HEADER,
    MAX_HEADERS,
    MAX_HEADERS_BYTES,
    SCHEMA_ID_HEADER,
    SIGNATURE_HEADER,
    TRACEPARENT_HEADER,
    TRACESTATE_HEADER,
    header_bytes,
    is_traceparent,
)

UTF8_MOST_BYTES = 4
"""Maximum bytes of a character in UTF-8."""

_FIELDS = {
    CLIENT_HEADER: "caller",
    API_KEY_HEADER: "api_key",
    SIGNATURE_HEADER: "signature",
    SCHEMA_ID_HEADER: "schema_id",
    TRACEPARENT_HEADER: "traceparent",
    TRACESTATE_HEADER: "tracestate",
    DLQ_REDRIVE_COUNT_HEADER: "redrive_count",
}
_CORRELATION = frozenset({CORRELATION_HEADER, KAFKA_CORRELATION_HEADER.lower()})


@dataclass(slots=True)
class RequestHeaders:
    """The headers of a request that the service uses, as bytes; ``None`` where one is missing or null."""

    caller: bytes | None = None
    api_key: bytes | None = None
    signature: bytes | None = None
    """Empty where it is null: a signature that is there, and blank, counts before a key."""
    schema_id: bytes | None = None
    traceparent: bytes | None = None
    tracestate: bytes | None = None
    redrive_count: bytes | None = None
    correlation: tuple[tuple[str, bytes | None], ...] = ()
    """Correlation headers, repeated in the result byte for byte."""
    unreadable: str | None = None
    """Reason why the headers make the record a dead letter."""

    def __repr__(self) -> str:
        """Show no header that may hold a key."""
        return f"RequestHeaders(traceparent={self.traceparent!r}, unreadable={self.unreadable!r})"


class HeaderReader:
    """Reads headers; consecutive records that share them are read once."""

    def __init__(self) -> None:
        self._headers: Headers | None = ()
        self._found = read_headers(())

    def read(self, headers: Headers | None) -> RequestHeaders:
        """Return what ``read_headers`` does; the same object for the same headers, so nobody may change it."""
        if headers is not self._headers:
            self._headers, self._found = headers, read_headers(headers)
        return self._found


def read_headers(headers: Headers | None) -> RequestHeaders:
    """Read the headers that the service uses; beyond the contract's bounds, ``unreadable`` says so."""
    found = RequestHeaders()
    if headers is None:
        found.unreadable = "the header names cannot be decoded as UTF-8"
        return found
    size = 0
    for name, value in headers:
        size += len(name) + (len(value) if value is not None else 0)
        known = _FIELDS.get(name) or _FIELDS.get(name.lower())
        if known is not None:
            setattr(found, known, b"" if value is None and known == "signature" else value)
        elif name.lower() in _CORRELATION:
            found.correlation = _last_wins(found.correlation, name, value)
    if size > MAX_HEADERS_BYTES // UTF8_MOST_BYTES:  # which is rare, and characters are not bytes
        size = header_bytes(headers)
    if len(headers) > MAX_HEADERS or size > MAX_HEADERS_BYTES:
        found.unreadable = (
            f"the record has {len(headers)} headers of {size} bytes; "
            f"at most {MAX_HEADERS} of {MAX_HEADERS_BYTES} bytes in all are allowed"
        )
    if found.traceparent is not None and not is_traceparent(found.traceparent):
        found.traceparent = None
    return found


def _last_wins(
    correlation: tuple[tuple[str, bytes | None], ...], name: str, value: bytes | None
) -> tuple[tuple[str, bytes | None], ...]:
    others = tuple(pair for pair in correlation if pair[0].lower() != name.lower())
    return (*others, (name, value))


def is_secret(name: str) -> bool:
    """Return whether a header is never repeated anywhere: not in results, dead letters or logs."""
    return name.lower() == API_KEY_HEADER
