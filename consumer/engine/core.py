"""The engine's core: events in, commands out, on one thread, without a clock, a wait or a thread of its own.

``handle`` takes one event. It changes the state and leaves commands in ``commands``, which the driver takes and
carries out. Two invariants hold between events:

* A record that was taken in stands in its assignment's ``open`` until a transaction with its outcome has
  committed, and nowhere but there does ``Progress`` learn that it is finished.
* A request with a verdict stands in its assignment's ``finished`` or in the transaction that is out.

A request whose assignment ended is dropped wherever it stands; nobody publishes it.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from consumer.domain.calls import CallFailure, Receipt, Refusal, Unacknowledged
from consumer.domain.model import ClientSpecification
from consumer.domain.outcome import Synchronized, Verdict
from consumer.domain.progress import CommitPoint, Progress, ProgressMapIgnoredError, decode_map
from consumer.domain.retry import Backoff
from consumer.engine.admission.decisions import AwaitDirectory, Behind, Decision, Intake, millis
from consumer.engine.admission.headers import read_headers
from consumer.engine.admission.lookups import SchemaLookups
from consumer.engine.admission.precedence import SEARCH_DISCOUNT, Precedence
from consumer.engine.clock import Instant, Standstill
from consumer.engine.commands import (
    Command,
    ConfirmDirectory,
    Drained,
    LookUpSchema,
    PartitionCommit,
    Pause,
    Reload,
    Reread,
    Resume,
    StartCall,
    Stopped,
)
from consumer.engine.counters import Tally
from consumer.engine.dispatch.back_pressure import Flow
from consumer.engine.dispatch.lanes import Call, Lane
from consumer.engine.dispatch.shedding import in_the_budgets_way, in_the_windows_way
from consumer.engine.dispatch.slots import Turns
from consumer.engine.dispatch.verdicts import given_up, no_longer, refused, sum_up
from consumer.engine.events import (
    Assigned,
    BrokerTrouble,
    CallFinished,
    DirectoryConfirmed,
    DirectoryUnavailable,
    Event,
    Fetched,
    MembershipChanged,
    OffsetReset,
    PartitionTroubles,
    PublishingTrouble,
    Revoking,
    SchemaFound,
    SchemaMissing,
    SchemaUnavailable,
    StopRequested,
    ThreadFailed,
    Tick,
    TransactionFinished,
    TransactionResult,
    TransactionTrouble,
    Unassigned,
)
from consumer.engine.partitions.outbox import Outbox, Outlet
from consumer.engine.policy import Limits
from consumer.engine.ports import Decoder, SchemaNeeded
from consumer.engine.requests import Assignment, Part, ReadRange, Request
from consumer.engine.status import EngineStatus, FetchBudget, LaneState, LaneStatus

CALL_TROUBLE_SECONDS = 5.0
"""A call that failed for lack of our own resources closes the intake for so long: five probes of its lane."""
DIRECTORY_INTERVAL_SECONDS = 1.0
DIRECTORY_MIN_GAP_SECONDS = 0.02
"""Between two questions to the database, however many wait for an answer."""
DIRECTORY_PATIENCE_SECONDS = 5.0
"""The promise: a change counts within this time. An older snapshot closes the intake."""
EVENT_PAUSE_SECONDS = 0.001
REREAD_SECONDS, REREAD_MOST_SECONDS = 2.0, 60.0
"""After a range that left a hole: until the missing part is asked for again, at first and at most. A fetch from a slow
broker must have time to come."""
HOLE_PATIENCE_SECONDS = 20.0
"""A partition that has not been read for longer, since all that is delivered leaves a hole, is a trouble."""
TROUBLES_TOLD = 3
"""Of partitions that are not read."""
ANSWER_MARGIN_SECONDS = 0.5
"""A request in a call that is out is answered this long before its deadline."""
LOOK_AHEAD_RECORDS = 1000
"""Records per tick that are read before they are taken in, each once, to see whom a full lane or window holds up."""

_NOTHING_COMMITS = "no transaction has committed for 5 s although results wait: look at the Kafka brokers"
_UNKNOWN = TransactionTrouble("transactions end without an answer: look at the Kafka brokers")


class Core:
    """The state machine. ``salt`` makes the jitter of replicas differ; ``precedence`` makes that of an assignment."""

    def __init__(
        self,
        decoder: Decoder,
        limits: Limits,
        salt: str = "",
        backoff: Backoff | None = None,
        precedence: Callable[[], Precedence] = Precedence,
    ) -> None:
        self.commands: list[Command] = []
        self._precedence = precedence
        self._limits = limits
        self._call_margin = limits.call_margin
        self._salt = salt
        self._backoff = backoff or Backoff()
        self._intake = Intake(decoder, limits.max_products)
        self._outbox = Outbox()
        self._assignments: dict[int, Assignment] = {}
        self._lanes: dict[str, Lane] = {}
        self._turns = Turns(limits)
        self._call_lanes: dict[int, Lane] = {}
        self._call_number = 0
        self._lookups = SchemaLookups()
        self._undecided: deque[Request] = deque()
        """Taken in, held up by a question that is answered now."""
        self._behind = False
        """The last event left something undecided that the next one has to go on with."""
        self._unconfirmed: list[Request] = []
        self._disordered: set[Lane] = set()
        """Lanes that got requests of other lanes."""
        self._asked_directory_at: float | None = None
        self._ask_directory_from = float("-inf")
        self._directory_trouble = "the database has not been read yet"
        self._standstill = Standstill()
        self._joined = False
        self._source_trouble: str | None = None
        self._publishing_trouble: str | None = None
        self._call_trouble: tuple[str, float] | None = None
        """What of our own was lacking for a call, with the remedy, and when last (monotonic seconds)."""
        self._partition_troubles: Mapping[int, str] = {}
        self._stopping = False
        self._stopped = False
        self._flow = Flow(limits)
        self._tally = Tally()
        self._received_records = self._received_bytes = 0
        """Of all ``Fetched`` events."""
        self._handlers: dict[type[Event], Callable[[Any, Instant], None]] = {
            MembershipChanged: self._membership_changed,
            BrokerTrouble: self._broker_trouble,
            PartitionTroubles: self._partitions_troubled,
            Assigned: self._assigned,
            OffsetReset: self._offset_reset,
            Fetched: self._fetched,
            Revoking: self._revoking,
            Unassigned: self._unassigned,
            PublishingTrouble: self._publishing_troubled,
            TransactionFinished: self._transaction_finished,
            CallFinished: self._call_finished,
            DirectoryConfirmed: self._directory_confirmed,
            DirectoryUnavailable: self._directory_unavailable,
            SchemaFound: self._schema_found,
            SchemaMissing: self._schema_missing,
            SchemaUnavailable: self._schema_unavailable,
            Tick: self._tick,
            StopRequested: self._stop_requested,
            ThreadFailed: self._thread_failed,
        }

    # == events ========================================================================================

    def handle(self, event: Event, at: Instant) -> None:
        """Take one event in; what follows from it is in ``commands`` afterwards."""
        self._handlers[type(event)](event, at)
        if type(event) is not OffsetReset:  # which is only counted
            self._settle(at)

    def _membership_changed(self, event: MembershipChanged, _at: Instant) -> None:
        self._joined = event.member

    def _broker_trouble(self, event: BrokerTrouble, _at: Instant) -> None:
        self._source_trouble = event.message

    def _publishing_troubled(self, event: PublishingTrouble, _at: Instant) -> None:
        self._publishing_trouble = event.message

    def _partitions_troubled(self, event: PartitionTroubles, _at: Instant) -> None:
        self._partition_troubles = event.messages

    def _assigned(self, event: Assigned, _at: Instant) -> None:
        partition, offset = event.partition, event.offset
        self._end([partition])
        try:
            bitmap = decode_map(offset, event.metadata or "")
        except ProgressMapIgnoredError:
            self._tally.maps_ignored += 1
            bitmap = b""
        progress = Progress(offset, bitmap, event.topic_id)
        assignment = Assignment(partition, event.epoch, progress, precedence=self._precedence())
        assignment.committed_offset = offset
        self._assignments[partition] = assignment
        self.commands.append(Resume([partition]))  # a pause of its former assignment may still be on its way

    def _offset_reset(self, _event: OffsetReset, _at: Instant) -> None:
        self._tally.resets += 1

    def _fetched(self, event: Fetched, at: Instant) -> None:
        assignments = {}
        for partition, read in event.ranges.items():
            assignment = self._assignments.get(partition)
            if assignment is not None and self._continues(assignment, read, at):
                assignments[partition] = assignment
        size = 0
        for record in event.records:
            size += record.size
            assignment = assignments.get(record.partition)
            if assignment is not None:
                assignment.fetched(record)
        self._received_records += len(event.records)
        self._received_bytes += size

    def _continues(self, assignment: Assignment, read: ReadRange, at: Instant) -> bool:
        """Tell whether a range may be taken: it is of this assignment, and leaves nothing out."""
        if assignment.epoch != read.epoch or assignment.revoking or self._stopping:
            return False
        if assignment.given_back is not None:  # fetched before the pause: read again later as well
            return False
        if assignment.progress.extend(read.begin, read.end):
            assignment.holes = 0
            return True
        self._tally.holes += 1
        if not assignment.holes:
            assignment.holes, assignment.hole_since = 1, at.mono
            self._reread(assignment, at)
        return False

    def _reread(self, assignment: Assignment, at: Instant) -> None:
        """Have the missing part read; asked again, ever less often, until a range continues what was read before."""
        delay = min(REREAD_SECONDS * 2 ** min(assignment.holes - 1, 8), REREAD_MOST_SECONDS)
        assignment.holes += 1
        assignment.reread_at = at.mono + delay
        self.commands.append(Reread(assignment.partition, assignment.epoch, assignment.progress.read_to))

    def _revoking(self, event: Revoking, at: Instant) -> None:
        unknown = []
        for partition in event.partitions:
            assignment = self._assignments.get(partition)
            if assignment is not None:
                self._stop_taking(assignment)
                if event.patience is None:
                    assignment.ends_for_good = True
                else:
                    assignment.drain_until = at.mono + event.patience
            else:
                unknown.append(partition)
        if unknown:  # to be read anew, which has not happened yet
            self.commands.append(Drained(unknown))

    def _unassigned(self, event: Unassigned, _at: Instant) -> None:
        self._end(event.partitions)

    def _call_finished(self, event: CallFinished, at: Instant) -> None:
        outcome = event.outcome
        lane = self._call_lanes.pop(event.call_id)
        call = lane.finished(event.call_id, at.mono)
        if isinstance(outcome, CallFailure) and outcome.ours is not None:
            self._call_trouble = outcome.ours, at.mono
        self._turns.call_ended(lane)
        for part in call.parts:
            part.out = False
            part.request.calls_out -= 1
        if isinstance(outcome, CallFailure):
            lane.failed(call, outcome, at.mono)
            self._answer_hopeless(lane, at)
        else:
            first = lane.unheard
            lane.answered(call, at.mono)
            self._answer_call(lane, call, outcome, at)
            if first:  # only now it is known how much the lane may hold
                self._weigh(at)
        self._answer_late(call, at)
        self._reroute_lane(lane, at)

    def _transaction_finished(self, event: TransactionFinished, at: Instant) -> None:
        commit, result = event.commit, event.result
        if result is TransactionResult.COMMITTED:
            self._tally.commits += 1
            self._outbox.committed(at)
        else:
            self._tally.aborts += 1
            self._outbox.aborted(at, event.trouble or (_UNKNOWN if result is TransactionResult.UNKNOWN else None))
        for part in commit.partitions:
            if result is TransactionResult.COMMITTED and part.partition in event.kept:
                self._finish(part)
            else:
                self._take_back(part, last=self._outbox.failed_alone(commit))
        if result is TransactionResult.UNKNOWN:
            self._reload(commit.partitions)

    def _directory_confirmed(self, event: DirectoryConfirmed, at: Instant) -> None:
        self._asked_directory_at = None
        self._ask_directory_from = at.mono + DIRECTORY_MIN_GAP_SECONDS
        self._intake.confirmed_at = event.asked_at
        self._directory_trouble = ""
        if event.directory is not None:
            self._intake.directory = event.directory
            self._reroute(at)
        if self._intake.directory.api_keys:
            self._undecided.extendleft(reversed(self._unconfirmed))  # older than what is left there
            self._unconfirmed.clear()
        else:  # no answer, but a trouble of ours
            self._ask_directory_from = at.mono + DIRECTORY_INTERVAL_SECONDS

    def _directory_unavailable(self, event: DirectoryUnavailable, at: Instant) -> None:
        self._asked_directory_at = None
        self._ask_directory_from = at.mono + DIRECTORY_INTERVAL_SECONDS
        self._directory_trouble = event.message

    def _schema_found(self, event: SchemaFound, at: Instant) -> None:
        for request in self._lookups.found(event.reference):
            request.deadline = self._clock(at) + self._limits.request_deadline
            request.restarted = True
            # where the intake is closed, the snapshot may be too old
            (self._unconfirmed if self._standstill.troubles else self._undecided).append(request)

    def _schema_missing(self, event: SchemaMissing, at: Instant) -> None:
        reference = event.reference
        message = f"the schema registry does not know {reference}: register the schema, then send the request again"
        for request in self._lookups.missing(reference, at.mono):
            self._conclude(request, self._intake.no_schema(request, message, at))
            self._no_longer_undecided(request, at)

    def _schema_unavailable(self, event: SchemaUnavailable, at: Instant) -> None:
        self._lookups.failed(event.reference, event.message, at.mono)

    def _tick(self, _event: Tick, at: Instant) -> None:
        for lane in self._lanes.values():
            lane.drop_withdrawn_head()
            if not lane.idle:
                self._turns.add(lane)
                if any(self._hopeless(part.request, lane.can_call_at(at.mono), at) for part in lane.heads()):
                    self._answer_hopeless(lane, at)
        for assignment in self._assignments.values():
            if assignment.holes and assignment.reread_at <= at.mono and not (assignment.revoking or self._stopping):
                self._reread(assignment, at)
        self._answer_overdue(at)
        self._look_ahead(at)
        self._weigh(at)
        self._shed(at)

    def _stop_requested(self, _event: StopRequested, _at: Instant) -> None:
        self._stopping = True
        for assignment in self._assignments.values():
            assignment.forget_waiting()

    def _thread_failed(self, event: ThreadFailed, _at: Instant) -> None:
        raise event.problem

    # == for the shell =================================================================================

    @property
    def fetch_budget(self) -> FetchBudget:
        """How much the consumer's thread may fetch now: nothing while the intake is closed or the service stops."""
        closed = self._stopping or self._standstill.troubles
        records = 0 if closed else self._flow.appetite(self._assignments.values())
        return FetchBudget(records, self._received_records, self._received_bytes)

    def wake_at(self, at: Instant) -> float | None:
        """Monotonic seconds at which something is due that no event will announce."""
        times = [lane.wake_at(at.mono) for lane in self._lanes.values() if not lane.idle]
        if self._outbox.out is None and any(assignment.finished for assignment in self._assignments.values()):
            times.append(self._outbox.due_at)
        if self._unconfirmed:
            times.append(self._ask_directory_from)
        if self._behind:
            times.append(at.mono + EVENT_PAUSE_SECONDS)
        return min((time for time in times if time is not None and time > at.mono), default=None)

    def status(self, at: Instant) -> EngineStatus:
        """Tell of the present moment."""
        oldest = min(
            (next(iter(each.open.values())).read_at for each in self._assignments.values() if each.open),
            default=at.mono,
        )
        unread = [*self._partition_troubles.values(), *self._holes(at)]
        return EngineStatus(
            taken_at=at.mono,
            joined=self._joined,
            stopping=self._stopping,
            troubles=(
                *self._standstill.troubles,
                *self._lookups.troubles(),
                *self._held_dead_letters(at),
                *unread[:TROUBLES_TOLD],
            ),
            intake_closed=dict(self._standstill.closings),
            oldest_unanswered_seconds=at.mono - oldest,
            in_flight_records=self._flow.records,
            in_flight_bytes=self._flow.bytes,
            window_used={
                each.partition: each.progress.used / self._limits.window for each in self._assignments.values()
            },
            paused_partitions=sum(each.paused for each in self._assignments.values()),
            pauses=self._tally.pauses,
            lanes=tuple(
                LaneStatus(
                    id_, lane.specification.tenant, lane.depth, len(lane.calls), lane.state(at.mono), lane.sick_until
                )
                for id_, lane in self._lanes.items()
            ),
            answered=dict(self._tally.answered),
            dead_letters=dict(self._tally.dead_letters),
            discarded=self._tally.discarded,
            progress_maps_ignored=self._tally.maps_ignored,
            offset_resets=self._tally.resets,
            unread_partitions=len(unread),
            holes=self._tally.holes,
            commits=self._tally.commits,
            aborts=self._tally.aborts,
            publishing_failures={outlet.value: health.failures for outlet, health in self._outbox.health.items()},
            progress_maps_cut=self._outbox.maps_cut,
            last_commit_at=self._outbox.last_commit_at,
        )

    # == after each event ==============================================================================

    def _settle(self, at: Instant) -> None:
        """Bring everything that follows from the new state under way."""
        self._standstill.watch(tuple(self._troubles(at)), at.mono)
        self._take_in(at)
        self._ask_directory(at)
        self.commands += [LookUpSchema(reference) for reference in self._lookups.due(at.mono)]
        self._restore_order()
        self._start_calls(at)
        self._cut_transaction(at)
        self._pause_and_resume(at)
        self._report_drained(at)

    def _troubles(self, at: Instant) -> Iterable[tuple[str, str]]:
        if at.mono - self._intake.confirmed_at > DIRECTORY_PATIENCE_SECONDS:
            yield "database", self._directory_trouble or "the database has not answered for 5 s"
        elif not self._intake.directory.api_keys:
            yield "no-api-key", "the database holds no API key: issue one with `mirakl-resync-consumer api-keys issue`"
        if self._source_trouble is not None:
            yield "broker", self._source_trouble
        if (message := self._lacking_for_calls(at)) is not None:
            yield "calls", message
        if self._publishing_trouble is not None:
            yield "publishing", self._publishing_trouble
        elif self._outbox.stuck(at.mono):
            message = self._outbox.health[Outlet.RESULTS].message
            yield ("publishing", message) if message else ("broker", _NOTHING_COMMITS)

    def _lacking_for_calls(self, at: Instant) -> str | None:
        """Return what of our own was lacking for a call of late, with the remedy."""
        if self._call_trouble is None or at.mono - self._call_trouble[1] >= CALL_TROUBLE_SECONDS:
            return None
        return self._call_trouble[0]

    def _held_dead_letters(self, at: Instant) -> Iterable[str]:
        """Yield why dead letters cannot be published, which holds up nothing else until their windows are full."""
        health = self._outbox.health[Outlet.DEAD_LETTERS]
        if health.troubled(at.mono):
            yield f"dead letters wait: {health.message}"

    def _holes(self, at: Instant) -> Iterable[str]:
        """Tell of the partitions where what is read leaves a hole again and again."""
        for each in self._assignments.values():
            if each.holes and at.mono - each.hole_since > HOLE_PATIENCE_SECONDS:
                yield (
                    f"Partition {each.partition} cannot be read at offset {each.progress.read_to}; the log names the "
                    "error. Look at the partition's leader: its log may be damaged."
                )

    def _clock(self, at: Instant) -> float:
        """The engine's clock, which deadlines are measured by."""
        return self._standstill.clock(at.mono)

    def _ask_directory(self, at: Instant) -> None:
        if self._asked_directory_at is not None or at.mono < self._ask_directory_from:
            return
        if self._unconfirmed or at.mono - self._intake.confirmed_at >= DIRECTORY_INTERVAL_SECONDS:
            self._asked_directory_at = at.mono
            self.commands.append(ConfirmDirectory(at.mono))

    # -- taking in -------------------------------------------------------------------------------------

    def _take_in(self, at: Instant) -> None:
        """Decide about what was held up, then about fetched records, as far as the bounds and one event allow."""
        self._behind = False
        if self._standstill.troubles:
            return
        left = self._decide_held_up(at, self._limits.event_bytes)
        if self._undecided:  # which came before all that is not taken in yet
            self._behind = True
            return
        deadline = self._clock(at) + self._limits.request_deadline
        for assignment in () if self._stopping else list(self._assignments.values()):
            before = assignment.progress.position
            left = self._take_from(assignment, at, deadline, left)
            filled = assignment.partition in self._flow.overfed and assignment.progress.position > before
            if self._behind or filled:  # another partition is the first next time
                self._assignments[assignment.partition] = self._assignments.pop(assignment.partition)
            if self._behind:
                return

    def _decide_held_up(self, at: Instant, left: int) -> int:
        while self._undecided and left > 0:
            request = self._undecided.popleft()
            left -= request.record.size
            if not request.dropped:
                precedence = request.assignment.precedence
                searched = precedence.searched
                self._follow(self._in_order(self._intake.decide(request, at), request), request, at)
                left -= (precedence.searched - searched) // SEARCH_DISCOUNT
        return left

    def _take_from(self, assignment: Assignment, at: Instant, deadline: float, left: int) -> int:
        """Take records of one partition in; gives what is left of the bytes that one event may decide about."""
        if assignment.revoking:  # what waited was left to the next owner
            return left
        waiting, precedence = assignment.waiting, assignment.precedence
        while waiting and self._flow.has_room(assignment, waiting[0]):
            if left <= 0:
                self._behind = True
                return left
            record = assignment.next_waiting()
            left -= record.size
            if assignment.progress.receive(record.offset):
                request = Request(record, assignment, read_headers(record.headers), at.mono, deadline)
                searched = precedence.searched
                if not self._take(request, at):
                    assignment.turned_back(record)
                if precedence.searched > searched:
                    left -= (precedence.searched - searched) // SEARCH_DISCOUNT
        if not waiting:
            assignment.progress.advance()
        return left

    def _take(self, request: Request, at: Instant) -> bool:
        """Take a request in; ``False`` where its lane is full already, which shows only now."""
        record = request.record
        decision = self._in_order(self._intake.decide(request, at), request)
        if isinstance(decision, ClientSpecification) and not self._flow.admits(self._lane(decision, at), request):
            return False
        request.assignment.open[record.offset] = request
        self._flow.take_in(record)
        self._follow(decision, request, at)
        return True

    def _in_order(self, decision: Decision, request: Request) -> Decision | Behind:
        """Let a request wait behind an older one that is undecided and may name one of its ids."""
        precedence = request.assignment.precedence
        if precedence.undecided and isinstance(decision, ClientSpecification):
            older = precedence.conflict(request)
            if older is not None:
                return Behind(older)
        return decision

    def _look_ahead(self, at: Instant) -> None:
        """Read records that wait to be taken in, to see which lanes their partition feeds."""
        left, left_bytes = LOOK_AHEAD_RECORDS, self._limits.event_bytes
        for assignment in self._assignments.values():
            for record in assignment.waiting:
                if record.offset <= assignment.looked_at:
                    continue
                if not left or left_bytes <= 0 or self._standstill.troubles:
                    return
                left -= 1
                left_bytes -= record.size
                assignment.looked_at = record.offset
                request = Request(record, assignment, read_headers(record.headers), at.mono, at.mono)
                decision = self._intake.decide(request, at)
                if not isinstance(decision, AwaitDirectory | SchemaNeeded):
                    lane = self._lane(decision, at) if isinstance(decision, ClientSpecification) else None
                    assignment.lanes.add(lane)

    def _weigh(self, at: Instant) -> None:
        held = [*self._lookups.waiting(), *self._unconfirmed, *self._undecided]
        for assignment in self._assignments.values():
            held += assignment.precedence.behind()
        self._flow.weigh(self._assignments.values(), self._lanes.values(), held, at.mono)

    def _follow(self, decision: Decision | Behind, request: Request, at: Instant) -> None:
        precedence = request.assignment.precedence
        if isinstance(decision, ClientSpecification):
            self._enqueue(request, decision, at)
        elif isinstance(decision, Behind):
            precedence.wait_behind(decision.older, request, self._clock(at))
            self._flow.hold(request)
            return
        elif isinstance(decision, AwaitDirectory):
            self._unconfirmed.append(request)
            self._flow.hold(request)
            precedence.add(request)
            return
        elif isinstance(decision, SchemaNeeded):
            self._lookups.wait_for(decision.reference, request, at.mono)
            self._flow.hold(request)
            if request.refusal is None:
                precedence.add(request)
                return
        else:
            self._conclude(request, decision)
        if precedence.undecided:
            self._no_longer_undecided(request, at)

    def _no_longer_undecided(self, request: Request, at: Instant) -> None:
        """Decide about those that waited behind it; the time that took is not charged to them."""
        clock = self._clock(at)
        for follower, since in reversed(request.assignment.precedence.remove(request)):
            follower.deadline += clock - since
            follower.restarted = True
            self._undecided.appendleft(follower)

    def _enqueue(self, request: Request, specification: ClientSpecification, at: Instant) -> None:
        lane = self._lane(specification, at)
        request.lane = lane
        if self._hopeless(request, lane.can_call_at(at.mono), at):
            self._give_up(request, at)
            return
        if lane.idle:
            self._flow.begins(lane, at.mono)
        lane.queue.append(Part(request, request.products))
        if request.rerouted:
            self._disordered.add(lane)
        self._flow.enqueued(lane, request)
        self._turns.add(lane)

    def _lane(self, specification: ClientSpecification, at: Instant) -> Lane:
        lane = self._lanes.get(specification.id)
        if lane is None:
            lane = self._lanes[specification.id] = Lane(specification, at.mono, self._backoff, self._salt)
        return lane

    # -- calls -----------------------------------------------------------------------------------------

    def _start_calls(self, at: Instant) -> None:
        """Start one call per turn, as long as global slots are free; who gets none keeps the place in the round."""
        if self._publishing_trouble is not None or not self._outbox.may_call or self._outbox.stuck(at.mono):
            return
        if self._source_trouble is not None:  # the results would go to the same brokers
            return
        while (lane := self._turns.next(len(self._call_lanes))) is not None:
            call = lane.next_call(self._call_number + 1, at.mono)
            if call is not None:
                self._start(lane, call)
                self._turns.add(lane)

    def _start(self, lane: Lane, call: Call) -> None:
        self._call_number = call.call_id
        self._call_lanes[call.call_id] = lane
        for part in call.parts:
            part.out = True
            part.request.calls_out += 1
        self.commands.append(StartCall(call.call_id, lane.specification, call.products, len(call.parts)))

    def _answer_call(self, lane: Lane, call: Call, outcome: Receipt | Refusal | Unacknowledged, at: Instant) -> None:
        if isinstance(outcome, Receipt):
            lane.accepted(call)
            self._taken_in(lane, call, outcome, at)
            return
        if isinstance(outcome, Refusal) and outcome.blames_entries:
            if lane.refused(call, too_large=outcome.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE):
                return
        else:
            lane.rejected(call)
        problem = refused(outcome)
        for part in call.parts:
            part.error = problem
            self._part_settled(part, at)

    def _taken_in(self, lane: Lane, call: Call, receipt: Receipt, at: Instant) -> None:
        shared = Synchronized(lane.specification.id, (receipt.tracking_id,), millis(at))
        for part in call.parts:
            request = part.request
            if request.parts is None:
                self._conclude(request, shared)
            elif not request.dropped:
                part.tracking = (call.call_id, receipt.tracking_id)
                self._part_settled(part, at)

    def _part_settled(self, part: Part, at: Instant) -> None:
        request = part.request
        parts = request.parts or [part]
        if not request.dropped and all(each.settled for each in parts):
            self._conclude(request, sum_up(request, parts, at))

    # -- deadlines and shedding ------------------------------------------------------------------------

    def _hopeless(self, request: Request, can_call_at: float, at: Instant) -> bool:
        left = request.deadline - self._clock(at) - self._call_margin
        return can_call_at - at.mono > left

    def _answer_hopeless(self, lane: Lane, at: Instant) -> None:
        """The lane cannot call until a known time: answer at once what that is too late for."""
        can_call_at = lane.can_call_at(at.mono)
        for part in lane.waiting():
            request = part.request
            if not request.dropped and not request.calls_out and self._hopeless(request, can_call_at, at):
                self._give_up(request, at)

    def _answer_overdue(self, at: Instant) -> None:
        """Decide what no call can start for any more, and what is in a call that takes too long."""
        clock = self._clock(at)
        for assignment in self._assignments.values():
            for request in assignment.open.values():
                left = request.deadline - clock
                if left > self._call_margin:
                    if request.restarted:
                        continue
                    break
                if request.lane and not request.dropped:
                    self._answer_overdue_request(request, at, wait=left > ANSWER_MARGIN_SECONDS)

    def _answer_overdue_request(self, request: Request, at: Instant, *, wait: bool) -> None:
        """No call starts for it any more; those that are out may still come back, where there is time to wait."""
        if not (request.calls_out and wait):
            self._give_up(request, at)
            return
        for part in request.parts or ():
            if not part.settled and not part.out:
                part.error = given_up(part)

    def _answer_late(self, call: Call, at: Instant) -> None:
        """Parts that came back from a call and would need another one."""
        for part in call.parts:
            request = part.request
            if request.verdict is not None or part.settled or request.dropped:
                continue
            if self._hopeless(request, at.mono, at):
                self._answer_overdue_request(request, at, wait=True)

    def _give_up(self, request: Request, at: Instant) -> None:
        """Answer a request as it stands: taken in in part, perhaps taken in, or not."""
        whole = Part(request, request.products, request.may_have_reached, out=request.calls_out > 0)
        parts = request.parts or [whole]
        for part in parts:
            if not part.settled:
                part.error = given_up(part)
        self._conclude(request, sum_up(request, parts, at))

    def _shed(self, at: Instant) -> None:
        """Give up what lanes that cannot call have in the way of others.

        Not while the intake is closed by a fault of ours: nobody is held up by those lanes then.
        """
        if self._standstill.troubles:
            return
        limits, flow, assignments = self._limits, self._flow, self._assignments.values()
        cannot_call = {
            lane for lane in self._lanes.values() if not lane.idle and lane.state(at.mono) is not LaneState.HEALTHY
        }
        if not cannot_call:
            return
        for assignment in assignments:
            for request in in_the_windows_way(assignment, cannot_call, limits, at.mono):
                self._give_up(request, at)
        in_flight = flow.records, flow.bytes
        for request in in_the_budgets_way(assignments, self._lanes.values(), cannot_call, limits, in_flight, at.mono):
            self._give_up(request, at)

    def _reroute(self, at: Instant) -> None:
        """The directory has changed."""
        for id_, lane in list(self._lanes.items()):
            specification = self._intake.directory.specifications.get(id_)
            if specification is not None:
                lane.update(specification, at.mono)
                self._turns.add(lane)
            self._reroute_lane(lane, at)
            if specification is None and lane.idle:
                del self._lanes[id_]
                for assignment in self._assignments.values():
                    assignment.lanes.discard(lane)
                    assignment.fed_at.pop(lane, None)

    def _reroute_lane(self, lane: Lane, at: Instant) -> None:
        """Where the lane's specification cannot be called any more, what waits there is resolved anew."""
        specification = self._intake.directory.specifications.get(lane.specification.id)
        if specification is not None and not specification.suspended and not specification.unusable:
            return
        for part in lane.take_all():
            request = part.request
            if part.withdrawn:
                continue
            decision = self._intake.decide_again(request, at)
            if request.parts is not None or request.may_have_reached:
                part.error = given_up(part) if part.may_have_reached else no_longer(decision)
                self._part_settled(part, at)
            else:
                request.lane, request.rerouted = None, True
                self._follow(self._in_order(decision, request), request, at)

    def _restore_order(self) -> None:
        """Requests that came from other lanes may stand behind newer ones of their partition."""
        for lane in self._disordered:
            lane.restore_order()
        self._disordered.clear()

    # -- outcomes --------------------------------------------------------------------------------------

    def _conclude(self, request: Request, verdict: Verdict) -> None:
        if not request.dropped:
            request.verdict = verdict
            request.assignment.finished.append(request)

    def _cut_transaction(self, at: Instant) -> None:
        hurry = self._stopping or any(each.revoking for each in self._assignments.values())
        commit = self._outbox.cut(at, self._assignments.values(), hurry=hurry)
        if commit is not None:
            self.commands.append(commit)

    def _finish(self, part: PartitionCommit) -> None:
        assignment = self._alive(part)
        self._tally.published(part.outcomes)
        if assignment is None:
            return
        offsets = [request.record.offset for request in part.outcomes]
        assignment.progress.finish(offsets)
        assignment.committed_offset = part.offset
        assignment.acknowledged = CommitPoint(part.offset, part.metadata)
        self._flow.let_go(map(assignment.open.pop, offsets))

    def _take_back(self, part: PartitionCommit, *, last: bool) -> None:
        """Have outcomes that were not published wait again, before all others or ``last``.

        Those of an ended assignment do not.
        """
        assignment = self._alive(part)
        if assignment is not None:
            place = len(assignment.finished) if last else 0
            assignment.finished[place:place] = part.outcomes
        else:
            self._tally.discarded += len(part.outcomes)

    def _alive(self, part: PartitionCommit) -> Assignment | None:
        assignment = self._assignments.get(part.partition)
        return assignment if assignment is not None and assignment.epoch == part.epoch else None

    # -- assignments -----------------------------------------------------------------------------------

    def _end(self, partitions: Iterable[int]) -> None:
        ended = [self._assignments.pop(each) for each in partitions if each in self._assignments]
        for assignment in ended:
            self._flow.ended(assignment.partition)
            self._flow.let_go(assignment.open.values())
            self._tally.discarded += len(assignment.finished)
            assignment.end()
        if ended:
            self._forget_ended()

    def _forget_ended(self) -> None:
        """Let go of the requests of ended assignments, wherever they wait."""
        for lane in self._lanes.values():
            lane.drop_withdrawn()
        self._lookups.forget_ended()
        self._unconfirmed = [request for request in self._unconfirmed if not request.assignment.ended]
        self._undecided = deque(request for request in self._undecided if not request.assignment.ended)

    def _stop_taking(self, assignment: Assignment) -> None:
        assignment.revoking = True
        assignment.forget_waiting()

    def _reload(self, parts: Sequence[PartitionCommit]) -> None:
        """They were committed, or were not: begin anew from what the brokers know."""
        alive = [(part, assignment) for part in parts if (assignment := self._alive(part)) is not None]
        for part, assignment in alive:
            attempted = CommitPoint(part.offset, part.metadata)
            self.commands.append(Reload(part.partition, part.epoch, assignment.acknowledged, attempted))
        self._end([part.partition for part, _ in alive])

    def _report_drained(self, at: Instant) -> None:
        revoking = [each for each in self._assignments.values() if each.revoking]
        if revoking and not any(self._busy(each, at) for each in revoking):
            self.commands.append(Drained([each.partition for each in revoking]))
            self._end([each.partition for each in revoking])
        if self._stopping and not self._stopped and not self._unfinished(at):
            self._stopped = True
            self.commands.append(Stopped())

    def _busy(self, assignment: Assignment, at: Instant) -> bool:
        """Return whether something of it is about to be committed, or in a call that is worth waiting for."""
        return (
            bool(assignment.finished)
            or self._is_committing(assignment)
            or any(
                part.request.assignment is assignment
                for lane in self._lanes.values()
                for call in lane.calls.values()
                if lane.is_due(call, assignment.drain_until, at.mono) or assignment.ends_for_good
                for part in call.parts
            )
        )

    def _is_committing(self, assignment: Assignment) -> bool:
        out = self._outbox.out
        return out is not None and any(self._alive(part) is assignment for part in out.partitions)

    def _unfinished(self, at: Instant) -> bool:
        """Tell whether something can still be finished before the end."""
        if self._outbox.out is not None or any(self._busy(each, at) for each in self._assignments.values()):
            return True
        return any(lane.depth and lane.state(at.mono) is LaneState.HEALTHY for lane in self._lanes.values())

    def _pause_and_resume(self, at: Instant) -> None:
        closed = bool(self._standstill.troubles)
        budget = self.fetch_budget.records
        pause, resume = self._flow.turns(self._assignments.values(), at.mono, closed=closed, appetite=budget)
        self._tally.pauses += len(pause)
        if pause:
            self.commands.append(Pause([each.partition for each in pause]))
        for each in self._flow.to_give_back(self._assignments.values()):
            each.give_back()
        for each in resume:
            if each.given_back is not None:
                each.given_back = None
                again = Reread(each.partition, each.epoch, each.progress.read_to, given_back=True)
                self.commands.append(again)
        if resume:
            self.commands.append(Resume([each.partition for each in resume]))
