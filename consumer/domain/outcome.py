"""Outcome of a record: a verdict, published as one result event or as one dead letter.

::

    Verdict
    ├── Synchronized   Mirakl accepted every product; shared by all requests of one CM21 call
    ├── Partial        a request too large for one call, of which some calls were finally not accepted
    ├── Failed         the answer is an error
    └── DeadLettered   the record cannot be read as a request

``completed_at`` is in milliseconds since the epoch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from schemas.contract import MAX_ERROR_ROWS, MAX_ERROR_TEXT_CHARACTERS, DeadLetterReason, ErrorCode

RESTS_ON_DIRECTORY: Final = frozenset(
    {
        ErrorCode.API_KEY_INVALID,
        ErrorCode.OPERATOR_REQUIRED,
        ErrorCode.CLIENT_SPECIFICATION_NOT_FOUND,
        ErrorCode.NO_ACTIVE_CLIENT_SPECIFICATION,
        ErrorCode.MULTIPLE_ACTIVE_CLIENT_SPECIFICATIONS,
        ErrorCode.CLIENT_SPECIFICATION_UNUSABLE,
        ErrorCode.CLIENT_SPECIFICATION_SUSPENDED,
    }
)
"""Codes of answers that depend on the stores: given only from a snapshot confirmed after the record was read."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """One invalid field of a request: its path in the event, and what is wrong with it."""

    field: str
    message: str


@dataclass(frozen=True, slots=True)
class ResyncError:
    """Error of a request that was not, or only partially, synchronized. Bounded when made by ``error``."""

    code: ErrorCode
    message: str
    available_client_specification_ids: tuple[str, ...] = ()
    field_errors: tuple[FieldError, ...] = ()


def error(
    code: ErrorCode, *, available: Sequence[str] = (), field_errors: Sequence[FieldError] = (), **values: object
) -> ResyncError:
    """Return an error within the contract's bounds; ``values`` are what the code's message mentions."""
    return ResyncError(
        code,
        bounded(code.message(**values)),
        tuple(available[:MAX_ERROR_ROWS]),
        tuple(replace(row, message=bounded(row.message)) for row in field_errors[:MAX_ERROR_ROWS]),
    )


def bounded(text: str) -> str:
    """Return a text for people, cut to the contract's 500 characters with an ellipsis at the end."""
    return text if len(text) <= MAX_ERROR_TEXT_CHARACTERS else text[: MAX_ERROR_TEXT_CHARACTERS - 1] + "…"


@dataclass(frozen=True, slots=True, eq=False)
class Synchronized:
    """Mirakl accepted everything.

    One object for all requests that the same call carried: results that share it differ only in request id,
    number of products and time of request.
    """

    client_specification_id: str
    tracking_ids: tuple[str, ...]
    completed_at: int


@dataclass(frozen=True, slots=True)
class Partial:
    """Mirakl accepted some parts of a large request; ``error`` is that of the first part that it did not."""

    client_specification_id: str
    tracking_ids: tuple[str, ...]
    synchronized_products: int
    unsynchronized: Mapping[str, str]
    error: ResyncError
    completed_at: int


@dataclass(frozen=True, slots=True)
class Failed:
    """The answer is an error: Mirakl is not known to have accepted anything of the request."""

    client_specification_id: str | None
    error: ResyncError
    completed_at: int


@dataclass(frozen=True, slots=True)
class DeadLettered:
    """The record cannot be read as a request, for good: it goes to the dead-letter topic and gets no result."""

    reason: DeadLetterReason
    message: str


Verdict: TypeAlias = Synchronized | Partial | Failed | DeadLettered
