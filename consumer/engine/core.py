"""The engine's core: events in, commands out, on one thread, without a clock, a wait or a thread of its own.

``Core.handle`` takes the events of one turn and returns the commands that follow from them. It passes each event to the
room that it concerns, then lets each room do what has become possible:

* ``Admission`` decides about records, and queries the database and the registry for what a decision lacks.
* ``Dispatch`` owns the lanes, starts calls, and gives up requests that are too late.
* ``Partitions`` tracks what was read and what is committed, and cuts transactions.

Two invariants hold between turns:

* A record that was taken in is in its assignment's ``open`` until a transaction with its outcome has committed, and
  only then is it finished in ``Progress``.
* A decided request is in its assignment's ``decided`` or in the transaction in flight.

A request whose assignment has ended is discarded wherever it is, and never published.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from consumer.domain.retry import Backoff
from consumer.engine.admission.admission import Admission
from consumer.engine.admission.decisions import Decider
from consumer.engine.clock import Instant, PausableClock
from consumer.engine.commands import Command, Drained
from consumer.engine.counters import Tally
from consumer.engine.credentials import Credentials
from consumer.engine.dispatch.back_pressure import BackPressure
from consumer.engine.dispatch.dispatch import Dispatch
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
    Unassigned,
)
from consumer.engine.partitions.outbox import Outlet
from consumer.engine.partitions.partitions import Partitions
from consumer.engine.policy import Policy
from consumer.engine.ports import Decoder
from consumer.engine.precedence import Precedence
from consumer.engine.requests import Request
from consumer.engine.status import EngineStatus, FetchBudget

_NOTHING_COMMITS = "No transaction has committed for 5 s although results wait. Check the Kafka brokers."


class Core:
    """The state machine of one process.

    ``salt`` makes the jitter of replicas differ; ``precedence`` creates the ``Precedence`` of each assignment. For one
    thread; all times are arguments.
    """

    def __init__(
        self,
        decoder: Decoder,
        policy: Policy,
        salt: str = "",
        backoff: Backoff | None = None,
        precedence: Callable[[], Precedence[Request]] = Precedence,
        credentials: Credentials | None = None,
    ) -> None:
        self.policy = policy
        self._commands: list[Command] = []
        self._clock = PausableClock()
        self._tally = Tally()
        self._pressure = BackPressure(policy)
        self._partitions = Partitions(policy, self._commands, precedence, self._pressure, self._tally)
        self._dispatch = Dispatch(policy, self._commands, self._clock, self._pressure, backoff or Backoff(), salt)
        decider = Decider(decoder, credentials or Credentials(), policy.max_products)
        self._admission = Admission(
            decider, policy, self._commands, self._clock, self._pressure, self._partitions, self._dispatch
        )
        self._joined = False
        self._broker_trouble: str | None = None
        self._publishing_trouble: str | None = None
        self._partition_troubles: Mapping[int, str] = {}
        self._handlers: dict[type[Event], Callable[[Any, Instant], None]] = {
            MembershipChanged: self._membership_changed,
            BrokerTrouble: self._brokers_troubled,
            PartitionTroubles: self._partitions_troubled,
            Assigned: self._assigned,
            OffsetReset: self._offset_reset,
            Fetched: self._partitions.receive,
            Revoking: self._partitions.revoke,
            Unassigned: self._unassigned,
            PublishingTrouble: self._publishing_troubled,
            TransactionFinished: self._transaction_finished,
            CallFinished: self._call_finished,
            DirectoryConfirmed: self._admission.directory_confirmed,
            DirectoryUnavailable: self._admission.directory_unavailable,
            SchemaFound: self._admission.schema_found,
            SchemaMissing: self._admission.schema_missing,
            SchemaUnavailable: self._schema_unavailable,
            Tick: self._tick,
            StopRequested: self._stop_requested,
            ThreadFailed: self._thread_failed,
        }

    # -- for the driver --------------------------------------------------------------------------------

    def handle(self, events: Sequence[Event], at: Instant) -> list[Command]:
        """Handle the events of one turn in their order, and return the commands that follow from all of them.

        Calls start only behind the last event: they carry what it has brought, and need not wait for calls that have
        ended already. Raises the exception of ``ThreadFailed``.
        """
        for event in events:
            self._handlers[type(event)](event, at)
        self._follow_up(at)
        commands = self._commands[:]
        self._commands.clear()
        return commands

    @property
    def fetch_budget(self) -> FetchBudget:
        """Return the current fetch budget: nothing while the intake is closed or the service stops."""
        partitions = self._partitions
        closed = partitions.stopping or self._clock.troubles
        records = 0 if closed else self._pressure.fetch_budget(partitions.assignments.values())
        return FetchBudget(records, partitions.received_records, partitions.received_bytes)

    @property
    def serves(self) -> bool:
        """Whether requests are taken in: the process is in the group, and no trouble closes the intake."""
        return self._joined and not self._clock.troubles

    def wake_at(self, at: Instant) -> float | None:
        """Return the monotonic seconds at which something is due that no event will announce."""
        times = [*self._dispatch.wake_at(at), *self._admission.wake_at(at)]
        partitions = self._partitions
        if partitions.outbox.in_flight is None and any(each.decided for each in partitions.assignments.values()):
            times.append(partitions.outbox.due_at)
        return min((time for time in times if time is not None and time > at.mono), default=None)

    def status(self, at: Instant) -> EngineStatus:
        """Return an immutable snapshot for health and metrics, which any thread may read. Costs a scan of all lanes."""
        tally, outbox, assignments = self._tally, self._partitions.outbox, self._partitions.assignments.values()
        oldest = min((next(iter(each.open.values())).read_at for each in assignments if each.open), default=at.mono)
        unread = [*self._partition_troubles.values(), *self._partitions.unread(at)]
        unavailable = self._admission.lookups.troubles()
        return EngineStatus(
            taken_at=at.mono,
            joined=self._joined,
            stopping=self._partitions.stopping,
            troubles=(
                *self._clock.troubles,
                *unavailable[: self.policy.problems_shown],
                *self._held_dead_letters(at),
                *unread[: self.policy.problems_shown],
            ),
            intake_open=not self._clock.troubles,
            intake_closed=dict(self._clock.closings),
            oldest_unanswered_seconds=at.mono - oldest,
            in_flight_records=self._pressure.records,
            in_flight_bytes=self._pressure.bytes,
            window_used={each.partition: each.progress.used / self.policy.window for each in assignments},
            paused_partitions=sum(each.paused for each in assignments),
            pauses=tally.pauses,
            lanes=self._dispatch.statuses(at),
            quota_plan=self._admission.decider.directory.quota_plan,
            answered=dict(tally.answered),
            dead_letters=dict(tally.dead_letters),
            discarded=tally.discarded,
            progress_maps_ignored=tally.maps_ignored,
            offset_resets=tally.resets,
            unread_partitions=len(unread),
            unavailable_schemas=len(unavailable),
            holes=tally.holes,
            commits=tally.commits,
            aborts=tally.aborts,
            publishing_failures={outlet.value: health.failures for outlet, health in outbox.health.items()},
            progress_maps_cut=outbox.maps_cut,
            last_commit_at=outbox.last_commit_at,
        )

    # -- events ----------------------------------------------------------------------------------------

    def _membership_changed(self, event: MembershipChanged, _at: Instant) -> None:
        self._joined = event.member

    def _brokers_troubled(self, event: BrokerTrouble, _at: Instant) -> None:
        self._broker_trouble = event.message

    def _publishing_troubled(self, event: PublishingTrouble, _at: Instant) -> None:
        self._publishing_trouble = event.message

    def _partitions_troubled(self, event: PartitionTroubles, _at: Instant) -> None:
        self._partition_troubles = event.messages

    def _assigned(self, event: Assigned, _at: Instant) -> None:
        self._end([event.partition])
        self._partitions.assign(event)

    def _offset_reset(self, _event: OffsetReset, _at: Instant) -> None:
        self._tally.resets += 1

    def _unassigned(self, event: Unassigned, _at: Instant) -> None:
        self._end(event.partitions)

    def _transaction_finished(self, event: TransactionFinished, at: Instant) -> None:
        self._end(self._partitions.transaction_finished(event, at))

    def _call_finished(self, event: CallFinished, at: Instant) -> None:
        lane, parts, first_answer = self._dispatch.call_finished(event, at)
        if first_answer and len(self._dispatch.lanes) <= self.policy.lanes_weighed_at_once:
            self._weigh(at)  # only now it is known how much the lane may hold
        self._dispatch.give_up_returned(parts, at)
        self._admission.reroute(lane, at)

    def _schema_unavailable(self, event: SchemaUnavailable, at: Instant) -> None:
        self._admission.lookups.failed(event.reference, event.message, at.mono)

    def _tick(self, _event: Tick, at: Instant) -> None:
        assignments = self._partitions.assignments.values()
        self._dispatch.check_lanes(at)
        self._partitions.reread_overdue(at)
        self._dispatch.give_up_overdue(assignments, at)
        self._admission.look_ahead(at)
        self._weigh(at)
        self._dispatch.shed(assignments, at)

    def _stop_requested(self, _event: StopRequested, at: Instant) -> None:
        self._partitions.stop(at)

    def _thread_failed(self, event: ThreadFailed, _at: Instant) -> None:
        raise event.problem

    # -- after the events of a turn --------------------------------------------------------------------

    def _follow_up(self, at: Instant) -> None:
        """Let each room do what the events have made possible or necessary."""
        self._clock.update(tuple(self._troubles(at)), at.mono)
        self._admission.take_in(at)
        self._admission.ask_directory(at)
        self._admission.look_up_schemas(at)
        self._dispatch.restore_order()
        if self._may_call(at) and at.mono <= self._partitions.stop_until:
            self._dispatch.start_calls(at)
        self._partitions.cut_transaction(at)
        closed = bool(self._clock.troubles)
        self._partitions.pause_and_resume(at, closed=closed, budget=self.fetch_budget.records)
        self._report_drained(at)

    def _troubles(self, at: Instant) -> Iterator[tuple[str, str]]:
        """Yield why the intake is closed, as (reason, message)."""
        yield from self._admission.troubles(at)
        if self._broker_trouble is not None:
            yield "broker", self._broker_trouble
        if (message := self._dispatch.lacking(at)) is not None:
            yield "calls", message
        outbox = self._partitions.outbox
        if self._publishing_trouble is not None:
            yield "publishing", self._publishing_trouble
        elif outbox.stuck(at.mono):
            message = outbox.health[Outlet.RESULTS].message
            yield ("publishing", message) if message else ("broker", _NOTHING_COMMITS)

    def _held_dead_letters(self, at: Instant) -> Iterator[str]:
        """Yield why dead letters cannot be published, which holds up nothing else until their windows are full."""
        health = self._partitions.outbox.health[Outlet.DEAD_LETTERS]
        if health.troubled(at.mono):
            yield f"The dead letters wait. {health.message}"

    def _may_call(self, at: Instant) -> bool:
        """Return whether results of calls can be published, as far as is known; otherwise no call starts."""
        outbox = self._partitions.outbox
        return (
            self._publishing_trouble is None
            and self._broker_trouble is None
            and outbox.may_call
            and not outbox.stuck(at.mono)
        )

    def _weigh(self, at: Instant) -> None:
        assignments = self._partitions.assignments.values()
        self._pressure.weigh(assignments, self._dispatch.lanes, self._admission.undecided(), at.mono)

    def _report_drained(self, at: Instant) -> None:
        drained = self._partitions.drained(partial(self._dispatch.awaits, at=at, stopping=False))
        if drained:
            self._commands.append(Drained(drained))
            self._end(drained)
        may_stop = self._partitions.may_stop(partial(self._dispatch.awaits, at=at, stopping=True))
        if may_stop and not self._dispatch.can_start_calls(self._partitions.stop_until, at):
            self._partitions.report_stopped()

    def _end(self, partitions: Iterable[int]) -> None:
        """End assignments, and let go of their requests wherever they are."""
        if self._partitions.end(partitions):
            self._dispatch.forget_discarded()
            self._admission.forget_discarded()
