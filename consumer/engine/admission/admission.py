"""Admission of fetched records: the order in which they are taken in and decided about, and where they wait.

A request that cannot be decided yet waits in one of three places: for its writer schema (``SchemaLookups``), for a
confirmed directory (``_unconfirmed``), or behind an older request that may name one of its ids (``Precedence``). When
that is there, it moves to ``_resumed``, whose requests are decided about before any other record is taken in.
"""

from collections import deque
from collections.abc import Iterator

from consumer.domain.model import ClientSpecification
from consumer.domain.outcome import Failed, ResyncError, error
from consumer.engine.admission.decisions import AwaitDirectory, Behind, Decider, Decision, Routed
from consumer.engine.admission.lookups import SchemaLookups
from consumer.engine.clock import Instant, PausableClock
from consumer.engine.commands import Command, ConfirmDirectory, LookUpSchema
from consumer.engine.dispatch.back_pressure import BackPressure
from consumer.engine.dispatch.dispatch import Dispatch
from consumer.engine.dispatch.lanes import Lane
from consumer.engine.dispatch.verdicts import GiveUp, fail, given_up
from consumer.engine.events import DirectoryConfirmed, DirectoryUnavailable, SchemaFound, SchemaMissing
from consumer.engine.partitions.partitions import Partitions
from consumer.engine.policy import Policy
from consumer.engine.ports import SchemaNeeded
from consumer.engine.request_headers import HeaderReader
from consumer.engine.requests import Assignment, Request
from schemas.contract import ErrorCode


class Admission:
    """Decides about fetched records on the newest directory, and requests the schemas and confirmations that it lacks.

    Used on the core's thread. Its methods append commands and never wait.
    """

    def __init__(
        self,
        decider: Decider,
        policy: Policy,
        commands: list[Command],
        clock: PausableClock,
        back_pressure: BackPressure,
        partitions: Partitions,
        dispatch: Dispatch,
    ) -> None:
        self._policy = policy
        self._commands = commands
        self._clock = clock
        self._back_pressure = back_pressure
        self._partitions = partitions
        self._dispatch = dispatch
        self.decider = decider
        self._read_headers = HeaderReader().read
        self.lookups = SchemaLookups(policy)
        self.behind = False
        """The last turn left something undecided that the next one has to go on with."""
        self._resumed: deque[Request] = deque()
        self._unconfirmed: list[Request] = []
        self._asked_at: float | None = None
        """Start of the database query that is in flight."""
        self._ask_from = float("-inf")
        self._directory_trouble = "The database has not been read yet. Check it, and RESYNC_DATABASE_URL."

    # -- taking in -------------------------------------------------------------------------------------

    def take_in(self, at: Instant) -> None:
        """Decide about requests that waited, then take records in, as far as the bounds and one turn allow."""
        self.behind = False
        if self._clock.troubles:
            return
        left = self._decide_resumed(at, self._policy.turn_bytes)
        if self._resumed:  # which came before all that is not taken in yet
            self.behind = True
            return
        assignments = self._partitions.assignments
        deadline = self._clock.read(at.mono) + self._policy.request_deadline
        for assignment in () if self._partitions.stopping else list(assignments.values()):
            before = assignment.progress.position
            left = self._take_from(assignment, at, deadline, left)
            filled = assignment.partition in self._back_pressure.over_limit and assignment.progress.position > before
            if self.behind or filled:  # another partition is the first next time
                assignments[assignment.partition] = assignments.pop(assignment.partition)
            if self.behind:
                return

    def look_ahead(self, at: Instant) -> None:
        """Decide about records in backlogs, each once, only to see which lanes their partition feeds."""
        left, left_bytes = self._policy.look_ahead_records, self._policy.turn_bytes
        for assignment in self._partitions.assignments.values():
            for record in assignment.backlog:
                if record.offset <= assignment.looked_at:
                    continue
                if not left or left_bytes <= 0 or self._clock.troubles:
                    return
                left -= 1
                left_bytes -= record.size
                assignment.looked_at = record.offset
                request = Request(record, assignment, self._read_headers(record.headers), at.mono, at.mono)
                decision = self.decider.decide(request, at)
                if isinstance(decision, ClientSpecification):
                    assignment.lanes.add(self._dispatch.lane(decision, at).specification.id)
                elif not isinstance(decision, AwaitDirectory | SchemaNeeded):
                    assignment.lanes.add(None)

    def undecided(self) -> list[Request]:
        """Return all requests that wait for a schema, for a confirmed directory or behind another request."""
        waiting = [*self.lookups.waiting(), *self._unconfirmed, *self._resumed]
        for assignment in self._partitions.assignments.values():
            waiting += assignment.precedence.behind()
        return waiting

    def forget_discarded(self) -> None:
        """Let go of the requests of ended assignments, wherever they wait here."""
        self.lookups.forget_ended()
        self._unconfirmed = [request for request in self._unconfirmed if not request.assignment.ended]
        self._resumed = deque(request for request in self._resumed if not request.assignment.ended)

    def _take_from(self, assignment: Assignment, at: Instant, deadline: float, left: int) -> int:
        """Take records of one partition in; return what is left of the bytes that one turn may decide about."""
        if not assignment.kept:  # its backlog was left to the next owner
            return left
        backlog, precedence, progress = assignment.backlog, assignment.precedence, assignment.progress
        has_room = self._back_pressure.has_room
        while backlog and has_room(assignment, backlog[0]):
            if left <= 0:
                self.behind = True
                return left
            record = backlog[0]
            left -= record.size
            if progress.receive(record.offset):
                request = Request(record, assignment, self._read_headers(record.headers), at.mono, deadline)
                searched = precedence.searched
                if not self._take(request, at):
                    progress.give_back(record.offset)
                    break
                if precedence.searched > searched:
                    left -= (precedence.searched - searched) // self._policy.search_discount
            assignment.remove_oldest()
        if not backlog:
            progress.advance()
        return left

    def _take(self, request: Request, at: Instant) -> bool:
        """Take a request in; ``False`` if its lane is full already, which shows only now."""
        record, assignment = request.record, request.assignment
        undecided = assignment.precedence.undecided
        decision: Decision | Behind = self.decider.decide(request, at)
        if undecided:
            decision = self._in_order(decision, request)
        if isinstance(decision, ClientSpecification):
            lane = self._dispatch.lane(decision, at)
            if not self._back_pressure.admits(lane, assignment):
                return False
        else:
            lane = None
        assignment.open[record.offset] = request
        self._back_pressure.take_in(record)
        if lane is None or undecided:
            self._follow(decision, request, at)
        else:
            self._dispatch.enqueue(request, lane, at)
        return True

    def _decide_resumed(self, at: Instant, left: int) -> int:
        while self._resumed and left > 0:
            request = self._resumed.popleft()
            left -= request.record.size
            if request.open:
                precedence = request.assignment.precedence
                searched = precedence.searched
                self._follow(self._in_order(self.decider.decide(request, at), request), request, at)
                left -= (precedence.searched - searched) // self._policy.search_discount
        return left

    # -- decisions -------------------------------------------------------------------------------------

    def _in_order(self, decision: Decision | Behind, request: Request) -> Decision | Behind:
        """Return ``Behind`` instead if an older request is undecided and may name one of its ids."""
        precedence = request.assignment.precedence
        if precedence.undecided and isinstance(decision, ClientSpecification):
            older = precedence.conflict(request)
            if older is not None:
                return Behind(older)
        return decision

    def _follow(self, decision: Decision | Behind, request: Request, at: Instant) -> None:
        precedence = request.assignment.precedence
        if isinstance(decision, ClientSpecification):
            self._dispatch.enqueue(request, self._dispatch.lane(decision, at), at)
        elif isinstance(decision, Behind):
            precedence.wait_behind(decision.older, request, self._clock.read(at.mono))
            self._back_pressure.undecided(request)
            return
        elif isinstance(decision, AwaitDirectory):
            self._unconfirmed.append(request)
            self._back_pressure.undecided(request)
            precedence.add(request)
            return
        elif isinstance(decision, SchemaNeeded):
            self.lookups.wait_for(decision.reference, request, at.mono)
            self._back_pressure.undecided(request)
            if request.refusal is None:
                precedence.add(request)
                return
        else:
            request.decide(decision)
        if precedence.undecided:
            self._resume_followers(request, at)

    def _resume_followers(self, request: Request, at: Instant) -> None:
        """Decide about the requests that waited behind this one; the time that took is not charged to them."""
        clock = self._clock.read(at.mono)
        for follower, since in reversed(request.assignment.precedence.remove(request)):
            follower.deadline += clock - since
            follower.restarted = True
            self._resumed.appendleft(follower)

    # -- rerouting -------------------------------------------------------------------------------------

    def reroute(self, lane: Lane, at: Instant) -> None:
        """Resolve anew what is queued in a lane whose client specification cannot be called any more."""
        specification = self.decider.directory.specifications.get(lane.specification.id)
        if specification is not None and not specification.suspended and not specification.unusable:
            return
        for part in lane.queue.take_all():
            request = part.request
            if not part.sendable:
                continue
            decision = self.decider.decide_again(request, at)
            if part.may_have_reached:
                fail(part, given_up(part, GiveUp.DEADLINE, lane.health.trouble), at)
            elif len(request.parts) > 1:
                fail(part, _no_longer(decision), at)
            else:
                request.withdraw()
                self._follow(self._in_order(decision, request), request, at)

    def _reroute_all(self, at: Instant) -> None:
        """The directory has changed."""
        specifications, dispatch = self.decider.directory.specifications, self._dispatch
        for id_, lane in list(dispatch.lanes.items()):
            specification = specifications.get(id_)
            if specification is not None:
                dispatch.update_lane(id_, specification, at)
            self.reroute(lane, at)
            if specification is None and lane.idle:
                dispatch.remove_lane(id_, self._partitions.assignments.values())

    # -- the directory ---------------------------------------------------------------------------------

    def ask_directory(self, at: Instant) -> None:
        """Ask the database whether the directory has changed, if that is due; at most one question is under way."""
        if self._asked_at is not None or at.mono < self._ask_from:
            return
        if self._unconfirmed or at.mono - self.decider.confirmed_at >= self._policy.directory_interval:
            self._asked_at = at.mono
            self._commands.append(ConfirmDirectory(at.mono))

    def directory_confirmed(self, event: DirectoryConfirmed, at: Instant) -> None:
        """Take a new snapshot, or the confirmation of the known one, and resume the requests that waited for it."""
        self._asked_at = None
        self._ask_from = at.mono + self._policy.directory_gap
        self.decider.confirmed_at = event.asked_at
        self._directory_trouble = ""
        if event.directory is not None:
            self.decider.directory = event.directory
            self._reroute_all(at)
        if self.decider.directory.api_keys:
            self._resumed.extendleft(reversed(self._unconfirmed))  # older than what is left there
            self._unconfirmed.clear()
        else:  # no answer, but a problem of ours
            self._ask_from = at.mono + self._policy.directory_interval

    def directory_unavailable(self, event: DirectoryUnavailable, at: Instant) -> None:
        """Ask again after ``directory_interval``; the intake closes once ``directory_patience`` is over."""
        self._asked_at = None
        self._ask_from = at.mono + self._policy.directory_interval
        self._directory_trouble = event.message

    def troubles(self, at: Instant) -> Iterator[tuple[str, str]]:
        """Yield why the directory closes the intake, as (reason of the metric, message with its remedy)."""
        if at.mono - self.decider.confirmed_at > self._policy.directory_patience:
            yield (
                "database",
                self._directory_trouble or "The database has not answered for 5 s. Check it, and RESYNC_DATABASE_URL.",
            )
        elif not self.decider.directory.api_keys:
            yield "no-api-key", "The database holds no API key. Issue one with `mirakl-resync-consumer api-keys issue`."

    def wake_at(self, at: Instant) -> Iterator[float]:
        """Yield the monotonic seconds at which something is due that no event will announce."""
        if self._unconfirmed:
            yield self._ask_from
        if self.behind:
            yield at.mono + self._policy.turn_pause

    # -- writer schemas --------------------------------------------------------------------------------

    def look_up_schemas(self, at: Instant) -> None:
        """Ask the registry for the schemas that are due; each question is asked once at a time."""
        self._commands += [LookUpSchema(reference) for reference in self.lookups.due(at.mono)]

    def schema_found(self, event: SchemaFound, at: Instant) -> None:
        """Decide about the requests that waited for a schema; the wait is not charged to them."""
        for request in self.lookups.found(event.reference):
            request.deadline = self._clock.read(at.mono) + self._policy.request_deadline
            request.restarted = True
            # where the intake is closed, the snapshot may be too old
            (self._unconfirmed if self._clock.troubles else self._resumed).append(request)

    def schema_missing(self, event: SchemaMissing, at: Instant) -> None:
        """Dead-letter the requests that waited for a schema, once it is certain that there is none."""
        reference = event.reference
        message = f"The schema registry does not know {reference}. Register the schema, then send the request again."
        for request in self.lookups.missing(reference, at.mono):
            if request.open:
                request.decide(self.decider.no_schema(request, message, at))
            self._resume_followers(request, at)


def _no_longer(decision: Routed | AwaitDirectory) -> ResyncError:
    """Return the error of the rest of a large request, whose client specification can no longer be called."""
    if isinstance(decision, Failed):
        return decision.error
    return error(
        ErrorCode.CM21_UNAVAILABLE, problem="The client specification was removed before all products were sent"
    )
