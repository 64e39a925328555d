"""Lanes and calls: starts calls, takes their ends, gives up requests that cannot be answered in time."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from http import HTTPStatus
from typing import NamedTuple

from consumer.domain.calls import CallFailure, Receipt, Refusal, Unacknowledged
from consumer.domain.model import ClientSpecification
from consumer.domain.retry import Backoff
from consumer.engine.clock import Instant, PausableClock
from consumer.engine.commands import Command, StartCall
from consumer.engine.dispatch.back_pressure import BackPressure
from consumer.engine.dispatch.lanes import Call, Lane
from consumer.engine.dispatch.shedding import blocking_budget, blocking_window
from consumer.engine.dispatch.slots import RoundRobin
from consumer.engine.dispatch.verdicts import GiveUp, accept, fail, give_up, refused
from consumer.engine.events import CallFinished
from consumer.engine.policy import Policy
from consumer.engine.requests import Assignment, AssignmentPhase, Part, Request
from consumer.engine.status import LaneStatus


class Returned(NamedTuple):
    """A call that ended: its lane, its parts, and whether it is the first of its lane that Mirakl has answered."""

    lane: Lane
    parts: Sequence[Part]
    first_answer: bool


class Dispatch:
    """All lanes and the calls in flight.

    Starts calls, turns their ends into verdicts, and gives up requests that are too late. Used on the core's thread;
    commands are appended, never carried out here.
    """

    def __init__(
        self,
        policy: Policy,
        commands: list[Command],
        clock: PausableClock,
        back_pressure: BackPressure,
        backoff: Backoff,
        salt: str,
    ) -> None:
        self._policy = policy
        self._call_margin = policy.call_margin
        self._commands = commands
        self._clock = clock
        self._back_pressure = back_pressure
        self._backoff = backoff
        self._salt = salt
        self.lanes: dict[str, Lane] = {}
        self.call_lanes: dict[int, Lane] = {}
        """Call number -> lane, for the calls in flight."""
        self._call_number = 0
        self._turns = RoundRobin(policy)
        self._disordered: set[Lane] = set()
        """Lanes that got requests of other lanes."""
        self._own_trouble: tuple[str, float] | None = None
        """The resource of this process that a call lacked, with the remedy and the monotonic time in seconds."""

    # -- lanes -----------------------------------------------------------------------------------------

    def lane(self, specification: ClientSpecification, at: Instant) -> Lane:
        """Return the lane of a client specification, which begins with the first request for it."""
        lane = self.lanes.get(specification.id)
        if lane is None:
            lane = Lane(specification, at.mono, self._policy, self._backoff, self._salt)
            self.lanes[specification.id] = lane
        return lane

    def enqueue(self, request: Request, lane: Lane, at: Instant) -> None:
        """Add a request to its lane, or give it up if the lane cannot call before its deadline."""
        part = request.route(lane.specification.id)
        health, now = lane.health, at.mono
        in_time = health.can_call_now and request.read_at == now  # nearly always, on the hot path
        if not in_time and self._is_too_late(request, health.can_call_at(now), at):
            self.give_up(request, GiveUp.LANE_CANNOT_CALL, at)
            return
        if not lane.queue.waiting and lane.idle:
            self._back_pressure.begins(lane, now)
        lane.queue.append(part)
        if request.rerouted:
            self._disordered.add(lane)
        self._back_pressure.enqueued(lane, request)
        self._turns.add(lane)

    def update_lane(self, id_: str, specification: ClientSpecification, at: Instant) -> None:
        """Take a newer row of the directory; a lane whose row has changed may call again at once."""
        lane = self.lanes[id_]
        lane.update(specification, at.mono)
        self._turns.add(lane)

    def remove_lane(self, id_: str, assignments: Iterable[Assignment]) -> None:
        """Forget an idle lane whose client specification no longer exists."""
        del self.lanes[id_]
        for assignment in assignments:
            assignment.forget_lane(id_)

    def restore_order(self) -> None:
        """Sort lanes where requests that came from other lanes stand behind newer ones of their partition."""
        for lane in self._disordered:
            lane.queue.restore_order()
        self._disordered.clear()

    def forget_discarded(self) -> None:
        """Let go of the requests of ended assignments in all lanes; calls in flight go on."""
        for lane in self.lanes.values():
            lane.queue.drop_unsendable()

    # -- calls -----------------------------------------------------------------------------------------

    def start_calls(self, at: Instant) -> None:
        """Let lanes start one call each, in a round, as long as slots are free; one that gets none keeps its place."""
        while (lane := self._turns.next(len(self.call_lanes))) is not None:
            call = lane.next_call(self._call_number + 1, at.mono)
            if call is not None:
                self._start(lane, call)
                self._turns.add(lane)

    def call_finished(self, event: CallFinished, at: Instant) -> Returned:
        """Take the end of a call: decide its requests, or queue their parts again.

        Calls that have ended free a slot; the caller lets lanes start others.
        """
        outcome = event.outcome
        lane = self.call_lanes.pop(event.call_id)
        call = lane.call_returned(event.call_id, at.mono)
        self._turns.call_ended(lane)
        for part in call.parts:
            part.in_flight = False
        if isinstance(outcome, CallFailure):
            if outcome.ours is not None:
                self._own_trouble = outcome.ours, at.mono
            lane.failed(call, outcome, at.mono)
            self._give_up_late(lane, at)
            return Returned(lane, call.parts, first_answer=False)
        first = lane.health.unheard
        lane.health.answered(call.started_at, at.mono)
        self._answer(lane, call, outcome, at)
        return Returned(lane, call.parts, first)

    def give_up_returned(self, parts: Iterable[Part], at: Instant) -> None:
        """Give up parts that came back from a call and would need another one that cannot start in time."""
        for part in parts:
            request = part.request
            if request.open and not part.final and self._is_too_late(request, at.mono, at):
                self.give_up(request, GiveUp.DEADLINE, at, wait=True)

    def lacking(self, at: Instant) -> str | None:
        """Return what of our own a call has lacked of late, with the remedy."""
        if self._own_trouble is None or at.mono - self._own_trouble[1] >= self._policy.call_trouble:
            return None
        return self._own_trouble[0]

    def _start(self, lane: Lane, call: Call) -> None:
        self._call_number = call.call_id
        self.call_lanes[call.call_id] = lane
        for part in call.parts:
            part.in_flight = True
        self._commands.append(StartCall(call.call_id, lane.specification, call.products, call.parts))

    def _answer(self, lane: Lane, call: Call, outcome: Receipt | Refusal | Unacknowledged, at: Instant) -> None:
        if isinstance(outcome, Receipt):
            lane.accepted(call)
            accept(call.parts, lane.specification.id, (call.call_id, outcome.tracking_id), at)
            return
        if isinstance(outcome, Refusal) and outcome.blames_entries:
            if lane.refused(call, too_large=outcome.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE):
                return
        else:
            lane.rejected(call)
        problem = refused(outcome)
        for part in call.parts:
            fail(part, problem, at)

    # -- giving up -------------------------------------------------------------------------------------

    def give_up(self, request: Request, reason: GiveUp, at: Instant, *, wait: bool = False) -> None:
        """Do no more for a request: answer it as it stands, accepted in part, perhaps accepted, or not.

        ``wait``: the answer waits for its calls in flight; only those of its parts that need another call are given up.
        """
        lane = self.lanes.get(request.lane or "")
        give_up(request, reason, lane.health.trouble if lane is not None else None, at, wait=wait)

    def give_up_overdue(self, assignments: Iterable[Assignment], at: Instant) -> None:
        """Give up requests for which no call can start any more, and those whose calls take too long."""
        clock = self._clock.read(at.mono)
        for assignment in assignments:
            for request in assignment.open.values():
                left = request.deadline - clock
                if left > self._call_margin:
                    if request.restarted:
                        continue
                    break
                if request.open and request.lane is not None:
                    wait = left > self._policy.answer_margin
                    self.give_up(request, GiveUp.DEADLINE, at, wait=wait)

    def check_lanes(self, at: Instant) -> None:
        """Give up requests that became too late for lanes that cannot call, and let all other lanes try."""
        for lane in self.lanes.values():
            lane.queue.drop_unsendable_head()
            if not lane.idle:
                self._turns.add(lane)
                health = lane.health
                if any(self._is_too_late(part.request, health.can_call_at(at.mono), at) for part in lane.queue.heads()):
                    self._give_up_late(lane, at)

    def shed(self, assignments: Collection[Assignment], at: Instant) -> None:
        """Give up requests of lanes that cannot call where they hold up others.

        Not while the intake is closed by a problem of ours: those lanes hold up nobody then.
        """
        if self._clock.troubles:
            return
        policy, pressure = self._policy, self._back_pressure
        cannot_call = {lane.specification.id: lane.health.stalled(at.mono) for lane in pressure.unable}
        if not cannot_call:
            return
        for assignment in assignments:
            for request in blocking_window(assignment, cannot_call, policy, at.mono):
                self.give_up(request, GiveUp.HOLDS_UP_OTHERS, at)
        in_flight = pressure.records, pressure.bytes
        others_busy = pressure.some_able
        for request in blocking_budget(assignments, cannot_call, policy, in_flight, at.mono, others_busy=others_busy):
            self.give_up(request, GiveUp.HOLDS_UP_OTHERS, at)

    def _give_up_late(self, lane: Lane, at: Instant) -> None:
        """Answer at once what is too late for a lane that cannot call until a known time."""
        can_call_at = lane.health.can_call_at(at.mono)
        for request in dict.fromkeys(part.request for part in lane.queue.parts()):  # a large one has many
            if request.open and not request.in_flight and self._is_too_late(request, can_call_at, at):
                self.give_up(request, GiveUp.LANE_CANNOT_CALL, at)

    def _is_too_late(self, request: Request, can_call_at: float, at: Instant) -> bool:
        left = request.deadline - self._clock.read(at.mono) - self._call_margin
        return can_call_at - at.mono > left

    # -- questions -------------------------------------------------------------------------------------

    def awaits(self, assignment: Assignment, at: Instant, *, stopping: bool) -> bool:
        """Return whether requests of an assignment that is given up are in a call that is worth waiting for."""
        end = assignment.drain_until
        return any(
            part.request.assignment is assignment
            for lane in self.lanes.values()
            for call in lane.calls.values()
            if assignment.phase is AssignmentPhase.LOG_GONE
            or lane.health.is_due(call.started_at, end, at.mono, stopping=stopping)
            for part in call.parts
        )

    def can_start_calls(self, end: float, at: Instant) -> bool:
        """Return whether requests are queued whose answers are likely to come before ``end`` (monotonic seconds)."""
        return any(lane.queue.depth and lane.health.is_worth_calling(end, at.mono) for lane in self.lanes.values())

    def wake_at(self, at: Instant) -> Iterator[float | None]:
        """Yield, for each lane, when a call may become possible that is not possible now."""
        return (lane.wake_at(at.mono) for lane in self.lanes.values() if not lane.idle)

    def statuses(self, at: Instant) -> tuple[LaneStatus, ...]:
        """Return the lanes as health and metrics show them, in the order in which they came up."""
        return tuple(
            LaneStatus(
                id_,
                lane.specification.tenant,
                lane.queue.depth,
                len(lane.calls),
                lane.quota.concurrent_calls,
                lane.health.state(at.mono),
                lane.health.sick_until,
            )
            for id_, lane in self.lanes.items()
        )
