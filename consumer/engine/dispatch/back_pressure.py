"""Back-pressure: bounds on what is in flight, pauses of partitions, limits of lanes.

A healthy lane never sheds: partitions that feed it are paused while it is slow, or while it holds more than its share
of scarce room. Records in lanes that cannot call, or beyond a lane's share, do not count against the fetch budget of
others, up to the bound on all records. For a lane that may be unable to call (its calls do not come back, or none ever
did), no partition that also feeds other lanes is paused. No more records are taken in from a partition that feeds only
such lanes, but some more are fetched to see whether records of other lanes wait there.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

from consumer.engine.dispatch.capacity import spare_products
from consumer.engine.dispatch.lanes import Lane
from consumer.engine.policy import Policy
from consumer.engine.records import Record
from consumer.engine.requests import Assignment, Request
from consumer.engine.status import LaneState


class BackPressure:
    """Counts records in flight and compares them with the bounds. Times are monotonic seconds."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.records = 0
        """In flight: taken in, and their outcomes not committed."""
        self.bytes = 0
        """Of these."""
        self.over_limit: frozenset[int] = frozenset()
        """Partitions that feed overfull lanes, or bring too many undecided records: they are paused."""
        self.full = False
        """There has been no fetch budget for a while: all partitions are paused."""
        self._inactive = 0
        """Records in lanes that cannot call, or beyond the share of those that can: as of the last tick."""
        self._undecided = self._undecided_bytes = 0
        """As of the last tick, and those since."""
        self._too_many_undecided = False
        self.unable: Sequence[Lane] = ()
        """Lanes with requests that cannot call: sick, stalled or throttled. As of the last tick."""
        self.some_able = False
        """Others with requests can. As of the last tick."""
        self._overfull: set[Lane] = set()
        self._turned_away: dict[int, Lane] = {}
        """Partitions whose next request is for a lane that was full."""
        self._slots = policy.shared_calls
        """Calls that each lane can count on, beside all others that call."""
        self._full_since: float | None = None
        self._enough = policy.active_records // 4
        """The fetch budget with which partitions are resumed that were paused for want of one: less where lanes hold
        little, since what the others hold can leave no more. As of the last tick."""

    # -- counting --------------------------------------------------------------------------------------

    def take_in(self, record: Record) -> None:
        """Count a record that is taken in."""
        self.records += 1
        self.bytes += record.size

    def let_go(self, requests: Iterable[Request]) -> None:
        """Count requests that leave the engine."""
        sizes = [request.record.size for request in requests]
        self.records -= len(sizes)
        self.bytes -= sum(sizes)

    def undecided(self, request: Request) -> None:
        """Count a request that cannot be decided yet, and pause its partition if there are too many."""
        self._undecided += 1
        self._undecided_bytes += request.record.size
        if self._exceeds_undecided():
            self.over_limit |= {request.assignment.partition}

    def admits(self, lane: Lane, assignment: Assignment) -> bool:
        """Return whether a lane may get one request more, however large; if not, the partition waits until it may."""
        if lane.room >= 0 or not lane.queue.waiting or (lane.suspect and assignment.shared):
            return True
        self._turned_away[assignment.partition] = lane
        self.over_limit |= {assignment.partition}
        return False

    def ended(self, partition: int) -> None:
        """Forget for which lane the next request of an ended assignment was turned away."""
        self._turned_away.pop(partition, None)

    def begins(self, lane: Lane, now: float) -> None:
        """Measure how much an idle lane may hold, which is about to get its first request."""
        lane.suspect = lane.health.unheard
        lane.room = self._room_in(lane, now)

    def enqueued(self, lane: Lane, request: Request) -> None:
        """Count a request that was queued in a lane, and pause its partition if the lane is overfull.

        On the hot path.
        """
        assignment = request.assignment
        assignment.lanes.add(request.lane)
        lane.room -= len(request.products)
        if lane.room < 0 and not (lane.suspect and assignment.shared):
            self._overfull.add(lane)
            self.over_limit |= {assignment.partition}

    # -- weighing, once a tick -------------------------------------------------------------------------

    def weigh(
        self, assignments: Collection[Assignment], lanes: Mapping[str, Lane], undecided: Sequence[Request], now: float
    ) -> None:
        """Find the overfull lanes and the partitions that feed them, and count what can go nowhere."""
        policy = self._policy
        busy = [lane for lane in lanes.values() if not lane.idle]
        states = {lane: lane.health.state(now) for lane in busy}
        able = {lane for lane, state in states.items() if state is LaneState.HEALTHY}
        self.unable, self.some_able = [lane for lane in busy if lane not in able], bool(able)
        active = {lane for lane in able if not lane.health.hesitates(now)}
        for lane in busy:
            lane.suspect = lane not in active or lane.health.unheard
        self._find_shared(assignments, lanes, busy, now)
        share = policy.active_records // (len(able) + 1)
        self._slots = max(1, policy.shared_calls // max(1, len(busy)))
        wanted = any(each.kept and self._brings_what_is_scarce(each, lanes, share // 2) for each in assignments)
        quarter = policy.active_records // 4
        self._enough = min(quarter, share // 2) if wanted else quarter
        self._inactive = sum(
            lane.load if lane not in active else max(0, lane.load - share) if wanted else 0 for lane in busy
        )
        crowded = self.records > policy.crowded * policy.records
        scarce = self.records > policy.scarce * policy.records
        overfull: set[Lane] = set()
        for lane in busy:
            held_to_share = crowded or (scarce and (lane in active or not lane.shares))
            if self._is_overfull(lane, states[lane], share if held_to_share else None, now):
                overfull.add(lane)
        self._overfull = overfull
        shared = {each.partition for each in assignments if each.shared}
        self._turned_away = {
            partition: lane
            for partition, lane in self._turned_away.items()
            if lane in overfull and not (lane.suspect and partition in shared)
        }
        feeders = {
            assignment.partition
            for lane in overfull
            for assignment in {part.request.assignment for part in lane.queue.parts()}
            if not (lane.suspect and assignment.shared) or (crowded and lane in able)
        }
        self.over_limit = frozenset(feeders | self._turned_away.keys())
        self._weigh_undecided(undecided)

    def _find_shared(
        self, assignments: Iterable[Assignment], lanes: Mapping[str, Lane], busy: Iterable[Lane], now: float
    ) -> None:
        """Find the partitions that feed several lanes, and those that feed only lanes that may be unable to call."""
        for lane in busy:
            lane.shares = False
        for assignment in assignments:
            recent = assignment.recent_lanes(now, self._policy.request_deadline)
            fed = [lanes[each] for each in recent if each is not None]
            assignment.shared = len(recent) > 1
            assignment.seeks_others = bool(fed) and all(lane.suspect and not lane.idle for lane in fed)
            assignment.unable = assignment.seeks_others and not any(
                lane.health.state(now) is LaneState.HEALTHY for lane in fed
            )
            if assignment.shared:
                for lane in fed:
                    lane.shares = True

    @staticmethod
    def _brings_what_is_scarce(assignment: Assignment, lanes: Mapping[str, Lane], least: int) -> bool:
        """Return whether a partition may feed a lane that holds less than ``least`` parts."""
        fed = [lanes[each] for each in assignment.fed_at if each is not None]
        return not fed or any(lane.load < least for lane in fed)

    def _is_overfull(self, lane: Lane, state: LaneState, share: int | None, now: float) -> bool:
        """Weigh one lane. A sick one gets all the room there is: its requests are answered in time, whatever comes."""
        ease = self._policy.overfull_ease if lane in self._overfull else 1.0
        lane.room = float("inf") if state is LaneState.SICK else self._room_in(lane, now, ease)
        depth = lane.queue.depth
        return depth > 0 and (lane.room < 0 or (share is not None and depth > ease * share))

    def _room_in(self, lane: Lane, now: float, ease: float = 1.0) -> float:
        return spare_products(lane, self._policy, ease, self._slots, now)

    def _weigh_undecided(self, undecided: Sequence[Request]) -> None:
        """Pause partitions that bring too many: anyone can send records that the registry is asked about in vain."""
        self._undecided = len(undecided)
        self._undecided_bytes = sum(request.record.size for request in undecided)
        self._too_many_undecided = self._exceeds_undecided()
        if self._too_many_undecided:
            self.over_limit |= {request.assignment.partition for request in undecided}

    def _exceeds_undecided(self) -> bool:
        policy = self._policy
        share = policy.undecided_share * (policy.undecided_ease if self._too_many_undecided else 1.0)
        return self._undecided > share * policy.records or self._undecided_bytes > share * policy.record_bytes

    # -- the fetch budget ------------------------------------------------------------------------------

    def fetch_budget(self, assignments: Iterable[Assignment]) -> int:
        """Return the number of records that may be fetched now beyond those in all backlogs.

        Backlogs of blocked partitions do not count, up to a bound on their bytes.
        """
        policy = self._policy
        backlog = backlog_bytes = blocked_bytes = 0
        for assignment in assignments:
            if self.is_blocked(assignment):
                blocked_bytes += assignment.backlog_bytes
            else:
                backlog += len(assignment.backlog)
                backlog_bytes += assignment.backlog_bytes
        backlog_bytes += max(0, blocked_bytes - int(policy.blocked_share * policy.record_bytes))
        if self.bytes + backlog_bytes >= policy.record_bytes:
            return 0
        active = policy.active_records - (self.records - self._inactive - self._undecided)
        return max(0, min(active, policy.records - self.records) - backlog)

    def has_room(self, assignment: Assignment, record: Record) -> bool:
        """Return whether a fetched record can be taken in: the global bounds, its window and its partition allow it."""
        policy = self._policy
        return (
            self.records < policy.records
            and self.bytes < policy.record_bytes
            and assignment.partition not in self.over_limit
            and (record.offset - assignment.progress.base < policy.window or not assignment.open)
        )

    def is_blocked(self, assignment: Assignment) -> bool:
        """Return whether a backlog cannot be taken in although there is room for others."""
        backlog = assignment.backlog
        return bool(backlog) and (
            assignment.partition in self.over_limit or not self._within_window(assignment, backlog[0].offset)
        )

    def to_give_back(self, assignments: Iterable[Assignment]) -> list[Assignment]:
        """Return the paused assignments whose backlogs are to be dropped, to be read again later."""
        blocked = [each for each in assignments if each.paused and each.backlog and self.is_blocked(each)]
        share = self._policy.blocked_share * self._policy.record_bytes
        return blocked if sum(each.backlog_bytes for each in blocked) > share else []

    def _within_window(self, assignment: Assignment, offset: int) -> bool:
        return offset - assignment.progress.base < self._policy.window or not assignment.open

    # -- pauses ----------------------------------------------------------------------------------------

    def pause_and_resume(
        self, assignments: Collection[Assignment], now: float, *, closed: bool, budget: int
    ) -> tuple[list[Assignment], list[Assignment]]:
        """Mark and return the assignments to pause and those to resume; ``closed``: nothing is taken in."""
        full = closed or self._is_full(budget, now)
        pause = [each for each in assignments if not each.paused and (full or self._above_high_watermark(each))]
        resume = [each for each in assignments if each.paused and not full and self._below_low_watermark(each)]
        for each in pause:
            each.paused = True
        for each in resume:
            each.paused = False
        return pause, resume

    def _is_full(self, budget: int, now: float) -> bool:
        """Return whether there has been no fetch budget for a while; then, until there is a good one again."""
        if budget >= self._enough or (budget > 0 and not self.full):
            self._full_since = None
        elif self._full_since is None:
            self._full_since = now
        self.full = self._full_since is not None and now - self._full_since > self._policy.full_patience
        return self.full

    def _above_high_watermark(self, assignment: Assignment) -> bool:
        if self._seeks_others(assignment) and len(assignment.backlog) < self._policy.seek_records:
            return False
        return (
            assignment.partition in self.over_limit
            or assignment.progress.used >= self._policy.window
            or self.is_blocked(assignment)
        )

    def _below_low_watermark(self, assignment: Assignment) -> bool:
        policy = self._policy
        if (
            self._seeks_others(assignment, policy.low_watermark)
            and assignment.given_back is None
            and len(assignment.backlog) < policy.seek_records // 2
        ):
            return True
        return (
            not assignment.backlog
            and (assignment.given_back is None or self._within_window(assignment, assignment.given_back))
            and assignment.progress.used <= policy.low_watermark * policy.window
            and assignment.partition not in self.over_limit
        )

    def _seeks_others(self, assignment: Assignment, share: float = 1.0) -> bool:
        """Return whether to fetch more than can be taken in. Beyond a window only if its lanes can be shed.

        ``share``: of the window, which counts as full from there on.
        """
        if assignment.unable:
            return True
        backlog, used = assignment.backlog, assignment.progress.used
        within = used < share * self._policy.window and (
            not backlog or self._within_window(assignment, backlog[0].offset)
        )
        return assignment.seeks_others and within
