"""The public contract, written once: header names, error codes, limits, and the rules of ids, uuids and traces.

A leaf: it imports the standard library only, so that the service's domain, the tools and their tests can all use it.
Texts and numbers here are what other teams build on; changing one changes the contract.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final

# Topics and subjects

REQUESTS_TOPIC: Final = "mirakl.product-resync.requests.v1"
"""Default name of the topic of ``ProductResyncRequested``."""
RESULTS_TOPIC: Final = "mirakl.product-resync.results.v1"
"""Default name of the topic of ``ProductResyncResult``; to be read with ``isolation.level=read_committed``."""
DEAD_LETTERS_TOPIC: Final = "mirakl.product-resync.requests.v1.dlq"
"""Default name of the topic of records that cannot be read as a request."""


def value_subject(topic: str) -> str:
    """Return the subject under which the registry keeps the schemas of a topic's values.

    Source: Confluent's documentation, "Subject name strategy" (``TopicNameStrategy``).
    """
    return f"{topic}-value"


# Headers. Names are case-insensitive; of a repeated header the last value counts.

CLIENT_HEADER: Final = "dj-client"
OPERATOR: Final = b"OPERATOR"
"""The only accepted value of `CLIENT_HEADER`."""
API_KEY_HEADER: Final = "dj-api-key"
SIGNATURE_HEADER: Final = "dj-signature"
"""Signature of the record, instead of the key (``schemas.signature``); if both are present, only it counts."""
SCHEMA_ID_HEADER: Final = "__value_schema_id"
"""The value's schema, by id or GUID. Source: Confluent's documentation, "Wire format"."""
TRACEPARENT_HEADER: Final = "traceparent"
TRACESTATE_HEADER: Final = "tracestate"
CORRELATION_HEADER: Final = "correlation-id"
KAFKA_CORRELATION_HEADER: Final = "kafka_correlationId"
"""Spring Kafka's correlation header (``KafkaHeaders.CORRELATION_ID``)."""

CE_SPECVERSION_HEADER: Final = "ce_specversion"
CE_SPECVERSION: Final = b"1.0"
CE_ID_HEADER: Final = "ce_id"
CE_TYPE_HEADER: Final = "ce_type"
CE_TYPE: Final = b"mirakl.resync.v1.ProductResyncResult"
CE_SOURCE_HEADER: Final = "ce_source"
CE_SOURCE_PREFIX: Final = b"urn:mirakl-resync:"
"""Followed by the consumer group's id."""
CE_SUBJECT_HEADER: Final = "ce_subject"
CE_TIME_HEADER: Final = "ce_time"
CONTENT_TYPE_HEADER: Final = "content-type"
CONTENT_TYPE: Final = b"application/avro"
TENANT_HEADER: Final = "resync-tenant"
REQUEST_TOPIC_HEADER: Final = "resync-request-topic"
REQUEST_PARTITION_HEADER: Final = "resync-request-partition"
REQUEST_OFFSET_HEADER: Final = "resync-request-offset"

DLQ_PREFIX: Final = "dlq."
"""Of all headers that the service adds to a dead letter; those that a record brings along are left out."""
DLQ_REASON_HEADER: Final = "dlq.reason"
DLQ_MESSAGE_HEADER: Final = "dlq.message"
DLQ_TOPIC_HEADER: Final = "dlq.topic"
DLQ_PARTITION_HEADER: Final = "dlq.partition"
DLQ_OFFSET_HEADER: Final = "dlq.offset"
DLQ_TIMESTAMP_HEADER: Final = "dlq.timestamp"
DLQ_GROUP_HEADER: Final = "dlq.group"
DLQ_SERVICE_HEADER: Final = "dlq.service"
DLQ_TENANT_HEADER: Final = "dlq.tenant"
DLQ_REDRIVE_COUNT_HEADER: Final = "dlq.redrive-count"
DLQ_REDRIVE_OF_HEADER: Final = "dlq.redrive-of"
"""On a redriven request: the coordinates of its dead letter."""
DLQ_VALUE_OMITTED_HEADER: Final = "dlq.value-omitted"
DLQ_VALUE_BYTES_HEADER: Final = "dlq.value-bytes"
DLQ_VALUE_SHA256_HEADER: Final = "dlq.value-sha256"
DLQ_HEADERS_OMITTED_HEADER: Final = "dlq.headers-omitted"


def header_bytes(headers: Iterable[tuple[str, bytes | None]]) -> int:
    """Return the bytes of all names and values of a record's headers together, as `MAX_HEADERS_BYTES` counts them."""
    return sum(len(name.encode()) + len(value or b"") for name, value in headers)


# Credentials


class Credential(StrEnum):
    """Kind of a request's credential: values of ``RESYNC_REQUEST_AUTH`` and ``RESYNC_ACCEPT_CREDENTIALS``."""

    KEY = "key"
    """The API key itself, in ``dj-api-key``."""
    SIGNATURE = "signature"
    """A signature made with the key, in ``dj-signature``."""


SIGNATURE_MAX_AGE_SECONDS: Final = 3 * 86_400.0
"""Default of ``RESYNC_SIGNATURE_MAX_AGE``: as long as the requests topic keeps a record by default."""
SIGNATURE_MAX_AHEAD_SECONDS: Final = 300.0
"""Most seconds by which ``requestedAt`` of a signed request may lie in the future: clocks differ."""

# Limits

MAX_HEADERS: Final = 64
"""Headers of a request."""
MAX_HEADERS_BYTES: Final = 32 * 1024
"""Bytes of all names and values of a request's headers together."""
MAX_ID_CHARACTERS: Final = 255
"""Characters of a request id, a Mirakl product id or an SKU."""
MAX_PRODUCTS: Final = 10_000
"""Default of ``RESYNC_MAX_PRODUCTS_PER_REQUEST``: distinct product pairs of one request."""
MAX_REQUEST_BYTES: Final = 1024 * 1024
"""Default of ``RESYNC_MAX_REQUEST_BYTES``: bytes of a request's value."""
HEADROOM_BYTES: Final = 64 * 1024
"""Bytes that ``max.message.bytes`` of the results and dead-letter topics, and of producers, exceeds a request by."""
MAX_ERROR_ROWS: Final = 100
"""Ids and field errors that an error lists; its message gives the totals."""
MAX_ERROR_TEXT_CHARACTERS: Final = 500
"""Characters of any text of an error, and of ``dlq.message``."""
REQUEST_DEADLINE_SECONDS: Final = 300.0
"""Default of ``RESYNC_REQUEST_DEADLINE``."""


# Errors


class DeadLetterReason(StrEnum):
    """Values of the header ``dlq.reason``. Stable: dashboards and ``dlq list --reason`` use them."""

    UNREADABLE = "UNREADABLE"
    UNKNOWN_SCHEMA = "UNKNOWN_SCHEMA"


class CredentialFault(StrEnum):
    """Fault of a credential.

    The values are the messages of ``API_KEY_INVALID``: each says what is wrong and what to do. Those about time have
    places for the two times.
    """

    UNKNOWN = "The API key is unknown: have one issued and use that."
    EXPIRED = "The API key has expired: have a new one issued and use that."
    REVOKED = "The API key is revoked: have a new one issued and use that."
    REFUSED = "The service has just refused this API key: have a new one issued and use that."
    KEYS_EXCLUDED = (
        "API keys are not accepted here: sign the request (dj-signature) instead of sending its key; tools and gateway "
        "do so with RESYNC_REQUEST_AUTH=signature."
    )
    SIGNATURES_EXCLUDED = (
        "Signatures are not accepted here: send the API key in the header dj-api-key (RESYNC_REQUEST_AUTH=key)."
    )
    MALFORMED = (
        "The signature is malformed: write v1:, the first 16 hex digits of the key's SHA-256, a colon and the HMAC in "
        "padded base64."
    )
    CANNOT_SIGN = "The API key cannot sign: have one issued with `--signing` and use that."
    MISMATCH = "The signature does not match: sign topic, __value_schema_id, dj-client and value exactly as sent."
    TOO_OLD = (
        "The signed request is too old by its requestedAt ({requested}; the service read it at {read}): make and sign "
        "a new one."
    )
    IN_THE_FUTURE = (
        "requestedAt ({requested}) is more than 5 minutes in the future by the clock of the service ({read}): correct "
        "the clock of the sender (of the gateway, if that signs), or of the service if all senders get this answer."
    )


class _DefinedCode(StrEnum):
    @property
    def http_status(self) -> int:
        """Status that the published HTTP operation answers with; also ``httpStatus`` of the error in a result."""
        return _DEFINITIONS[self].http_status

    @property
    def retryable(self) -> bool:
        """Whether the same request could succeed later without being changed, as ``retry`` assumes."""
        return _DEFINITIONS[self].retryable

    def message(self, **values: object) -> str:
        """Return the message for people with these values in their places. Raises ``KeyError`` if one is missing."""
        return _DEFINITIONS[self].template.format_map(values)


class ErrorCode(_DefinedCode):
    """Codes of ``ResyncError``: why the service did not, or not wholly, synchronize a request."""

    API_KEY_MISSING = "API_KEY_MISSING"
    API_KEY_INVALID = "API_KEY_INVALID"
    OPERATOR_REQUIRED = "OPERATOR_REQUIRED"
    VALIDATION_FAILED = "VALIDATION_FAILED"
    CLIENT_SPECIFICATION_NOT_FOUND = "CLIENT_SPECIFICATION_NOT_FOUND"
    NO_ACTIVE_CLIENT_SPECIFICATION = "NO_ACTIVE_CLIENT_SPECIFICATION"
    MULTIPLE_ACTIVE_CLIENT_SPECIFICATIONS = "MULTIPLE_ACTIVE_CLIENT_SPECIFICATIONS"
    CLIENT_SPECIFICATION_UNUSABLE = "CLIENT_SPECIFICATION_UNUSABLE"
    CLIENT_SPECIFICATION_SUSPENDED = "CLIENT_SPECIFICATION_SUSPENDED"
    CM21_REFUSED = "CM21_REFUSED"
    CM21_UNAUTHORIZED = "CM21_UNAUTHORIZED"
    CM21_OUTCOME_UNKNOWN = "CM21_OUTCOME_UNKNOWN"
    CM21_UNAVAILABLE = "CM21_UNAVAILABLE"


class GatewayCode(_DefinedCode):
    """Codes of responses that the HTTP gateway gives on its own, besides those of `ErrorCode` that it may give."""

    NOT_FOUND = "NOT_FOUND"
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    REQUEST_TOO_LARGE = "REQUEST_TOO_LARGE"
    UNSUPPORTED_MEDIA_TYPE = "UNSUPPORTED_MEDIA_TYPE"
    REQUEST_TIMEOUT = "REQUEST_TIMEOUT"
    TOO_MANY_CALLS = "TOO_MANY_CALLS"
    IDEMPOTENCY_KEY_REUSED = "IDEMPOTENCY_KEY_REUSED"
    KAFKA_UNAVAILABLE = "KAFKA_UNAVAILABLE"
    GATEWAY_BUSY = "GATEWAY_BUSY"
    RESULT_PENDING = "RESULT_PENDING"


class AlertCode(_DefinedCode):
    """Codes of responses to notifications of alerts, besides those that any call may get."""

    TOKEN_INVALID = "TOKEN_INVALID"  # noqa: S105 - a code
    NOT_A_NOTIFICATION = "NOT_A_NOTIFICATION"
    NOT_ACKNOWLEDGED = "NOT_ACKNOWLEDGED"


@dataclass(frozen=True, slots=True)
class _Definition:
    http_status: int
    template: str
    """One sentence that says what to do; `str.format` fields."""
    retryable: bool = False


_DEFINITIONS: Final[Mapping[str, _Definition]] = {
    ErrorCode.API_KEY_MISSING: _Definition(
        401, "No API key was given: send it in the header dj-api-key, or on Kafka a signature in dj-signature."
    ),
    ErrorCode.API_KEY_INVALID: _Definition(401, "{fault}"),
    ErrorCode.OPERATOR_REQUIRED: _Definition(403, "Only operators may resynchronize: {remedy}."),
    ErrorCode.VALIDATION_FAILED: _Definition(
        400, "The request is not valid: {mistakes}; correct {what} and send it again."
    ),
    ErrorCode.CLIENT_SPECIFICATION_NOT_FOUND: _Definition(
        404, "There is no client specification {id}: correct the id, or leave it out to use the only active one."
    ),
    ErrorCode.NO_ACTIVE_CLIENT_SPECIFICATION: _Definition(
        400, "No client specification is active: activate one, or name the one to use in clientSpecificationId."
    ),
    ErrorCode.MULTIPLE_ACTIVE_CLIENT_SPECIFICATIONS: _Definition(
        400, "{count} client specifications are active{listed}: name the one to use in clientSpecificationId."
    ),
    ErrorCode.CLIENT_SPECIFICATION_UNUSABLE: _Definition(
        500,
        "The client specification {name} cannot be used; have an administrator correct it, "
        "then send the request again: {problem}",
        retryable=True,
    ),
    ErrorCode.CLIENT_SPECIFICATION_SUSPENDED: _Definition(
        503,
        "The client specification {name} is suspended: send the request again once an operator has resumed it.",
        retryable=True,
    ),
    ErrorCode.CM21_REFUSED: _Definition(502, "Mirakl refused {what} ({answer}): {remedy}."),
    ErrorCode.CM21_UNAUTHORIZED: _Definition(
        502, "Mirakl refused the credential of the client specification ({answer}): have an administrator renew it."
    ),
    ErrorCode.CM21_OUTCOME_UNKNOWN: _Definition(
        502, "Mirakl {problem} and may have accepted the products: {remedy}.", retryable=True
    ),
    ErrorCode.CM21_UNAVAILABLE: _Definition(503, "{problem}: send the request again later.", retryable=True),
    GatewayCode.NOT_FOUND: _Definition(404, "There is nothing at this path: see /openapi.yaml."),
    GatewayCode.METHOD_NOT_ALLOWED: _Definition(405, "This path does not support {method}: use {allowed}."),
    GatewayCode.REQUEST_TOO_LARGE: _Definition(413, "The request has more than {limit} bytes: ask for fewer products."),
    GatewayCode.UNSUPPORTED_MEDIA_TYPE: _Definition(415, "The body is not JSON: send it as application/json."),
    GatewayCode.REQUEST_TIMEOUT: _Definition(
        408, "The request did not arrive within {seconds} s: send it again.", retryable=True
    ),
    GatewayCode.TOO_MANY_CALLS: _Definition(
        429, "Too many calls with this API key are waiting: wait for their responses.", retryable=True
    ),
    GatewayCode.IDEMPOTENCY_KEY_REUSED: _Definition(
        422, "This Idempotency-Key was used with another body: use a new key for another request."
    ),
    GatewayCode.KAFKA_UNAVAILABLE: _Definition(
        503, "Kafka is unavailable, so nothing was sent: try again later.", retryable=True
    ),
    GatewayCode.GATEWAY_BUSY: _Definition(503, "{problem}, so nothing was sent: try again later.", retryable=True),
    GatewayCode.RESULT_PENDING: _Definition(
        504, "No result arrived in time, and the request may still proceed: ask at Location.", retryable=True
    ),
    AlertCode.TOKEN_INVALID: _Definition(
        401, "The bearer token is missing or not one of RESYNC_GATEWAY__ALERT_TOKENS: send one of these."
    ),
    AlertCode.NOT_A_NOTIFICATION: _Definition(400, "{problem}: send a notification of Alertmanager or Grafana."),
    AlertCode.NOT_ACKNOWLEDGED: _Definition(
        503, "Kafka has not acknowledged {missing} of {all} requests: repeat the notification.", retryable=True
    ),
}

# Ids

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_UUID_CHARACTERS: Final = 36
_FORBIDDEN: Final[Mapping[str, str]] = {
    "Cc": "must not contain control characters",
    "Cf": "must not contain format characters, such as a zero-width space",
    "Cs": "is not valid Unicode text",  # halves of surrogate pairs; only a caller in Python can give some
}
"""By Unicode category."""


def id_fault(text: str) -> str | None:
    """Return what is wrong with a Mirakl product id or an SKU, as the end of a sentence about it; ``None``: nothing."""
    if not text.strip():
        return "must not be blank"
    if len(text) > MAX_ID_CHARACTERS:
        return f"has {len(text)} characters; at most {MAX_ID_CHARACTERS} are allowed"
    if text.strip() != text:
        return "must not begin or end with white space"
    if text.isprintable():
        return None
    return next((fault for each in text if (fault := _FORBIDDEN.get(unicodedata.category(each)))), None)


def request_id_fault(text: str) -> str | None:
    """Return what is wrong with a request id, as the end of a sentence about it; ``None``: nothing."""
    if len(text) > MAX_ID_CHARACTERS:
        return f"has {len(text)} characters, more than {MAX_ID_CHARACTERS}"
    return None if text and not text.isspace() else "is blank"


def canonical_uuid(text: str) -> str | None:
    """Return a UUID in its 36-character form in lower case; ``None``: the text is anything else."""
    return _canonical(text) if len(text) == _UUID_CHARACTERS else None


@lru_cache(maxsize=4096)  # of one length: remembering whatever somebody sends would have no bound in bytes
def _canonical(text: str) -> str | None:
    return text.lower() if _UUID.fullmatch(text) else None


# Traces

_TRACEPARENT: Final = re.compile(
    rb"(?!ff|00.{54})[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?"
)


def is_traceparent(value: bytes) -> bool:
    """Return whether a header value is a W3C ``traceparent``; the service ignores any other.

    Ids of zeros only and version ``ff`` are invalid; only versions after ``00`` may have more behind the flags.
    Source: W3C Trace Context, section 3.2.
    """
    return _TRACEPARENT.fullmatch(value) is not None
