"""Ends the process when it is stuck, after writing the stacks of all threads.

Nothing inside the program can heal a thread that blocks in C code, a deadlock or a coroutine that never yields, and
ending the process loses nothing: uncommitted work is redelivered. Only progress is watched, never the world around: an
outage of the brokers must not become a crash loop, so a call of the producer has its own, long limit.

Silence is counted in the watchdog's own waking time. Each look adds one interval, however much the clock has moved
since the last one: after SIGSTOP and SIGCONT, on a suspended machine or in a starved container nothing could make
progress, and the watchdog has slept as well.

Stacks come from the interpreter instead of ``faulthandler``: with the names of the threads, and written by a thread of
their own, since a stalled reader of stderr must not keep a stuck process alive. Anything that blocks the whole
interpreter (C code that never releases the GIL) silences the watchdog too; then ``/livez`` does not answer either, and
whoever probes it restarts the process.
"""

import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from schemas.process.policy import PROCESS

EXIT_STUCK: Final = 70
"""Exit code of a process that left because it was stuck (``EX_SOFTWARE`` of sysexits.h)."""

_STDERR: Final = 2


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Something that has to make progress.

    ``last_progress`` returns monotonic seconds of the last progress, or of the start of the operation in progress;
    ``None`` if there is none, which is never too long. It is called on other threads and must not wait.
    """

    name: str
    last_progress: Callable[[], float | None]
    limit_seconds: float


class Watchdog:
    """Thread that ends a process whose owner loop, core or producer call stands still, with a report of all stacks.

    Looks at every heartbeat once an interval. Asks no broker, database or Mirakl: an outage must not become two.
    ``exit_process`` must not return.
    """

    def __init__(
        self,
        heartbeats: Iterable[Heartbeat],
        *,
        interval: float = PROCESS.look_seconds,
        report: Callable[[str], None] | None = None,
        exit_process: Callable[[int], object] = os._exit,
    ) -> None:
        self._accounts = [_Account(heartbeat) for heartbeat in heartbeats]
        self._interval = interval
        self._report = report or write_to_stderr
        self._exit_process = exit_process
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()

    def look(self) -> None:
        """Look once: a heartbeat without progress since the last look has been silent for one interval more."""
        for account in self._accounts:
            if account.silence_after(self._interval) > account.heartbeat.limit_seconds:
                self._leave(account)
                return

    def _run(self) -> None:
        while not self._stopped.wait(self._interval):
            self.look()

    def _leave(self, account: "_Account") -> None:
        try:
            self._report(
                f"watchdog: {account.heartbeat.name}: no progress for {account.silence:.0f} s "
                f"(limit {account.heartbeat.limit_seconds:g} s). Leaving with exit code {EXIT_STUCK}; "
                f"nothing uncommitted is lost. Stacks of all threads:\n{thread_stacks()}"
            )
        finally:
            self._exit_process(EXIT_STUCK)


class _Account:
    """Silence of a heartbeat, in seconds of the watchdog's waking time."""

    def __init__(self, heartbeat: Heartbeat) -> None:
        self.heartbeat = heartbeat
        self.silence = 0.0
        self._seen: float | None = None

    def silence_after(self, interval: float) -> float:
        progress = self.heartbeat.last_progress()
        silent = progress is not None and progress == self._seen
        self.silence = self.silence + interval if silent else 0.0
        self._seen = progress
        return self.silence


def thread_stacks() -> str:
    """Return the stack of every Python thread as text: source lines only, never values, which may be secret."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return "\n".join(
        f"Thread {names.get(ident, 'unknown')} ({ident}):\n{''.join(traceback.format_stack(frame))}"
        for ident, frame in sys._current_frames().items()  # noqa: SLF001 - the documented way to see other threads
    )


def write_to_stderr(text: str) -> None:
    """Write to stderr past all buffers and locks, which a stuck thread may hold; give up if nobody reads."""
    data = memoryview(text.encode(errors="backslashreplace"))
    writer = threading.Thread(target=_write_all, args=(data,), name="watchdog-report", daemon=True)
    writer.start()
    writer.join(PROCESS.report_seconds)


def _write_all(data: memoryview) -> None:
    while data:
        data = data[os.write(_STDERR, data) :]
