"""How much is taken in: bounds on what is in flight, partitions paused and resumed, lanes kept from swelling.

A lane that is well never sheds: what feeds it is paused while it is slow, or while it holds more than its share of what
has become scarce. What stands in lanes that cannot call, or beyond a lane's share, leaves the appetite for others as it
is, up to the bound on everything. A lane that may be unable to call (its calls do not come back, or none ever did) has
no partition paused that feeds others as well. Where it is known to feed no others, nothing more is taken in, and some
records beyond are fetched to see whether others wait there.
"""

from collections.abc import Collection, Iterable, Sequence

from consumer.engine.dispatch.lanes import Lane
from consumer.engine.policy import Limits
from consumer.engine.requests import Assignment, Record, Request
from consumer.engine.status import LaneState

HELD_SHARE = 0.5
"""Share of the records, and of the bytes, in flight that may be undecided; then the partitions that bring them are
paused."""
BLOCKED_SHARE = 0.5
"""Share of the bytes in flight that fetched records of blocked partitions, which wait to be taken in, may hold. Up to
there they leave the fetch budget of others alone; beyond, they are given back and read again later."""
HELD_EASE = 0.8
"""Share of that below which they are no longer."""
RESUME_BELOW = 0.75
"""Share of a bound below which a paused partition is resumed."""
OVERFULL_EASE = 0.5
"""Share of its bound below which a lane is no longer overfull."""
SCARCE_FROM = 0.6
"""Share of the records that may be in flight from which lanes are held to theirs: a client library hands over what it
has fetched a partition at a time, thousands of one client's requests in a row, and pausing costs all of that."""
CROWDED_FROM = 0.75
"""The same from which no partition is spared for feeding others as well: lanes that do not answer must leave them
room, and here a partition with others costs less than all partitions without."""
SEEK_RECORDS = 1000
"""Records that are fetched of a partition beyond what can be taken in, where its lanes may be unable to call, to see
whether it holds up others."""
FULL_PATIENCE_SECONDS = 1.0
"""With no appetite for this long, the partitions are paused."""


class Flow:
    """Counts what is in flight and weighs it against the bounds. Times are monotonic seconds."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.records = 0
        self.bytes = 0
        self.standing = 0
        """Records in lanes that do not call, or beyond the share of those that do: as of the last weighing."""
        self.overfed: frozenset[int] = frozenset()
        """Partitions that feed the overfull lanes, or too many records that wait for schemas."""
        self._held = self._held_bytes = 0
        """Undecided records: as of the last weighing, and those since."""
        self._too_many_held = False
        self._overfull: set[Lane] = set()
        self._turned_away: dict[int, Lane] = {}
        """Partitions whose next request is for a lane that was full."""
        self._slots = limits.shared_calls
        """Calls that each lane can count on, beside all others that call."""
        self._full = False
        self._full_since: float | None = None

    # -- counting --------------------------------------------------------------------------------------

    def take_in(self, record: Record) -> None:
        """One record more is in flight."""
        self.records += 1
        self.bytes += record.size

    def let_go(self, requests: Iterable[Request]) -> None:
        """These are no longer in flight."""
        sizes = [request.record.size for request in requests]
        self.records -= len(sizes)
        self.bytes -= sum(sizes)

    def hold(self, request: Request) -> None:
        """A request cannot be decided yet."""
        self._held += 1
        self._held_bytes += request.record.size
        if self._holds_too_much():
            self.overfed |= {request.assignment.partition}

    def admits(self, lane: Lane, request: Request) -> bool:
        """Tell whether a lane may get one request more, however large; else its partition waits until it may."""
        assignment = request.assignment
        if lane.room >= 0 or not lane.queue or (lane.gives_way and assignment.shared):
            return True
        self._turned_away[assignment.partition] = lane
        self.overfed |= {assignment.partition}
        return False

    def ended(self, partition: int) -> None:
        """What this partition's next request was for may be of no interest to its next assignment."""
        self._turned_away.pop(partition, None)

    def begins(self, lane: Lane, now: float) -> None:
        """An idle lane is about to get its first request."""
        lane.gives_way = lane.unheard
        lane.room = self._room_in(lane, now)

    def enqueued(self, lane: Lane, request: Request) -> None:
        """A lane got one request more to wait for a call."""
        assignment = request.assignment
        assignment.lanes.add(lane)
        lane.room -= len(request.products)
        if lane.room < 0 and not (lane.gives_way and assignment.shared):
            self._overfull.add(lane)
            self.overfed |= {assignment.partition}

    # -- weighing --------------------------------------------------------------------------------------

    def weigh(
        self, assignments: Collection[Assignment], lanes: Iterable[Lane], held: Sequence[Request], now: float
    ) -> None:
        """Find the lanes that are too full and who feeds them, and count what can go nowhere."""
        busy = [lane for lane in lanes if not lane.idle]
        able = [lane for lane in busy if lane.state(now) is LaneState.HEALTHY]
        brisk = {lane for lane in able if not lane.hesitates(now)}
        for lane in busy:
            lane.gives_way = lane not in brisk or lane.unheard
        self._find_shared(assignments, busy, now)
        share = self._limits.brisk_records // (len(able) + 1)
        self._slots = max(1, self._limits.shared_calls // max(1, len(busy)))
        self.standing = sum(lane.load if lane not in brisk else max(0, lane.load - share) for lane in busy)
        crowded = self.records > CROWDED_FROM * self._limits.records
        scarce = self.records > SCARCE_FROM * self._limits.records
        overfull: set[Lane] = set()
        for lane in busy:
            held_to_share = crowded or (scarce and (lane in brisk or not lane.shares))
            if self._is_overfull(lane, share if held_to_share else None, now):
                overfull.add(lane)
        self._overfull = overfull
        shared = {each.partition for each in assignments if each.shared}
        self._turned_away = {
            partition: lane
            for partition, lane in self._turned_away.items()
            if lane in overfull and not (lane.gives_way and partition in shared)
        }
        feeders = {
            assignment.partition
            for lane in overfull
            for assignment in {part.request.assignment for part in lane.waiting()}
            if not (lane.gives_way and assignment.shared) or (crowded and lane in able)
        }
        self.overfed = frozenset(feeders | self._turned_away.keys())
        self._weigh_held(held)

    def _find_shared(self, assignments: Iterable[Assignment], busy: Iterable[Lane], now: float) -> None:
        for lane in busy:
            lane.shares = False
        for assignment in assignments:
            recent = assignment.recent_lanes(now, self._limits.request_deadline)
            assignment.shared = len(recent) > 1
            assignment.seeks_others = any(recent) and all(each is None or _may_be_unable(each) for each in recent)
            assignment.unable = assignment.seeks_others and not any(each and _is_able(each, now) for each in recent)
            if assignment.shared:
                for each in recent:
                    if each is not None:
                        each.shares = True

    def _is_overfull(self, lane: Lane, share: int | None, now: float) -> bool:
        """Weigh one lane. A sick one gets all the room there is: its requests are answered in time, whatever comes."""
        ease = OVERFULL_EASE if lane in self._overfull else 1.0
        lane.room = float("inf") if lane.state(now) is LaneState.SICK else self._room_in(lane, now, ease)
        return lane.depth > 0 and (lane.room < 0 or (share is not None and lane.depth > ease * share))

    def _room_in(self, lane: Lane, now: float, ease: float = 1.0) -> float:
        """Products that may still be queued there."""
        return lane.spare(self._limits.longest_wait, ease, self._slots, now)

    def _weigh_held(self, held: Sequence[Request]) -> None:
        """Anyone can send records that the registry is asked about in vain."""
        self._held = len(held)
        self._held_bytes = sum(request.record.size for request in held)
        self._too_many_held = self._holds_too_much()
        if self._too_many_held:
            self.overfed |= {request.assignment.partition for request in held}

    def _holds_too_much(self) -> bool:
        share = HELD_SHARE * (HELD_EASE if self._too_many_held else 1.0)
        return self._held > share * self._limits.records or self._held_bytes > share * self._limits.record_bytes

    # -- deciding --------------------------------------------------------------------------------------

    def appetite(self, assignments: Iterable[Assignment]) -> int:
        """Return how many more records it makes sense to fetch now.

        Those that wait in a blocked partition are no reason to fetch none of others, up to a bound on their bytes.
        """
        waiting = waiting_bytes = blocked_bytes = 0
        for assignment in assignments:
            if self.is_blocked(assignment):
                blocked_bytes += assignment.waiting_bytes
            else:
                waiting += len(assignment.waiting)
                waiting_bytes += assignment.waiting_bytes
        waiting_bytes += max(0, blocked_bytes - int(BLOCKED_SHARE * self._limits.record_bytes))
        if self.bytes + waiting_bytes >= self._limits.record_bytes:
            return 0
        brisk = self._limits.brisk_records - (self.records - self.standing - self._held)
        return max(0, min(brisk, self._limits.records - self.records) - waiting)

    def has_room(self, assignment: Assignment, record: Record) -> bool:
        """Tell whether a fetched record can be taken in."""
        limits = self._limits
        return (
            self.records < limits.records
            and self.bytes < limits.record_bytes
            and assignment.partition not in self.overfed
            and self._within_window(assignment, record.offset)
        )

    def to_give_back(self, assignments: Iterable[Assignment]) -> list[Assignment]:
        """Return the paused assignments whose fetched records are to be given back, to be read again later."""
        blocked = [each for each in assignments if each.paused and each.waiting and self.is_blocked(each)]
        share = BLOCKED_SHARE * self._limits.record_bytes
        return blocked if sum(each.waiting_bytes for each in blocked) > share else []

    def is_blocked(self, assignment: Assignment) -> bool:
        """Tell whether fetched records wait that cannot be taken in although there is room for others."""
        waiting = assignment.waiting
        return bool(waiting) and (
            assignment.partition in self.overfed or not self._within_window(assignment, waiting[0].offset)
        )

    def _within_window(self, assignment: Assignment, offset: int) -> bool:
        return offset - assignment.progress.base < self._limits.window or not assignment.open

    def turns(
        self, assignments: Collection[Assignment], now: float, *, closed: bool, appetite: int
    ) -> tuple[list[Assignment], list[Assignment]]:
        """Give the assignments to pause and those to resume now, marked as such; ``closed``: nothing is taken in."""
        full = closed or self._is_full(appetite, now)
        pause = [each for each in assignments if not each.paused and (full or self._is_brimming(each))]
        resume = [each for each in assignments if each.paused and not full and self._has_ebbed(each)]
        for each in pause:
            each.paused = True
        for each in resume:
            each.paused = False
        return pause, resume

    def _is_full(self, appetite: int, now: float) -> bool:
        """Tell whether there is no appetite, and not just for a moment; then, until there is a good one again."""
        if appetite >= self._limits.brisk_records // 4 or (appetite > 0 and not self._full):
            self._full_since = None
        elif self._full_since is None:
            self._full_since = now
        self._full = self._full_since is not None and now - self._full_since > FULL_PATIENCE_SECONDS
        return self._full

    def _is_brimming(self, assignment: Assignment) -> bool:
        if self._seeks_others(assignment) and len(assignment.waiting) < SEEK_RECORDS:
            return False
        return (
            assignment.partition in self.overfed
            or assignment.progress.used >= self._limits.window
            or self.is_blocked(assignment)
        )

    def _seeks_others(self, assignment: Assignment, share: float = 1.0) -> bool:
        """Tell whether to fetch more than can be taken in. Beyond a window only where lanes can be made to leave it.

        ``share``: of the window, which is full from there on.
        """
        if assignment.unable:
            return True
        waiting, used = assignment.waiting, assignment.progress.used
        within = used < share * self._limits.window and (
            not waiting or self._within_window(assignment, waiting[0].offset)
        )
        return assignment.seeks_others and within

    def _has_ebbed(self, assignment: Assignment) -> bool:
        if (
            self._seeks_others(assignment, RESUME_BELOW)
            and assignment.given_back is None
            and len(assignment.waiting) < SEEK_RECORDS // 2
        ):
            return True
        return (
            not assignment.waiting
            and (assignment.given_back is None or self._within_window(assignment, assignment.given_back))
            and assignment.progress.used <= RESUME_BELOW * self._limits.window
            and assignment.partition not in self.overfed
        )


def _may_be_unable(lane: Lane) -> bool:
    return lane.gives_way and not lane.idle


def _is_able(lane: Lane, now: float) -> bool:
    return lane.state(now) is LaneState.HEALTHY
