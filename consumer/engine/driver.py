"""Driver: the asyncio loop that passes events to the core and carries out its commands.

The loop has one thread. Other threads hand events over with ``post``; commands go out through the ports.
"""

import asyncio
import contextlib
import logging
import time
import traceback
from collections import deque
from collections.abc import Callable, Coroutine, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeAlias

from consumer.domain.calls import CallFailure, CallOutcome
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
from consumer.engine.events import (
    CallFinished,
    DirectoryConfirmed,
    DirectoryUnavailable,
    Event,
    Fetched,
    SchemaFound,
    SchemaMissing,
    SchemaUnavailable,
    ThreadFailed,
    Tick,
)
from consumer.engine.ports import (
    DirectorySource,
    MiraklCalls,
    OutcomeSink,
    RecordSource,
    SchemaSource,
    SourceError,
)
from consumer.engine.status import EngineStatus, FetchBudget

CallObserver: TypeAlias = Callable[[CallOutcome, float, StartCall], None]
EventRecorder: TypeAlias = Callable[[Sequence[Event], Instant, Sequence[Command]], None]
"""Called with the events of each turn after they were handled, their time, and the commands that came out."""

_log = logging.getLogger(__name__)


_MOST_DIRECTORY_READS: Final = 2
"""One that runs, and one that waits for it; beyond, none is asked for from outside of the core."""


def now() -> Instant:
    """Return the time of both clocks of this machine, monotonic and wall, in seconds. The core gets no other."""
    return Instant(time.monotonic(), time.time())


def next_events(inbox: deque[Event], most: int) -> list[Event]:
    """Take the events of the next turn: those that wait, ``most`` at most, up to the first that may take long.

    The asyncio loop stands still during a turn. What may take long are records, and calls that fail: each has its
    client's queue searched for requests that are too late. The end of a thread has a turn of its own, so that the
    commands that follow from earlier events are carried out.
    """
    events: list[Event] = []
    while inbox and len(events) < most:
        event = inbox[0]
        if events and isinstance(event, ThreadFailed):
            break
        events.append(inbox.popleft())
        if isinstance(event, Fetched) and event.records:
            break
        if isinstance(event, CallFinished) and isinstance(event.outcome, CallFailure):
            break
    return events


class Driver:
    """Drives one core. ``post`` may be called from any thread, all other methods only from the loop's."""

    def __init__(
        self,
        core: Core,
        calls: MiraklCalls,
        directory: DirectorySource,
        schemas: SchemaSource,
        observe_call: CallObserver = lambda *_: None,
        record: EventRecorder | None = None,
    ) -> None:
        self._core = core
        self._calls = calls
        self._directory = directory
        self._schemas = schemas
        self._observe_call = observe_call
        self._record = record
        self._inbox: deque[Event] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._awake = asyncio.Event()
        self._stopped = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._database_thread = ThreadPoolExecutor(1, "directory")
        self._known_version: int | None = None
        self._directory_reads = 0
        """Reads of the directory that wait or run."""
        self._status_at = float("-inf")
        self._served = False
        """As ``status`` shows it; a change is shown at once, since a start or a deployment waits for it."""
        self.source: RecordSource
        self.sink: OutcomeSink
        self.status: EngineStatus = core.status(now())
        """As of the last ``status_interval``; may be read from any thread."""
        self.fetch_budget = FetchBudget(0)
        """The current fetch budget; may be read from any thread."""
        self.progress_at = time.monotonic()
        """Monotonic time of the loop's last turn, in seconds; may be read from any thread."""

    def connect(self, source: RecordSource, sink: OutcomeSink) -> None:
        """Set the two Kafka threads that carry out commands; to be called once, before ``run``."""
        self.source, self.sink = source, sink

    # -- for other threads -----------------------------------------------------------------------------

    def post(self, event: Event) -> None:
        """Hand an event over to the loop and return at once. Callable on any thread."""
        self._inbox.append(event)
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has closed: nobody waits for events any more
                loop.call_soon_threadsafe(self._awake.set)

    def renew_directory(self) -> None:
        """Have the directory read soon, without waiting for the core to ask. Callable on any thread."""
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has closed
                loop.call_soon_threadsafe(self._read_directory)

    def _read_directory(self) -> None:
        """Read the directory, unless a read waits for another: it will see what is new."""
        if self._directory_reads < _MOST_DIRECTORY_READS and not self._stopped.is_set():
            self._spawn(self._confirm_directory(now().mono))

    # -- the loop --------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Handle events until the core has stopped or ``halt`` was called.

        Runs on the asyncio loop, once. Raises what an event or a task raised that nobody expected.
        """
        self._loop = asyncio.get_running_loop()
        policy, tick_at = self._core.policy, float("-inf")
        try:
            while not self._stopped.is_set():
                await self._wait()
                self._awake.clear()
                at = now()
                self.progress_at = at.mono
                if not self._inbox or at.mono >= tick_at:
                    self._handle([Tick()], at)
                    took = now().mono - at.mono
                    tick_at = at.mono + min(policy.tick_longest, max(policy.tick, took / policy.tick_share))
                else:
                    self._handle(next_events(self._inbox, policy.turn_events), at)
                self._publish(at)
                await asyncio.sleep(0)  # calls and answers have their turn between two lists of records
        finally:
            await self._close()

    def halt(self) -> None:
        """End the loop at once; for a stop that takes too long. Uncommitted work will be redelivered."""
        self._stopped.set()
        self._awake.set()

    def _handle(self, events: Sequence[Event], at: Instant) -> None:
        commands: Sequence[Command] = ()
        try:
            commands = self._core.handle(events, at)
        finally:  # the events that show a defect are worth most in a trace
            if self._record is not None:
                self._record(events, at, commands)
        for command in commands:
            self._execute(command)

    async def _wait(self) -> None:
        """Wait until there is an event, or something is due."""
        if self._inbox:
            return
        at = now()
        tick, due = self._core.policy.tick, self._core.wake_at(at)
        wait = tick if due is None else min(tick, max(self._core.policy.shortest_wait, due - at.mono))
        try:
            async with asyncio.timeout(wait):
                await self._awake.wait()
        except TimeoutError:
            pass

    def _publish(self, at: Instant) -> None:
        self.fetch_budget = self._core.fetch_budget
        serves = self._core.serves
        if at.mono - self._status_at >= self._core.policy.status_interval or serves is not self._served:
            self._status_at, self._served = at.mono, serves
            self.status = self._core.status(at)

    async def _close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._database_thread.shutdown(wait=False, cancel_futures=True)

    # -- commands --------------------------------------------------------------------------------------

    def _execute(self, command: Command) -> None:  # noqa: C901 - one case for each command
        match command:
            case StartCall():
                self._spawn(self._call(command))
            case Commit():
                self.sink.commit(command)
            case Pause(partitions):
                self.source.pause(partitions)
            case Resume(partitions):
                self.source.resume(partitions)
            case Drained(partitions):
                self.source.drained(partitions)
            case Reload():
                self.source.reload(command)
            case Reread():
                self.source.reread(command)
            case ReportIgnoredMap(partition, offset, reason):
                _log.warning(
                    "partition %d: the progress map committed with offset %d is ignored (%s), so what only it marks as "
                    "answered is answered again. Check that no other program commits offsets for this group.",
                    partition,
                    offset,
                    reason,
                )
            case ConfirmDirectory(asked_at):
                self._spawn(self._confirm_directory(asked_at))
            case LookUpSchema(reference):
                self._spawn(self._look_up_schema(reference))
            case Stopped():
                self._stopped.set()

    def _spawn(self, coroutine: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        """Have the loop raise the exception of a task, which ends the process."""
        self._tasks.discard(task)
        if not task.cancelled() and (problem := task.exception()) is not None:
            self.post(ThreadFailed(problem))

    async def _call(self, command: StartCall) -> None:
        started = time.monotonic()
        try:
            outcome = await self._calls.synchronize(command.specification, command.products)
        except Exception as problem:  # noqa: BLE001 - law 10: whatever one call raises is the outcome of that call
            outcome = CallFailure(
                f"the call failed in this program ({_told('a CM21 call', problem)})", may_have_reached=True
            )
        self._observe_call(outcome, time.monotonic() - started, command)
        self.post(CallFinished(command.call_id, outcome))

    async def _confirm_directory(self, asked_at: float) -> None:
        loop = asyncio.get_running_loop()
        self._directory_reads += 1
        try:
            directory = await loop.run_in_executor(self._database_thread, self._directory.read, self._known_version)
        except SourceError as trouble:
            self.post(DirectoryUnavailable(str(trouble)))
            return
        except Exception as problem:  # noqa: BLE001 - law 10: a trouble of ours that closes the intake and ends nothing
            unexpected = f"The database could not be read ({_told('reading the database', problem)}). See the log."
            self.post(DirectoryUnavailable(unexpected))
            return
        finally:
            self._directory_reads -= 1
        if directory is not None:
            self._known_version = directory.version
        self.post(DirectoryConfirmed(asked_at, directory))

    async def _look_up_schema(self, reference: Hashable) -> None:
        try:
            found = await self._schemas.learn(reference)
        except SourceError as trouble:
            self.post(SchemaUnavailable(reference, str(trouble)))
            return
        except Exception as problem:  # noqa: BLE001 - law 10: a trouble of ours that holds up its own records only
            unexpected = f"A schema could not be looked up ({_told('a schema look-up', problem)}). See the log."
            self.post(SchemaUnavailable(reference, unexpected))
            return
        self.post(SchemaFound(reference) if found else SchemaMissing(reference))


def _told(what: str, problem: Exception) -> str:
    """Log an unexpected exception, and return its type.

    Neither its text nor its values are logged, since they may hold a credential. Type and place are enough to find it.
    """
    kind = type(problem).__name__
    frames = traceback.extract_tb(problem.__traceback__)
    place = " < ".join(f"{Path(each.filename).name}:{each.lineno} {each.name}" for each in frames[-1:-6:-1])
    _log.error("%s failed unexpectedly: %s at %s", what, kind, place)
    return kind
