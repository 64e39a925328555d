"""The oracle's second half: what requests of others, operators and brokers may count on, beside correctness.

Isolation, prompt answers, fair slots, pauses with a reason, short revocations and stops, probes that come when they are
due, quotas, and no call while results cannot be published.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from consumer.adapters.kafka.policy import READING
from consumer.domain.calls import CallFailure
from consumer.domain.outcome import DeadLettered, Synchronized
from consumer.domain.retry import Backoff
from consumer.engine.clock import Instant
from consumer.engine.commands import Commit
from consumer.engine.dispatch.lanes import Lane
from consumer.engine.policy import Policy
from consumer.engine.requests import AssignmentPhase
from tests.simulation.loop import Process
from tests.simulation.mirakl import SentCall
from tests.simulation.scenario import POISON, SentRecord

if TYPE_CHECKING:
    from tests.simulation.replica import Payload, Replica
    from tests.simulation.world import World

SLACK_SECONDS = 0.35
"""By which something that a tick brings about may come late."""
MISMATCH_SECONDS = 6.0
"""For which a partition may be paused although the core takes it to be read: a call of the owner thread may hang."""
FAIR_ROUNDS = 3
"""A lane waits for its turn no longer than so many rounds of all others."""
SEARCH_CALLS = 6.7
"""Calls for each bad request, all others included, where a tenth of a steady flow of requests is bad."""
MANY_BAD = 60
"""Bad requests in a run from which on the calls that are made anyway no longer count."""
STEADY_CALLS = 2.4
"""Paces of a steady Mirakl that its two slowest calls take: one that was in flight, and the request's own."""
POLL_GAP_SECONDS = 6.0
"""``max.poll.interval.ms`` of this world: the longest time between two polls of an owner thread."""
REPORT_SECONDS = READING.unread_patience + POLL_GAP_SECONDS + 1.0
"""After which a partition that is not read is in the status: the owner thread may hang meanwhile."""
_BACKOFF, _POLICY = Backoff(), Policy()


@dataclass(slots=True)
class _LaneHistory:
    """What an observer of the calls of one process to one Mirakl knows."""

    failures: int = 0
    """Calls failed one after the other: of those that started before the last failure was known, only one counts."""
    counted_at: float = float("-inf")
    failed_at: float = float("-inf")
    """When the last one of them came back."""
    ordered_until: float = float("-inf")
    throttled_at: float = float("-inf")
    """When a 429 came back last."""
    throttled_quota: int | None = None
    """Calls per hour as the process knew them then."""
    calls_since: int = 0
    """Calls started since then."""
    turn_at: float | None = None
    """When a call started last, or something began to wait."""


class Promises:
    """All of these laws."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._lanes: dict[tuple[str, str], _LaneHistory] = {}
        self._unpublished_since: dict[str, float] = {}
        """Process -> since when outcomes have waited without a transaction of it that committed."""
        self._unread_since: dict[tuple[str, int], tuple[int, float]] = {}
        self._polled_at: dict[str, float] = {}
        self._assigned_at: dict[tuple[str, int], float] = {}
        """Process and epoch -> when the core learnt of the assignment."""
        plan = world.plan
        self._round_seconds = max((shop.pace for shop in plan.shops), default=0.0) * len(plan.shops) / plan.limits.calls
        """In which each shop gets one call, at the pace of the slowest."""

    def _broken(self, text: str) -> None:
        self._world.violated(text)

    def _lane(self, process: str, specification_id: str) -> _LaneHistory:
        return self._lanes.setdefault((process, specification_id), _LaneHistory())

    # -- outcomes --------------------------------------------------------------------------------------

    def published(self, record: SentRecord, payload: "Payload") -> None:
        """An outcome became visible."""
        world, verdict = self._world, payload.verdict
        waited = world.loop.now - record.timestamp / 1000
        promised = world.plan.promised.get(record.number)
        if promised is not None and waited > promised:
            self._broken(f"r{record.number} waited {waited:.1f} s for its outcome, although nothing holds it up")
        self._check_kept(record, payload, waited)
        well = not any(id_.startswith(POISON) for id_, _ in record.products)
        if world.plan.study == "poisoned" and well and not isinstance(verdict, Synchronized):
            self._broken(f"r{record.number} is well, and was answered {verdict}")

    def _check_kept(self, record: SentRecord, payload: "Payload", waited: float) -> None:
        """A healthy lane is never silent on a kept partition because other partitions are given up."""
        plan, shop = self._world.plan, self._world.mirakl.shops.get(record.given or "")
        if plan.promised_kept is None or shop is None or not shop.always_well:
            return
        epoch = payload.request.assignment.epoch
        kept = self._assigned_at[payload.process.name, epoch] < record.timestamp / 1000
        if kept and waited > plan.promised_kept + STEADY_CALLS * shop.pace:
            self._broken(f"r{record.number} waited {waited:.1f} s for its outcome, although its partition was kept")

    def done(self, calls: int) -> None:
        """Everything is answered: a search for bad entries has cost no more than it may."""
        plan = self._world.plan
        bad = sum(any(id_.startswith(POISON) for id_, _ in record.products) for record in plan.records)
        if plan.study == "poisoned" and bad >= MANY_BAD and calls > SEARCH_CALLS * bad:
            self._broken(f"{calls} calls for {bad} bad requests")

    # -- assignments -----------------------------------------------------------------------------------

    def assigned(self, replica: "Replica", epoch: int) -> None:
        """A core is about to learn of an assignment."""
        self._assigned_at[replica.process.name, epoch] = self._world.loop.now

    def _check_revocation(self, replica: "Replica", now: float) -> None:
        """Partitions are given up once the answers that were due are in, whatever other calls are still in flight."""
        core = replica.core
        revoking = [each for each in core._partitions.assignments.values() if not each.kept]
        to_publish = core._partitions.outbox.in_flight is not None or any(each.decided for each in revoking)
        late = [each.partition for each in revoking if now > each.drain_until]
        if late and not to_publish:
            self._broken(f"{replica.process.name}: the revocation of {late} waits for calls beyond its patience")

    def _check_stop(self, replica: "Replica", now: float) -> None:
        """A stop waits for answers no longer than its patience, whatever is queued or in flight."""
        partitions = replica.core._partitions
        if not partitions.stopping or partitions._stopped or now <= partitions.stop_until:
            return
        busy = partitions.outbox.in_flight is not None or any(
            each.decided or each.phase is AssignmentPhase.LOG_GONE for each in partitions.assignments.values()
        )
        if not busy:
            self._broken(f"{replica.process.name}: the stop waits for calls beyond its patience")

    # -- transactions ----------------------------------------------------------------------------------

    def cut(self, replica: "Replica", commit: Commit) -> None:
        """A core wants outcomes published; dead letters that cannot be are no reason against a call."""
        if any(not isinstance(each.verdict, DeadLettered) for part in commit.partitions for each in part.outcomes):
            self._unpublished_since.setdefault(replica.process.name, self._world.loop.now)

    def committed(self, process: Process) -> None:
        """A process has committed."""
        self._unpublished_since.pop(process.name, None)

    def ended(self, replica: "Replica") -> None:
        """A core has learnt how its transaction ended; outcomes that it dropped wait no more."""
        if (
            not any(each.decided for each in replica.core._partitions.assignments.values())
            and replica.core._partitions.outbox.in_flight is None
        ):
            self._unpublished_since.pop(replica.process.name, None)

    # -- calls -----------------------------------------------------------------------------------------

    def call_starts(self, replica: "Replica", call: SentCall) -> None:
        """Before a call leaves a process."""
        now, name = self._world.loop.now, replica.process.name
        what = f"call {call.number} of {name} to {call.specification.name}"
        if now > replica.core._partitions.stop_until:
            self._broken(f"{what} starts although the stop's patience is over")
        since = self._unpublished_since.get(name)
        if since is not None and now - since > _POLICY.broker_patience + SLACK_SECONDS:
            self._broken(f"{what}: results have waited for {now - since:.1f} s for a transaction that commits")
        lane = self._lane(name, call.specification.id)
        per_hour = call.specification.calls_per_hour
        quotas = {  # a changed quota is a fresh chance, also where it was changed before the 429 and is learnt after it
            each.specifications[call.specification.id].calls_per_hour
            for each in self._world.database.between(lane.throttled_at, now)
            if call.specification.id in each.specifications
        }
        spent = per_hour is not None and quotas | {lane.throttled_quota} == {per_hour}
        if spent and lane.calls_since + 1 > per_hour / 3600 * (now - lane.throttled_at) + 0.01:  # type: ignore[operator]
            self._broken(f"{what}: {now - lane.throttled_at:.2f} s after a 429, which spends the whole quota")
        lane.calls_since += 1
        lane.turn_at = now

    def call_finished(self, replica: "Replica", call: SentCall) -> None:
        """A call came back."""
        now, outcome = self._world.loop.now, call.outcome
        lane = self._lane(replica.process.name, call.specification.id)
        if not isinstance(outcome, CallFailure):
            if now >= lane.ordered_until:
                lane.failures = 0
            return
        if outcome.ours is not None:  # which says nothing about Mirakl, and is tried again soon
            lane.ordered_until = max(lane.ordered_until, now + _POLICY.own_trouble_retry)
            return
        if call.started >= lane.counted_at or not lane.failures:
            lane.failures += 1
            lane.counted_at = now
        lane.failed_at = now
        if outcome.status == 429:
            lane.throttled_at, lane.calls_since = now, 0
            known = replica.core._dispatch.lanes[call.specification.id].specification
            lane.throttled_quota = known.calls_per_hour
        if outcome.retry_after is not None:
            lane.ordered_until = max(lane.ordered_until, now + min(outcome.retry_after, _BACKOFF.longest_ordered))

    # -- the core --------------------------------------------------------------------------------------

    def ticked(self, replica: "Replica", at: Instant) -> None:
        """After each tick."""
        for lane in replica.core._dispatch.lanes.values():
            self._check_probe(replica, lane)
            if self._world.plan.study == "crowd":
                self._check_turn(replica, lane, at.mono)
        self._check_pauses(replica, at.mono)
        self._check_revocation(replica, at.mono)
        self._check_stop(replica, at.mono)
        self._check_report(replica, at)

    def _check_probe(self, replica: "Replica", lane: Lane) -> None:
        """A sick Mirakl is asked again in time: pauses grow with failures in a row, and those alone."""
        if lane.health.sick_until is None or replica.disturbed:
            return
        seen = self._lane(replica.process.name, lane.specification.id)
        pause = _BACKOFF.delay(max(1, seen.failures), 1.0)
        latest = max(seen.failed_at + pause, seen.ordered_until)
        if lane.health.sick_until > latest + SLACK_SECONDS:
            self._broken(
                f"{replica.process.name}: {lane.specification.name} rests until {lane.health.sick_until:.2f} after "
                f"{seen.failures} failures in a row, the last at {seen.failed_at:.2f}"
            )

    def _check_turn(self, replica: "Replica", lane: Lane, now: float) -> None:
        """With more lanes than slots, each gets a call in turn."""
        history = self._lane(replica.process.name, lane.specification.id)
        if lane.calls or not lane.queue.waiting or history.turn_at is None:
            history.turn_at = now
            return
        round_seconds = self._round_seconds
        if now - history.turn_at > FAIR_ROUNDS * round_seconds + SLACK_SECONDS:
            self._broken(
                f"{replica.process.name}: {lane.specification.name} has waited {now - history.turn_at:.1f} s for a "
                f"slot, a round takes {round_seconds:.1f} s"
            )

    # -- pauses and polls ------------------------------------------------------------------------------

    def paused(self, replica: "Replica", partitions: Sequence[int]) -> None:
        """A core wants partitions paused: one of its reasons must hold."""
        core, limits = replica.core, replica.core.policy
        sated = core._pressure.full or core.fetch_budget.records < limits.active_records // 4
        if core._clock.troubles or core._partitions.stopping or sated:
            return
        for partition in partitions:
            each = core._partitions.assignments.get(partition)
            if each is None:  # it was drained in the same event
                continue
            first = each.backlog[0].offset if each.backlog else each.given_back
            beyond = first is not None and first - each.progress.base >= limits.window
            if partition not in core._pressure.over_limit and each.progress.used < limits.window and not beyond:
                self._broken(f"{replica.process.name}: {partition} is paused without a reason")

    def _check_pauses(self, replica: "Replica", now: float) -> None:
        """What the core takes to be read is read, but for the time in which a command travels."""
        consumer = replica.source._consumer
        for each in replica.core._partitions.assignments.values():
            place = replica.process.name, each.epoch
            ours = replica.source._group.epochs.get(each.partition) == each.epoch
            stands = not consumer.fetches(each.partition)
            if not stands or not ours or replica.disturbed or each.paused or not each.kept:
                self._unread_since.pop(place, None)
                continue
            position, since = self._unread_since.setdefault(place, (each.progress.position, now))
            if position != each.progress.position:  # it was read between two looks
                self._unread_since[place] = each.progress.position, now
            elif now - since > MISMATCH_SECONDS:
                self._broken(f"{replica.process.name}: partition {each.partition} is not read, and no pause is wanted")

    def _check_report(self, replica: "Replica", at: Instant) -> None:
        """What is not read for long is said where an operator looks."""
        unread = replica.source._positions.unread.values()
        if replica.disturbed or all(at.mono - each.since <= REPORT_SECONDS for each in unread):
            return
        if not replica.core.status(at).unread_partitions:
            self._broken(f"{replica.process.name}: a partition has not been read for long, and nothing says so")

    def closed(self, replica: "Replica") -> None:
        """A process ends: its partitions must be free for others by then."""
        calm = not self._world.broker.troubled(3.0) and not self._world.plan.network_trouble
        if calm and not replica.disturbed and not replica.source._consumer._left:
            self._broken(f"{replica.process.name} ends, and has not left the group")

    def polled(self, replica: "Replica") -> None:
        """An owner thread polls."""
        now, name = self._world.loop.now, replica.process.name
        before = self._polled_at.get(name, now)
        if now - before > POLL_GAP_SECONDS and not replica.disturbed:
            self._broken(f"{name}: {now - before:.1f} s between two polls")
        self._polled_at[name] = now
