"""The outcomes of a CM21 call.

::

    CallOutcome
    ├── Receipt         Mirakl accepted the batch; the only success
    ├── Refusal         final: a 4xx that no repetition heals, or a redirect
    ├── Unacknowledged  2xx without a tracking id: accepted or not is unknown; final
    └── CallFailure     try again later; ``may_have_reached`` says whether Mirakl may have accepted it

Decided only by the HTTP status (CM21.md, "error body").
"""

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Receipt:
    """Mirakl's acknowledgement of one batch (2xx with a tracking id): its products are accepted for synchronization."""

    tracking_id: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """A final refusal: 4xx other than 408, 425 and 429, or a redirect.

    ``excerpt`` is a bounded piece of Mirakl's answer for people, with the credential redacted.
    """

    status: int
    excerpt: str

    @property
    def unauthorized(self) -> bool:
        """Whether Mirakl refused the credential (401, 403) rather than the batch."""
        return self.status in (401, 403)

    @property
    def blames_entries(self) -> bool:
        """Whether one bad entry can cause this status, so that the batch is worth splitting."""
        return self.status in (400, 413, 422)


@dataclass(frozen=True, slots=True)
class Unacknowledged:
    """A 2xx answer without a usable tracking id: the products may have been accepted, so it is never repeated."""

    status: int
    excerpt: str


@dataclass(frozen=True, slots=True)
class CallFailure:
    """A call that ended without a final answer: 408, 425, 429, 5xx, or no complete response.

    A later attempt may succeed.
    """

    reason: str
    """For people: ``HTTP 503``, ``connection refused``, ``no answer within 60 s``."""
    may_have_reached: bool
    """The request was written and no complete answer came, or a gateway gave up (504)."""
    status: int | None = None
    retry_after: float | None = None
    """Seconds from the end of the call, where Mirakl named a time."""
    ours: str | None = None
    """The resource that this process lacked, with the remedy. Closes the intake; unrelated to Mirakl's health."""


CallOutcome: TypeAlias = Receipt | Refusal | Unacknowledged | CallFailure
