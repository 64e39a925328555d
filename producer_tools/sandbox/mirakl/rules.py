"""Behaviour of a healthy simulated Mirakl instance: limits, pace, credentials, processing."""

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveInt

Probability: TypeAlias = Annotated[float, Field(ge=0, le=1)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Latency(_Frozen):
    """Seconds from a received call to the first byte of its answer."""

    seconds: NonNegativeFloat = 0.0
    jitter: NonNegativeFloat = 0.0
    """At most this much more, evenly spread."""
    tail_share: Probability = 0.0
    tail_seconds: NonNegativeFloat = 0.0
    """This much more, for ``tail_share`` of the calls."""


class EntryError(_Frozen):
    code: str
    message: str


class Processing(_Frozen):
    """Processing of a submission, as CM22 and CM23 report it."""

    seconds: NonNegativeFloat = 0.0
    """Until it is final; the first thirds of it are ``WAITING``, ``QUEUED`` and ``RUNNING``."""
    final_status: str = "COMPLETE"
    """``COMPLETE``, ``FAILED``, ``CANCELLED``, anything unheard of, or ``RUNNING``: never final."""
    has_report: bool = True
    partial_read: bool = False
    archived: bool = False
    bare: bool = False
    """Only ``tracking_id`` and ``status``, the two fields that are always there."""
    failed_products: dict[str, EntryError] = Field(default_factory=dict)
    """Mirakl product ids whose entry fails, and with what."""
    global_errors: tuple[EntryError, ...] = ()


class Rules(_Frozen):
    """One instance's standing behaviour: credential, limits, latency, and how submissions are processed."""

    latency: Latency = Latency()
    processing: Processing = Processing()
    authorization: tuple[str, ...] | None = None
    """Accepted values of ``Authorization`` (``Bearer <token>`` or the raw key); ``None``: any but a missing one."""
    revoked: bool = False
    """Every credential is refused with 401."""
    calls_per_hour: PositiveInt | None = None
    """A bucket that holds ``burst`` calls and refills evenly; beyond it 429 with the seconds until the next call."""
    burst: PositiveInt | None = None
    """Calls at once; ``None``: a whole hour's."""
    concurrent_calls: PositiveInt | None = None
    """Beyond it 429 without ``Retry-After``."""
    max_entries: PositiveInt | None = None
    """Beyond it 413."""
    max_body_bytes: PositiveInt | None = None
    """Beyond it 413."""
    status: Literal[200, 201, 202] = 200
    """Of a call that is taken in."""
    unknown_fields: NonNegativeInt = 0
    """That many fields nobody has heard of stand in each answer, in front of the known ones."""
