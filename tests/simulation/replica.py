"""One process of the service in the simulated world: the real core and the real Kafka threads around it."""

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaException

from consumer.adapters.kafka.consumer_errors import OwnerThreadError
from consumer.adapters.kafka.policy import ADMIN
from consumer.adapters.kafka.remedies import Named
from consumer.domain.outcome import DeadLettered, Verdict
from consumer.engine.clock import Instant
from consumer.engine.commands import (
    Command,
    Commit,
    ConfirmDirectory,
    Drained,
    LookUpSchema,
    Pause,
    Reload,
    ReportIgnoredMap,
    Reread,
    Resume,
    StartCall,
    Stopped,
)
from consumer.engine.core import Core
from consumer.engine.dispatch.lanes import Lane
from consumer.engine.driver import next_events
from consumer.engine.events import Event, StopRequested, Tick
from consumer.engine.precedence import Precedence
from consumer.engine.requests import Request
from consumer.engine.status import FetchBudget
from consumer.engine.trace import EventTrace, Write
from tests.simulation.kafka import Network
from tests.simulation.loop import Process, Steps
from tests.simulation.mirakl import SentCall
from tests.simulation.scenario import named_in_value
from tests.simulation.shells import AT_LEAST_ONCE, KAFKA_IN, KAFKA_OUT
from tests.simulation.stores import TaughtDecoder

if TYPE_CHECKING:
    from tests.simulation.world import World

WALL = 1_700_000_000.0
IDLE_TICK_SECONDS = 0.5
CALM_TICK_SECONDS = 0.3
"""Once all faults have ceased, which is the longest part of most histories: what waits then waits for seconds."""
"""A core with nothing to do is ticked less often than the driver would, for speed."""
GRACE_SECONDS = 4.0
CLOSING_SECONDS = 1.0


class Died(BaseException):
    """The process was killed in the middle of a step."""


class Payload:
    """A published outcome: what the request's verdict was when it was produced."""

    __slots__ = ("process", "request", "verdict")

    def __init__(self, request: Request, verdict: Verdict | None, process: Process) -> None:
        self.request = request
        self.verdict = verdict
        self.process = process

    @property
    def outlet(self) -> str:
        """Which of the two topics it goes to."""
        return "dead-letters" if isinstance(self.verdict, DeadLettered) else "results"

    def __len__(self) -> int:
        return 40_000 if self.request.record.offset % 7 == 0 else 100


class _Publisher:
    def __init__(self, process: Process) -> None:
        self._process = process

    def publications(self, outcomes: Sequence[Request]) -> list[Any]:
        return [self.reduced(request) for request in outcomes]

    def reduced(self, outcome: Request, *, smallest: bool = False) -> Any:  # noqa: ANN401, ARG002 - outgoing.Publication
        return "results", b"", Payload(outcome, outcome.verdict, self._process), []


class Replica:
    """From start to death."""

    def __init__(self, world: "World", slot: int, life: int) -> None:
        plan = world.plan
        self.world = world
        self.slot = slot
        self.born = world.loop.now
        self.process = Process(f"{slot}.{life}")
        self.network = Network(self, world.broker)
        self.decoder = TaughtDecoder(world.records)
        limits = replace(plan.limits, turn_bytes=plan.turn_bytes)
        salt = f"{plan.seed}/{self.process.name}"
        self.recorder: EventTrace | None = None
        if world.recorded is None:
            self.core = Core(self.decoder, limits, salt, precedence=partial(Precedence, named_in_value, limits))
        else:
            lines = world.recorded.setdefault(self.process.name, [])
            self.recorder = EventTrace(_keep_in(lines), self.decoder, named_in_value, limits, salt)
            own = self.recorder
            self.core = Core(own, limits, salt, precedence=own.precedence, credentials=own.credentials)
        self.calls: dict[int, SentCall] = {}
        """Calls in flight, by the number that the core gave them."""
        self.queued: dict[Request, int] = {}
        """Since which step each request has been in its lane."""
        self.steps = 0
        self._watch_queueing()
        self.fetch_budget = FetchBudget(0)
        self.refused_since: float | None = None
        """When a transaction with results failed last, and none has committed since."""
        self._disturbed_until = float("-inf")
        self.slow_until = 0.0
        self.lag = 0.0
        self._inbox: deque[Event] = deque()
        self._turn_at = float("inf")
        self._ticked_at = float("-inf")
        self._known_version: int | None = None
        self._stopping = False
        self._ended = False
        instance = {"group.instance.id": f"i{slot}"} if plan.static else {}
        self.source = KAFKA_IN.KafkaSource(
            {"replica": self, **instance},
            "requests",
            self.post,
            lambda: self.fetch_budget,
            plan.drain,
            None if plan.topic_ids else b"",
        )
        self.sink = self._make_sink()
        if plan.topic_ids:
            world.loop.start(self.process, self._watch_topic())
        world.loop.start(self.process, self.source._run())
        world.loop.start(self.process, self.sink._run())
        self._turn_by(world.loop.now)

    def _make_sink(self) -> Any:  # noqa: ANN401 - of a module that was compiled into tasks
        static, process = self.world.plan.static, self.process
        named = Named("requests", "group", f"group-i{self.slot}" if static else f"group-{process.name}")
        common = {"replica": self}, named, _Publisher(process), self.post, self._transaction_ended
        if self.world.plan.at_least_once:
            return AT_LEAST_ONCE.AtLeastOnceSink(
                *common,
                owner=self.source,
                commit_offsets=self._commit_offsets,
            )
        return KAFKA_OUT.TransactionalSink(*common, owner=self.source, inherits=static)

    def _commit_offsets(self, *arguments: Any) -> None:  # noqa: ANN401 - as the source's
        self.source.commit(*arguments)
        self.source._consumer.wake.give()

    def _watch_topic(self) -> Steps:
        """As ``TopicWatch``."""
        broker = self.world.broker
        while True:
            yield 0.01
            self.source.topic_is(b"" if broker.down else broker.topic_id)
            self.source._consumer.wake.give()
            yield ADMIN.topic_look

    def _watch_queueing(self) -> None:
        """Remember when requests come to their lanes."""
        enqueue = self.core._dispatch.enqueue

        def watched(request: Request, lane: Lane, at: Instant) -> None:
            self.steps += 1
            self.queued[request] = self.steps
            enqueue(request, lane, at)

        self.core._dispatch.enqueue = watched  # type: ignore[method-assign]

    def _transaction_ended(self, finished: Any) -> None:  # noqa: ANN401 - committer.Finished
        """Remember since when results are known to be refused."""
        if finished.result.name == "COMMITTED":
            self.refused_since = None
        elif finished.trouble and not finished.trouble.metadata_too_large and self.refused_since is None:
            outcomes = [outcome for part in finished.commit.partitions for outcome in part.outcomes]
            if any(not isinstance(outcome.verdict, DeadLettered) for outcome in outcomes):
                self.refused_since = self.world.loop.now

    @property
    def disturbed(self) -> bool:
        """It is frozen or slowed down, or was within the deadline of requests read by then."""
        return self.world.loop.now < self._disturbed_until

    def disturb(self, seconds: float) -> None:
        """Its own sense of time is not Mirakl's fault."""
        until = self.world.loop.now + seconds + self.world.plan.limits.request_deadline + 1.0
        self._disturbed_until = max(self._disturbed_until, until)

    # -- life ------------------------------------------------------------------------------------------

    def trace(self, text: str) -> None:
        self.world.trace(f"{self.process.name}: {text}")

    def step(self, what: str) -> None:
        """A task is about to go on; the plan may have the process die or freeze right here."""
        self.world.step(self, what)
        if not self.process.alive:
            raise Died

    def terminate(self) -> None:
        """SIGTERM, as ``bootstrap`` handles it."""
        if self._stopping:
            return
        self._stopping = True
        self.trace("SIGTERM")
        self.post(StopRequested())
        self.world.loop.after(GRACE_SECONDS, self._halt)

    def _halt(self) -> None:
        if self.process.alive and not self._ended:
            self._ended = True
            self.world.loop.start(self.process, self._close())

    def _close(self) -> Steps:
        self.trace("closes")
        self.source._stop.set()
        self.source._consumer.wake.give()
        yield CLOSING_SECONDS
        self.world.promises.closed(self)
        self.sink._queue.put(None)
        yield 0.1
        self.world.exited(self)

    # -- the driver ------------------------------------------------------------------------------------

    def post(self, event: Event) -> None:
        """As ``Driver.post``."""
        if not self.process.alive or self._ended:
            return
        self._inbox.append(event)
        lag = self.world.rng.random() * 0.001
        if self.world.loop.now < self.slow_until:
            lag += self.lag
        self._turn_by(self.world.loop.now + lag)

    def _turn_by(self, time: float) -> None:
        if time < self._turn_at:
            self._turn_at = time
            self.world.loop.at(time, partial(self._turn, time))

    def _turn(self, time: float) -> None:
        """As one turn of ``Driver.run``."""
        if time != self._turn_at or not self.process.alive or self._ended:
            return
        if self.process.frozen_until > self.world.loop.now:
            self._turn_at = self.process.frozen_until
            self.world.loop.at(self._turn_at, partial(self._turn, self._turn_at))
            return
        self._turn_at = float("inf")
        at = self.instant()
        try:
            if not self._inbox or at.mono - self._ticked_at >= self.world.plan.limits.tick:
                self._ticked_at = at.mono
                self._handle([Tick()], at)
                self.world.laws.ticked(self, at)
                self.world.promises.ticked(self, at)
            left = len(self._inbox)
            while left > 0:
                events = next_events(self._inbox, self.world.plan.turn_events)
                left -= len(events)
                for event in events:
                    self.world.handles(self, event, at)
                self._handle(events, at)
                self.world.promises.ended(self)
        except (OwnerThreadError, KafkaException) as problem:
            self.trace(f"ends: {problem!r}")
            self.world.exited(self)
            return
        self.fetch_budget = self.core.fetch_budget
        self.world.laws.turned(self)
        self._turn_again(at)

    def _handle(self, events: Sequence[Event], at: Instant) -> None:
        commands: Sequence[Command] = ()
        try:
            commands = self.core.handle(events, at)
        finally:
            if self.recorder is not None:
                self.recorder.record(events, at, commands)
        self._carry_out(commands)

    def _turn_again(self, at: Instant) -> None:
        """At the next tick, or when the core has something to do."""
        if self._ended:
            return
        busy = bool(self.core._pressure.records or self.core._admission._unconfirmed or self.core._clock.troubles)
        tick = CALM_TICK_SECONDS if self.world.calm else self.world.plan.limits.tick
        due = at.mono + (tick if busy else IDLE_TICK_SECONDS)
        wake = self.core.wake_at(at)
        self._turn_by(due if wake is None else min(due, max(wake, at.mono + 0.001)))

    def instant(self) -> Instant:
        """Now, for the core."""
        return Instant(self.world.loop.now, WALL + self.world.loop.now)

    def _carry_out(self, commands: Sequence[Command]) -> None:
        for command in commands:
            if self.world.tracing and not isinstance(command, ConfirmDirectory):
                self.trace(_told(command))
            self._execute(command)
        if commands and self.source._requests:
            self.source._consumer.wake.give()

    def _execute(self, command: Command) -> None:  # noqa: C901 - one case for each command
        match command:
            case StartCall():
                self.world.call(self, command)
            case Commit():
                self.world.promises.cut(self, command)
                self.sink.commit(command)
            case Pause(partitions):
                self.world.promises.paused(self, partitions)
                self.source.pause(partitions)
            case Resume(partitions):
                self.source.resume(partitions)
            case Drained(partitions):
                self.source.drained(partitions)
            case Reload():
                self.source.reload(command)
            case Reread():
                self.source.reread(command)
            case ReportIgnoredMap():
                pass  # which is for people
            case ConfirmDirectory(asked_at):
                self.world.confirm_directory(self, asked_at)
            case LookUpSchema(reference):
                self.world.look_up_schema(self, reference)
            case Stopped():
                self._halt()

    @property
    def known_version(self) -> int | None:
        """Of the directory that was handed over last."""
        return self._known_version

    @known_version.setter
    def known_version(self, version: int | None) -> None:
        self._known_version = version


def _keep_in(lines: list[str]) -> Write:
    def write(line: str) -> bool:
        lines.append(line)
        return True

    return write


def _told(command: Command) -> str:
    if isinstance(command, Commit):
        parts = ", ".join(
            f"{part.partition}@{part.offset} e{part.epoch} outcomes {[each.record.offset for each in part.outcomes]}"
            for part in command.partitions
        )
        return f"Commit {command.number}: {parts}"
    if isinstance(command, StartCall):
        return f"StartCall {command.call_id} {command.specification.name}: {dict(command.products)}"
    return str(command)
