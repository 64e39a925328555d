"""What a record gets: a verdict, published as one result event or as one dead letter.

::

    Verdict
    ├── Synchronized   every product was taken in; shared by all requests of one CM21 call
    ├── Partial        a request too large for one call, of which some calls were finally not taken in
    ├── Failed         the answer is an error
    └── DeadLettered   the record cannot be read as a request

``completed_at`` is in milliseconds since the epoch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeAlias

MAX_ROWS = 100
"""Ids and field errors that an error lists; its message gives the totals."""
MAX_TEXT = 500
"""Characters of any text of an error."""


class Code(StrEnum):
    """The error codes of the contract."""

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

    @property
    def http_status(self) -> int:
        """The status that the published HTTP operation would answer with."""
        return _HTTP_STATUS[self]

    @property
    def retryable(self) -> bool:
        """Whether the same request would later have a chance."""
        return self in _RETRYABLE

    @property
    def rests_on_directory(self) -> bool:
        """The answer depends on what the database says."""
        return self in _RESTS_ON_DIRECTORY


_HTTP_STATUS: Mapping[Code, int] = {
    Code.API_KEY_MISSING: 401,
    Code.API_KEY_INVALID: 401,
    Code.OPERATOR_REQUIRED: 403,
    Code.VALIDATION_FAILED: 400,
    Code.CLIENT_SPECIFICATION_NOT_FOUND: 404,
    Code.NO_ACTIVE_CLIENT_SPECIFICATION: 400,
    Code.MULTIPLE_ACTIVE_CLIENT_SPECIFICATIONS: 400,
    Code.CLIENT_SPECIFICATION_UNUSABLE: 500,
    Code.CLIENT_SPECIFICATION_SUSPENDED: 503,
    Code.CM21_REFUSED: 502,
    Code.CM21_UNAUTHORIZED: 502,
    Code.CM21_OUTCOME_UNKNOWN: 502,
    Code.CM21_UNAVAILABLE: 503,
}
_RETRYABLE = frozenset(
    {
        Code.CLIENT_SPECIFICATION_UNUSABLE,
        Code.CLIENT_SPECIFICATION_SUSPENDED,
        Code.CM21_OUTCOME_UNKNOWN,
        Code.CM21_UNAVAILABLE,
    }
)
_RESTS_ON_DIRECTORY = frozenset(
    {
        Code.API_KEY_INVALID,
        Code.OPERATOR_REQUIRED,
        Code.CLIENT_SPECIFICATION_NOT_FOUND,
        Code.NO_ACTIVE_CLIENT_SPECIFICATION,
        Code.MULTIPLE_ACTIVE_CLIENT_SPECIFICATIONS,
        Code.CLIENT_SPECIFICATION_UNUSABLE,
        Code.CLIENT_SPECIFICATION_SUSPENDED,
    }
)


class DeadLetterReason(StrEnum):
    """``dlq.reason``."""

    UNREADABLE = "UNREADABLE"
    UNKNOWN_SCHEMA = "UNKNOWN_SCHEMA"


@dataclass(frozen=True, slots=True)
class FieldError:
    """One invalid field: where it stands, and what to do."""

    field: str
    message: str


@dataclass(frozen=True, slots=True)
class ResyncError:
    """Why a request was not, or not wholly, synchronized. Bounded when made by ``error``."""

    code: Code
    message: str
    available_client_specification_ids: tuple[str, ...] = ()
    field_errors: tuple[FieldError, ...] = ()


def error(
    code: Code,
    message: str,
    *,
    available: Sequence[str] = (),
    field_errors: Sequence[FieldError] = (),
) -> ResyncError:
    """Make an error within the contract's bounds."""
    return ResyncError(
        code,
        bounded(message),
        tuple(available[:MAX_ROWS]),
        tuple(replace(row, message=bounded(row.message)) for row in field_errors[:MAX_ROWS]),
    )


def bounded(text: str) -> str:
    """Cut a text for people to the contract's length."""
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


@dataclass(frozen=True, slots=True, eq=False)
class Synchronized:
    """Everything was taken in.

    One object for all requests that the same call carried: results that share it differ only in request id,
    number of products and time of request.
    """

    client_specification_id: str
    tracking_ids: tuple[str, ...]
    completed_at: int


@dataclass(frozen=True, slots=True)
class Partial:
    """Some parts of a large request were taken in; ``error`` is that of the first part that was not."""

    client_specification_id: str
    tracking_ids: tuple[str, ...]
    synchronized_products: int
    unsynchronized: Mapping[str, str]
    error: ResyncError
    completed_at: int


@dataclass(frozen=True, slots=True)
class Failed:
    """Nothing of the request is known to have been taken in."""

    client_specification_id: str | None
    error: ResyncError
    completed_at: int


@dataclass(frozen=True, slots=True)
class DeadLettered:
    """The record is no request that can be read."""

    reason: DeadLetterReason
    message: str


Verdict: TypeAlias = Synchronized | Partial | Failed | DeadLettered
