"""The work under way: records of an assignment, the requests read from them, the parts they travel in."""

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from consumer.domain.model import Products
from consumer.domain.outcome import ResyncError, Verdict
from consumer.domain.progress import CommitPoint, Progress
from consumer.engine.admission.precedence import Precedence

if TYPE_CHECKING:
    from consumer.engine.admission.headers import Facts
    from consumer.engine.dispatch.lanes import Lane


@dataclass(slots=True, eq=False)
class Record:
    """A record of the requests topic as Kafka delivered it."""

    partition: int
    offset: int
    timestamp: int
    """Milliseconds since the epoch; somebody else's clock; negative: none."""
    key: bytes | None = field(repr=False)
    value: bytes | None = field(repr=False)
    headers: Sequence[tuple[str, bytes | None]] | None = field(repr=False)  # the requester's API key is among them
    """``None`` where the names are no text."""
    problem: str | None = None
    """Why nothing of it could be read, not even key and value."""
    size: int = field(init=False)
    """Bytes of all that somebody else chose; names count as characters."""

    def __post_init__(self) -> None:
        size = len(self.key or b"") + len(self.value or b"")
        for name, value in self.headers or ():
            size += len(name) + len(value or b"")
        self.size = size


class ReadRange(NamedTuple):
    """What was read of a partition without interruption, for one assignment.

    All records of the log from ``begin`` to before ``end`` were delivered, in order: what is missing between them
    are gaps of the log. ``begin`` is where the reader was told to read from, or the end of the range before.
    """

    epoch: int
    begin: int
    end: int


@dataclass(slots=True, eq=False)
class Request:
    """A record that was taken in, from then until its outcome is committed.

    The fields behind ``products`` are filled as the intake learns them; a record that is no request keeps
    the defaults and gets a dead letter.
    """

    record: Record
    assignment: "Assignment"
    facts: "Facts"
    read_at: float
    """Monotonic seconds."""
    deadline: float
    """Seconds of the engine's clock, which stands still in our own trouble."""
    request_id: str = ""
    requested_at: int = 0
    given: str | None = None
    """The client specification asked for, lower case."""
    tenant: str | None = None
    products: Products = field(default_factory=dict)
    refusal: ResyncError | None = None
    """Why its sender may not resynchronize, if that is final although its writer schema is not known yet."""
    lane: "Lane | None" = None
    parts: "list[Part] | None" = None
    """The parts of a request too large for one call, in its own order."""
    calls_out: int = 0
    may_have_reached: bool = False
    restarted: bool = False
    """Its deadline was set anew, so it stands out of the order of deadlines."""
    rerouted: bool = False
    """It was in another lane before, so newer requests of its partition may be ahead of it in this one."""
    verdict: Verdict | None = None

    @property
    def dropped(self) -> bool:
        """Nobody waits for it any more: it is decided, or its assignment ended."""
        return self.verdict is not None or self.assignment.ended


@dataclass(slots=True, eq=False)
class Part:
    """What of a request travels in one call: all of it, or a slice of a large one."""

    request: Request
    products: Products
    may_have_reached: bool = False
    out: bool = False
    """It travels in a call right now."""
    tracking: tuple[int, str] | None = None
    """(call number, tracking id) once taken in."""
    error: ResyncError | None = None
    """Why it is finally not taken in."""

    @property
    def settled(self) -> bool:
        """Taken in, or finally not."""
        return self.tracking is not None or self.error is not None

    @property
    def withdrawn(self) -> bool:
        """No call should start for it any more."""
        request = self.request
        return (
            request.verdict is not None
            or request.assignment.ended
            or request.assignment.revoking
            or self.tracking is not None
            or self.error is not None
        )

    def split(self, limit: int) -> "list[Part]":
        """Cut a part that is too large for one call; the slices take its place in the request."""
        entries = list(self.products.items())
        slices = [
            Part(self.request, dict(entries[start : start + limit]), self.may_have_reached)
            for start in range(0, len(entries), limit)
        ]
        parts = self.request.parts
        if parts is None:
            self.request.parts = list(slices)
        else:
            place = next(index for index, part in enumerate(parts) if part is self)
            parts[place : place + 1] = slices
        return slices


@dataclass(slots=True, eq=False)
class Assignment:
    """One assignment of one partition; ``epoch`` tells it from every other one of this process."""

    partition: int
    epoch: int
    progress: Progress
    waiting: deque[Record] = field(default_factory=deque)
    """Fetched, and not taken in yet."""
    waiting_bytes: int = 0
    given_back: int | None = None
    """The first offset of what was fetched, dropped for want of room, and must be read again."""
    open: dict[int, Request] = field(default_factory=dict)
    """Offset -> request not committed yet, oldest first."""
    finished: list[Request] = field(default_factory=list)
    """With a verdict, and in no transaction yet."""
    precedence: Precedence = field(default_factory=Precedence)
    """The open requests that are undecided."""
    holes: int = 0
    """Ranges in a row that did not continue what was read before."""
    hole_since: float = 0.0
    """When the first of them came, in monotonic seconds."""
    reread_at: float = 0.0
    """When to ask for the missing part again, in monotonic seconds."""
    committed_offset: int = -1
    acknowledged: CommitPoint | None = None
    """What this assignment has committed last, for certain."""
    ended: bool = False
    revoking: bool = False
    drain_until: float = float("inf")
    """Once it is revoked: answers that are due by then are waited for (monotonic seconds)."""
    ends_for_good: bool = False
    """Its log is gone, so that nobody else will answer its requests."""
    paused: bool = False
    lanes: "set[Lane | None]" = field(default_factory=set)
    """Whom it has fed since the last tick, or was seen to feed next; ``None``: records that need no lane."""
    fed_at: "dict[Lane | None, float]" = field(default_factory=dict)
    """Lane -> the last tick at which it was among those."""
    shared: bool = False
    """It feeds several lanes. As of the last tick."""
    seeks_others: bool = False
    """It feeds none but lanes that may be unable to call, as far as is known. As of the last tick."""
    unable: bool = False
    """It feeds none but lanes that cannot call, as far as is known. As of the last tick."""
    looked_at: int = -1
    """Newest offset among the waiting records that was looked ahead at."""

    def recent_lanes(self, now: float, seconds: float) -> "Collection[Lane | None]":
        """Return the lanes that it has fed within so many seconds, or is known to feed next."""
        self.fed_at.update(dict.fromkeys(self.lanes, now))
        self.lanes.clear()
        if any(at < now - seconds for at in self.fed_at.values()):
            self.fed_at = {lane: at for lane, at in self.fed_at.items() if at >= now - seconds}
        return self.fed_at.keys()

    def fetched(self, record: Record) -> None:
        """A record that was delivered waits."""
        self.waiting.append(record)
        self.waiting_bytes += record.size

    def next_waiting(self) -> Record:
        """Give the record that has waited longest."""
        record = self.waiting.popleft()
        self.waiting_bytes -= record.size
        return record

    def turned_back(self, record: Record) -> None:
        """The record received last is not taken in yet after all: it waits again, before all others."""
        self.waiting.appendleft(record)
        self.waiting_bytes += record.size
        self.progress.give_back(record.offset)

    def forget_waiting(self) -> None:
        """What was not taken in is left to the next owner."""
        self.waiting.clear()
        self.waiting_bytes = 0
        self.progress.drop_unreceived()

    def give_back(self) -> None:
        """What waits is dropped, and is read again once there is room."""
        self.given_back = self.waiting[0].offset
        self.holes = 0
        self.forget_waiting()

    def end(self) -> None:
        """The partition was given up. Calls in flight still refer to it, so it lets go of everything."""
        self.ended = True
        self.forget_waiting()
        self.open.clear()
        self.finished.clear()
        self.precedence = Precedence()
