"""The engine's status: one immutable snapshot for health and metrics."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class FetchBudget(NamedTuple):
    """Current fetch budget, written by the core and read by the consumer's thread."""

    records: int
    """Records that may be fetched beyond those that the core has received; not below 0."""
    received_records: int = 0
    """Records that the core had received in all when ``records`` was computed. What was posted since counts against
    ``records``."""
    received_bytes: int = 0
    """Their bytes (``Record.size``)."""


class LaneState(StrEnum):
    """The health of a lane, in the order of precedence: sick, stalled, throttled, healthy."""

    HEALTHY = "healthy"
    SICK = "sick"
    """It waits until a known time, then sends one call as a probe."""
    STALLED = "stalled"
    """Its calls are in flight for far longer than calls usually take."""
    THROTTLED = "throttled"
    """Its calls per hour are used up."""


@dataclass(frozen=True, slots=True)
class LaneStatus:
    """Queue, calls and health of one client specification, for metrics and ``/readyz``."""

    client_specification_id: str
    tenant: str
    depth: int
    """Requests, and parts of large ones, that wait for a call."""
    calls_out: int
    calls_allowed: int
    """Calls that may be in flight at once in this process. More of them are, if that has become less meanwhile."""
    state: LaneState
    sick_until: float | None = None
    """Monotonic seconds from which on a sick lane probes; ``None``: it is not sick."""


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """A snapshot of the engine. Counters only grow; everything else is as of ``taken_at`` (monotonic seconds)."""

    taken_at: float
    joined: bool
    """The consumer has joined its group (also with no partition)."""
    stopping: bool
    troubles: tuple[str, ...]
    """Problems of our own, each with its remedy: those that close the intake, then those of the registry, of the
    dead-letter topic and of single partitions, which do not."""
    intake_open: bool
    """No problem of our own closes the intake. One that only a part of the requests waits for does not."""
    intake_closed: Mapping[str, int]
    """Times the intake closed, by reason (``database``, ``no-api-key``, ``broker``, ``publishing``, ``calls``)."""
    oldest_unanswered_seconds: float
    in_flight_records: int
    in_flight_bytes: int
    window_used: Mapping[int, float]
    """Partition -> share of its window of offsets, 0 to 1."""
    paused_partitions: int
    pauses: int
    lanes: tuple[LaneStatus, ...]
    quota_plan: int
    """Number of the plan by which the lanes have their parts of the quotas; 0: by none."""
    answered: Mapping[tuple[str, str], int]
    """(result status, error code or empty) -> results committed."""
    dead_letters: Mapping[str, int]
    """reason -> dead letters committed."""
    discarded: int
    """Outcomes that were not published, since their assignment had ended."""
    progress_maps_ignored: int
    """Progress maps read on assignment that were foreign, broken or implausible."""
    offset_resets: int
    """Times that a position was out of the log's range."""
    unread_partitions: int
    """Assigned partitions that have not been read for a long time; ``troubles`` says why."""
    unavailable_schemas: int
    """Writer schemas that requests wait for because their look-up in the registry failed; ``troubles`` says why."""
    holes: int
    """Deliveries that did not continue what was read before, and were read again."""
    commits: int
    aborts: int
    publishing_failures: Mapping[str, int]
    """Outlet (``results``, ``dead-letters``) -> transactions in a row that could not publish there."""
    progress_maps_cut: int
    """Progress maps that were cut, since the brokers refuse longer ones."""
    last_commit_at: float | None
    """Monotonic seconds."""
