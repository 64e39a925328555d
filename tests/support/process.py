"""A child process whose output is kept in a file."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.support.parts import wait_until


class ChildProcess:
    """A program that can be started again and again, signalled, and whose output is appended to one file.

    It runs in a process group of its own, so that an interrupt on the terminal reaches the tests alone and
    they end it in order. ``user`` is the account to run as, where the tests run as root.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
        user: str | None = None,
    ) -> None:
        self.arguments = list(arguments)
        self.log = log
        self._environment = None if environment is None else dict(environment)
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id while it runs or once it has ended."""
        return self._started.pid

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """``None`` while it runs; negative: the signal that ended it."""
        return self._started.poll()

    def start(self) -> None:
        """Start it; returns at once."""
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self.arguments,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment,
                user=self._user,
                cwd=self.log.parent,
                process_group=0,
            )

    def wait_ready(self, ready: Callable[[], bool], *, timeout: float) -> None:
        """Wait until ``ready``; an early end of the process is an error that shows its last words."""

        def ready_or_ended() -> bool:
            return not self.running or ready()

        wait_until(ready_or_ended, timeout=timeout, what=f"{Path(self.arguments[0]).name} is ready, see {self.log}")
        if not self.running:
            raise RuntimeError(f"{self.arguments[0]} ended with {self.exit_code}:\n{self.output()[-4000:]}")

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        os.kill(self.pid, number)

    def wait(self, timeout: float) -> int:
        """Wait for the end; the exit code. Raises :class:`subprocess.TimeoutExpired`."""
        return self._started.wait(timeout)

    def end(self, number: signal.Signals = signal.SIGTERM, *, grace: float = 30) -> None:
        """Signal it and wait for the end; what is still there after ``grace`` seconds is killed."""
        if not self.running:
            return
        self.send(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(grace)
            return
        self.send(signal.SIGKILL)
        self.wait(10)

    def output(self) -> str:
        """All that it has printed, over all its lives."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    @property
    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError(f"{self.arguments[0]} was never started")
        return self._process
