"""Programs that a run measures: bare loops, a peer, or the service with one replica or two."""

import contextlib
import http.client
import signal
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.bench.procfs import ProcessGroup
from tests.support.process import ChildProcess
from tests.support.service import Service, environment
from tests.support.topics import Topics

PROBE_SECONDS = 0.2
JOINS_SECONDS, LEAVES_SECONDS = 3.0, 8.0
"""After the first result: when a second replica is started, and when it is told to stop."""


class Program(Protocol):
    """What is measured."""

    processes: ProcessGroup
    moments: dict[str, float]
    """What was done to it meanwhile, and how many seconds after the first result."""

    @property
    def pid(self) -> int: ...

    @property
    def running(self) -> bool: ...

    def start(self) -> None: ...

    def is_ready(self) -> bool: ...

    def go_on(self, seconds: float) -> None: ...

    def kill(self) -> None: ...

    def output(self) -> str: ...


class SideBySide:
    """Processes of one program that share the partitions, started and killed together."""

    def __init__(self, processes: Iterable[ChildProcess]) -> None:
        self.moments: dict[str, float] = {}
        self._processes = list(processes)

    @property
    def pid(self) -> int:
        return self._processes[0].pid

    @property
    def running(self) -> bool:
        return all(each.running for each in self._processes)

    def start(self) -> None:
        for each in self._processes:
            each.start()
        self.processes = ProcessGroup(*(each.pid for each in self._processes))

    def is_ready(self) -> bool:
        return False

    def go_on(self, seconds: float) -> None:
        pass

    def kill(self) -> None:
        for each in self._processes:
            each.end(signal.SIGKILL)

    def output(self) -> str:
        return "\n".join(each.output() for each in self._processes)


def bare_loops(bootstrap: str, folder: Path, topics: Topics, processes: int, *, headers: bool) -> SideBySide:
    """One bare loop, or several that share the partitions; none is started."""
    arguments = ["--bootstrap", bootstrap, "--group", topics.group]
    arguments += ["--requests", topics.requests, "--results", topics.results, *(["--headers"] if headers else [])]
    return SideBySide(
        ChildProcess(
            [sys.executable, "-m", "tests.bench.bare", *arguments, "--share", str(number), str(processes)],
            log=folder / f"{topics.group}-{number}.log",
            environment=environment({}),
        )
        for number in range(processes)
    )


@dataclass(slots=True)
class _Step:
    """Something that is done to the replicas once, at its time."""

    name: str
    after_seconds: float
    act: Callable[[], None]


class Replicas:
    """The service: one replica, and with ``rebalance`` a second one that joins and leaves."""

    def __init__(self, make: Callable[[str], Service], name: str, *, rebalance: bool) -> None:
        """``make``: a service of this name, not started."""
        self.moments: dict[str, float] = {}
        self._first, self._second = make(name), make(f"{name}-second")
        self._ready = _Ready(self._first.admin_port)
        self._told_to_leave = False
        steps = [_Step("joins", JOINS_SECONDS, self._join), _Step("leaves", LEAVES_SECONDS, self._leave)]
        self._steps = steps if rebalance else []

    @property
    def pid(self) -> int:
        return self._first.pid

    @property
    def running(self) -> bool:
        """A second replica that was told to leave may have ended, in order."""
        if "joins" not in self.moments or self._second.running:
            return self._first.running
        return self._first.running and self._told_to_leave and self._second.wait_end() == 0

    def start(self) -> None:
        self._first.start()
        self.processes = ProcessGroup(self._first.pid)

    def is_ready(self) -> bool:
        return self._ready()

    def go_on(self, seconds: float) -> None:
        """Do what is due so many seconds after the first result."""
        while self._steps and seconds >= self._steps[0].after_seconds:
            step = self._steps.pop(0)
            step.act()
            self.moments[step.name] = seconds

    def kill(self) -> None:
        self.processes.kill()
        for each in (self._first, self._second):
            each.kill()

    def output(self) -> str:
        return self._first.output() + self._second.output()

    def _join(self) -> None:
        self._second.start()
        self.processes.add(self._second.pid)

    def _leave(self) -> None:
        self._told_to_leave = True
        with contextlib.suppress(ProcessLookupError):
            self._second.signal(signal.SIGTERM)


class _Ready:
    """Asks ``/readyz``, at less cost than an HTTP library that is made for more."""

    def __init__(self, port: int) -> None:
        self._port = port

    def __call__(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PROBE_SECONDS)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
