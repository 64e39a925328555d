"""Work in progress: assignments of partitions, the requests read from them, and the parts sent in calls.

A request is in exactly one phase; ``Request.enter`` is the only place that changes it::

    UNDECIDED ──> ROUTED ──> DECIDED ──> COMMITTED
        │  ^        │ │         │
        │  └────────┘ │         │      UNDECIDED again: its client specification changed before it was sent
        ├─────────────│─────────┤      DECIDED from UNDECIDED: answered without a call, or a dead letter
        v             v         v
                  DISCARDED            its assignment ended: the next owner of the partition does it again

An assignment also is in exactly one phase, which ``Assignment.enter`` changes::

    KEPT ──> REVOKED ──> ENDED         ENDED from KEPT: the partition was lost, or its progress is read again
      │         v          ^
      └────> LOG_GONE ─────┘           LOG_GONE: the topic was created again, or its log ends before the reader
"""

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from consumer.domain.model import Products
from consumer.domain.outcome import ResyncError, Verdict
from consumer.domain.progress import Progress
from consumer.engine.precedence import Precedence
from consumer.engine.records import Record
from consumer.engine.request_headers import RequestHeaders


class Phase(IntEnum):
    """Phase of a request; the table above has the transitions. It is open in the phases before ``DECIDED``."""

    UNDECIDED = 0
    """Taken in. It waits for its writer schema, for a confirmed directory or behind an older request."""
    ROUTED = 1
    """It belongs to a lane. Its parts wait there or travel."""
    DECIDED = 2
    """It has a verdict, which waits for a transaction or is in the one in flight."""
    COMMITTED = 3
    """Its verdict is published. It leaves the engine."""
    DISCARDED = 4
    """Its assignment ended. It leaves the engine."""


class AssignmentPhase(IntEnum):
    """Phase of an assignment. Its requests are taken in and called for while it is ``KEPT``."""

    KEPT = 0
    REVOKED = 1
    """To be given up. Answers that are due soon are awaited; the next owner answers the rest."""
    LOG_GONE = 2
    """To be ended, and nobody else will answer its requests: calls in flight are awaited however long they take."""
    ENDED = 3


_NEXT = (
    (Phase.ROUTED, Phase.DECIDED, Phase.DISCARDED),
    (Phase.DECIDED, Phase.UNDECIDED, Phase.DISCARDED),
    (Phase.COMMITTED, Phase.DISCARDED),
    (),
    (),
)
"""Phase -> the phases that may follow."""
_ROUTED, _DECIDED, _KEPT = Phase.ROUTED, Phase.DECIDED, AssignmentPhase.KEPT


@dataclass(slots=True, eq=False)
class Request:
    """A record that was taken in, until its outcome is committed.

    The fields behind ``phase`` are filled as they become known. A record that is not a request keeps the defaults and
    gets a dead letter.
    """

    record: Record
    assignment: "Assignment"
    headers: RequestHeaders = field(repr=False)  # the API key is among them
    read_at: float
    """Monotonic seconds."""
    deadline: float
    """Seconds of the pausable clock."""
    phase: Phase = Phase.UNDECIDED
    request_id: str = ""
    requested_at: int = 0
    given: str | None = None
    """The client specification asked for, lower case."""
    tenant: str | None = None
    """Name of the API key; ``None``: the request has no valid key."""
    key_name: str | None = None
    products: Products = field(default_factory=dict)
    refusal: ResyncError | None = None
    """Error of a sender that may not resynchronize, final even though the writer schema is not known yet."""
    lane: str | None = None
    """Id of the lane, which is that of the client specification, once it is routed."""
    parts: "Sequence[Part]" = ()
    """While it is routed: itself as one part, or the slices of one too large for a call, in its own order."""
    restarted: bool = False
    """Its deadline was set anew, so it is out of the order of deadlines."""
    rerouted: bool = False
    """It was in another lane before, so newer requests of its partition may be ahead of it in this one."""
    verdict: Verdict | None = None

    @property
    def open(self) -> bool:
        """Whether it waits for a verdict: its deadline counts, and it holds a place within the bounds."""
        return self.phase < _DECIDED

    @property
    def in_flight(self) -> bool:
        """Whether a call in flight carries a part of it. Only for an open one: a decided one has no parts."""
        return any(part.in_flight for part in self.parts)

    def enter(self, phase: Phase) -> None:
        """Change the phase. Raises ``RuntimeError`` for a transition that the table above does not have."""
        if phase not in _NEXT[self.phase]:
            raise RuntimeError(f"a request cannot become {phase.name} from {self.phase.name}")
        self.phase = phase

    def route(self, lane: str) -> "Part":
        """Assign the request to a lane; return its only part, which the caller queues there."""
        self.enter(_ROUTED)
        self.lane = lane
        part = Part(self, self.products)
        self.parts = (part,)
        return part

    def withdraw(self) -> None:
        """Take the request back from its lane before anything of it was sent, to be decided about again."""
        self.enter(Phase.UNDECIDED)
        self.lane, self.parts, self.rerouted = None, (), True

    def decide(self, verdict: Verdict) -> None:
        """Set the request's verdict, which is published with the next transaction.

        Calls of it may still be in flight: their answers no longer change the verdict.
        """
        self.enter(_DECIDED)
        self.verdict = verdict
        self.parts = ()
        self.assignment.decided.append(self)

    def discard(self) -> None:
        """Drop the request, since its assignment has ended: nothing of it is published here any more."""
        self.enter(Phase.DISCARDED)
        self.parts = ()


@dataclass(slots=True, eq=False)
class Part:
    """Part of a request that travels in one call: all of it, or a slice of one too large for a call."""

    request: Request
    products: Products
    may_have_reached: bool = False
    """A call with it failed after Mirakl may have accepted it."""
    in_flight: bool = False
    receipt: tuple[int, str] | None = None
    """(call number, tracking id) once Mirakl has accepted it."""
    error: ResyncError | None = None
    """Error with which Mirakl or we finally refused it."""

    @property
    def final(self) -> bool:
        """Whether Mirakl has accepted the part, or it is finally not accepted."""
        return self.receipt is not None or self.error is not None

    @property
    def sendable(self) -> bool:
        """Whether a call may start for the part: it is routed, not final, and its partition is kept."""
        request = self.request
        return (
            request.phase is _ROUTED
            and self.receipt is None
            and self.error is None
            and request.assignment.phase is _KEPT
        )

    def split(self, limit: int) -> "list[Part]":
        """Cut a part that is too large for one call; the slices take its place in the request."""
        entries = list(self.products.items())
        slices = [
            Part(self.request, dict(entries[start : start + limit]), self.may_have_reached)
            for start in range(0, len(entries), limit)
        ]
        parts = self.request.parts
        place = next(index for index, part in enumerate(parts) if part is self)
        self.request.parts = (*parts[:place], *slices, *parts[place + 1 :])
        return slices


@dataclass(slots=True, eq=False)
class Assignment:
    """One assignment of one partition; ``epoch`` distinguishes it from every other one of this process."""

    partition: int
    epoch: int
    progress: Progress
    phase: AssignmentPhase = _KEPT
    backlog: deque[Record] = field(default_factory=deque)
    """Records that were fetched and not taken in yet."""
    backlog_bytes: int = 0
    given_back: int | None = None
    """The first offset of a backlog that was dropped for want of room, and must be read again."""
    open: dict[int, Request] = field(default_factory=dict)
    """Offset -> request that is not committed yet, oldest first."""
    decided: list[Request] = field(default_factory=list)
    """Requests with a verdict that are in no transaction."""
    precedence: Precedence[Request] = field(default_factory=Precedence)
    """The undecided requests, and who waits behind them."""
    holes: int = 0
    """Ranges in a row that did not continue what was read before."""
    hole_since: float = 0.0
    """Monotonic arrival of the first of them, in seconds."""
    reread_at: float = 0.0
    """Monotonic time of the next query for the missing part, in seconds."""
    committed_offset: int = -1
    drain_until: float = float("inf")
    """Once it is revoked: answers that are due by then are waited for (monotonic seconds)."""
    paused: bool = False
    lanes: set[str | None] = field(default_factory=set)
    """Lanes that it has fed since the last tick, or will feed next; ``None``: records that need no lane."""
    fed_at: dict[str | None, float] = field(default_factory=dict)
    """Lane -> the last tick at which it was among those."""
    shared: bool = False
    """It feeds several lanes. As of the last tick."""
    seeks_others: bool = False
    """It feeds only lanes that may be unable to call, as far as is known. As of the last tick."""
    unable: bool = False
    """It feeds only lanes that cannot call, as far as is known. As of the last tick."""
    looked_at: int = -1
    """Newest offset of the backlog that was looked ahead at."""

    @property
    def kept(self) -> bool:
        """Whether the partition stays ours as far as is known: its records are taken in, and calls start for them."""
        return self.phase is _KEPT

    @property
    def ended(self) -> bool:
        """Whether nothing of the assignment is published any more; its requests are discarded."""
        return self.phase is AssignmentPhase.ENDED

    def enter(self, phase: AssignmentPhase) -> None:
        """Change the phase, which only moves on: a revocation of an assignment whose log is gone changes nothing."""
        self.phase = max(self.phase, phase)

    def recent_lanes(self, now: float, seconds: float) -> Collection[str | None]:
        """Return the lanes that it has fed within so many seconds, or is known to feed next."""
        self.fed_at.update(dict.fromkeys(self.lanes, now))
        self.lanes.clear()
        if any(at < now - seconds for at in self.fed_at.values()):
            self.fed_at = {lane: at for lane, at in self.fed_at.items() if at >= now - seconds}
        return self.fed_at.keys()

    def forget_lane(self, lane: str) -> None:
        """Forget a lane that no longer exists among those that this partition feeds."""
        self.lanes.discard(lane)
        self.fed_at.pop(lane, None)

    def receive(self, record: Record) -> None:
        """Append a fetched record to the backlog, where it waits to be taken in."""
        self.backlog.append(record)
        self.backlog_bytes += record.size

    def remove_oldest(self) -> None:
        """Remove the oldest record of the backlog: it is taken in, or need not be."""
        self.backlog_bytes -= self.backlog.popleft().size

    def drop_backlog(self) -> None:
        """Leave the backlog to whoever reads the partition later, this consumer or another."""
        self.backlog.clear()
        self.backlog_bytes = 0
        self.progress.drop_unreceived()

    def give_back(self) -> None:
        """Drop the backlog for want of room; it is read again from the broker once there is some."""
        self.given_back = self.backlog[0].offset
        self.holes = 0
        self.drop_backlog()

    def end(self) -> None:
        """Discard all requests and let go of them: calls in flight still refer to this assignment."""
        self.enter(AssignmentPhase.ENDED)
        for request in self.open.values():
            request.discard()
        self.drop_backlog()
        self.open.clear()
        self.decided.clear()
        self.precedence = Precedence()
