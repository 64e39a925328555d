"""The service as a process of its own."""

import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tests.support.parts import free_port
from tests.support.process import ChildProcess

ROOT = Path(__file__).parents[2]
READY_SECONDS = 60


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """The environment for a program of ours: this one's, without any setting of ours but ``settings``.

    Modules are compiled once, as an installation does it, whatever this environment says: otherwise each start would
    compile all of ours again, a fourth of its instructions.
    """
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("RESYNC_") and name != "PYTHONDONTWRITEBYTECODE"
    }
    return {**inherited, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default", **settings}


class Service:
    """One replica of ``python -m consumer run``. As a context manager it is started, ready, and killed at the end.

    ``settings`` are environment variables with their prefix. Its output is in ``folder``/``name``.log. ``program`` is
    the module to run instead, with its arguments.
    """

    def __init__(
        self,
        settings: Mapping[str, str],
        folder: Path,
        name: str = "service",
        *,
        program: Sequence[str] = ("consumer", "run"),
    ) -> None:
        self.admin_port = free_port()
        self._process = ChildProcess(
            [sys.executable, "-m", *program],
            log=folder / f"{name}.log",
            environment=environment(
                {"RESYNC_ADMIN__HOST": "127.0.0.1", "RESYNC_ADMIN__PORT": str(self.admin_port), **settings}
            ),
        )

    def __enter__(self) -> Self:
        self.start()
        self.wait_ready()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process.running

    def start(self) -> None:
        """Start it, also again after its end; returns at once."""
        self._process.start()

    def wait_ready(self, timeout: float = READY_SECONDS) -> None:
        """Wait until ``/readyz`` answers 200."""
        self._process.wait_ready(lambda: self.status("/readyz") == httpx.codes.OK, timeout=timeout)

    def wait_end(self, timeout: float = 60) -> int:
        """Wait for its end; the exit code."""
        return self._process.wait(timeout)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send(number)

    def terminate(self, timeout: float = 60) -> int:
        """SIGTERM, and wait for the end; the exit code."""
        self._process.send(signal.SIGTERM)
        return self.wait_end(timeout)

    def kill(self) -> None:
        """``kill -9``."""
        self._process.end(signal.SIGKILL)

    def pause(self) -> None:
        """Freeze it, as a machine that is starved would."""
        self._process.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Go on after :meth:`pause`."""
        self._process.send(signal.SIGCONT)

    def get(self, path: str) -> httpx.Response:
        """Ask its health endpoint. Raises :class:`httpx.TransportError` while nothing listens."""
        return httpx.get(f"http://127.0.0.1:{self.admin_port}{path}", timeout=5)

    def status(self, path: str) -> int | None:
        """The HTTP status of ``path``; ``None`` while nothing answers."""
        try:
            return self.get(path).status_code
        except httpx.TransportError:
            return None

    def output(self) -> str:
        """All that it has printed."""
        return self._process.output()

    def log(self) -> list[dict[str, Any]]:
        """Its structured log lines."""
        return [json.loads(line) for line in self.output().splitlines() if line.startswith("{")]
