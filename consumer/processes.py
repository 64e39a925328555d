"""One replica that consists of several processes: a small parent starts them, watches them, and answers for them.

Each process is a member of the consumer group, with its own instance id (``<id>-0``, ``<id>-1``, ...). The parent reads
no request, and imports no part that would. It passes stop signals on, restarts a process that has ended, serves one
admin address, and divides the quotas. A process ends when its parent does (``member``).
"""

import contextlib
import json
import logging
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from typing import BinaryIO, Final, NoReturn

from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from consumer.domain.quota_division import QuotaDivision
from consumer.domain.quota_plan import QuotaPlan, QuotaReport
from schemas.process.health import AdminServer, Liveness
from schemas.process.logs import Logs
from schemas.process.signals import StopSignals
from schemas.settings import Settings

EXIT_STOPPED, EXIT_BROKEN = 0, 1


@dataclass(frozen=True, slots=True)
class ProcessesPolicy:
    """Times in seconds, and the bound on failed starts, of a replica of several processes."""

    first_pause: float = 0.5
    """Before a process that has ended is started again; doubled each time ..."""
    longest_pause: float = 30.0
    """... up to this."""
    steady: float = 60.0
    """A process that has run for so long begins again with the first pause."""
    failed_starts: int = 5
    """In a row, after which the replica gives up with the exit code of the last one."""
    kill_after: float = 5.0
    """Beyond the shutdown time: then a process that has not ended is killed."""
    answer: float = 2.0
    """For the answer of a process to one health check or scrape."""


POLICY: Final = ProcessesPolicy()

_log = logging.getLogger(__name__)


_PROGRAM: Final = __name__.rpartition(".")[0]
"""The package to run with ``-m``: its name depends on how it was installed."""


def run_all(settings: Settings, count: int, environ: Mapping[str, str], signals: StopSignals) -> NoReturn:
    """Run a replica of ``count`` processes until told to stop, then end this process, their parent.

    Raises ``AdminAddressError``.
    """
    logs = Logs(settings.log)
    try:
        command = [sys.executable, "-m", _PROGRAM, "run"]
        code = Processes(settings, count, command, environ).serve(signals)
    finally:
        logs.close()
    os._exit(code)


class Quotas:
    """The division of the replica's quotas, for the threads of all members."""

    def __init__(self, processes: int) -> None:
        self._division = QuotaDivision(processes)
        self._lock = threading.Lock()

    def started(self, process: int) -> QuotaPlan:
        """Note that a process has started; return its first plan."""
        with self._lock:
            return self._division.started(process)

    def reported(self, process: int, report: QuotaReport) -> QuotaPlan:
        """Take a report of a process; return the newest plan."""
        with self._lock:
            return self._division.reported(process, report)

    def ended(self, process: int) -> None:
        """Note that a process has ended."""
        with self._lock:
            self._division.ended(process)


class Member:
    """One process of the replica, which is started again with growing pauses when it ends by itself."""

    def __init__(self, number: int, command: Sequence[str], environ: Mapping[str, str], quotas: Quotas) -> None:
        self.number = number
        self.admin_port: int | None = None
        """Port of its admin server on the loopback address; ``None`` until it has started."""
        self.failed_starts = 0
        self.restart_at: float | None = None
        """Monotonic time of its next start, in seconds; ``None`` while it runs."""
        self._command = command
        self._environ = environ
        self._quotas = quotas
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._pause = POLICY.first_pause

    def start(self, on_end: Callable[["Member", int], None]) -> None:
        """Start it; ``on_end`` is called with the exit code, on a thread of its own."""
        ours, its = socket.socketpair()
        with its:
            command = [*self._command, "--parent", str(its.fileno())]
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                command, env=self._environ, pass_fds=[its.fileno()], process_group=0
            )
        self._started_at, self.restart_at = time.monotonic(), None
        watch = threading.Thread(target=self._watch, args=(self._process, ours, on_end), daemon=True)
        watch.start()

    def _watch(
        self, process: "subprocess.Popen[bytes]", connection: socket.socket, on_end: Callable[["Member", int], None]
    ) -> None:
        with connection, connection.makefile("rb") as lines:
            with self._outliving_defects(), contextlib.suppress(ValueError, OSError):  # ended in the middle of a line
                self._exchange(connection, lines)
            code = process.wait()
            with self._outliving_defects():
                self._quotas.ended(self.number)
        on_end(self, code)

    @contextlib.contextmanager
    def _outliving_defects(self) -> Iterator[None]:
        """Log a defect of the quotas' division: the process goes on with the part that it has, and is restarted."""
        try:
            yield
        except Exception:  # noqa: BLE001 - a defect of this division must not cost the process
            _log.exception("process %d: the quotas can no longer be divided", self.number)

    def _exchange(self, connection: socket.socket, lines: BinaryIO) -> None:
        """Read what the process reports until it ends, and answer with plans.

        Plans are sent on this thread only, where a process that does not read them holds up nobody else.
        """
        plan = self._quotas.started(self.number)
        connection.sendall(plan.line())
        self.admin_port = int(lines.readline())
        for line in lines:
            former, plan = plan, self._quotas.reported(self.number, QuotaReport.read(line))
            if plan is not former:
                connection.sendall(plan.line())

    def ended(self) -> None:
        """Record that the process has ended, and decide when it is started again."""
        now = time.monotonic()
        self.failed_starts = 0 if self.admin_port is not None else self.failed_starts + 1
        self.admin_port = None
        if now - self._started_at > POLICY.steady:
            self._pause = POLICY.first_pause
        self.restart_at = now + self._pause
        self._pause = min(POLICY.longest_pause, 2 * self._pause)
        self._process = None

    @property
    def running(self) -> bool:
        return self._process is not None

    def send(self, number: signal.Signals) -> None:
        """Send the process a signal, if it runs."""
        process = self._process
        if process is not None:
            process.send_signal(number)

    def get(self, path: str) -> tuple[int, bytes]:
        """Return status and body of one of its admin endpoints. Raises ``OSError`` or ``HTTPException``."""
        if self.admin_port is None:
            raise ConnectionRefusedError("it has not started yet")
        connection = HTTPConnection("127.0.0.1", self.admin_port, timeout=POLICY.answer)
        with contextlib.closing(connection):
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()


class Processes:
    """The parent of a replica's processes: starts and restarts them, and serves their health and metrics as one."""

    def __init__(self, settings: Settings, count: int, command: Sequence[str], environ: Mapping[str, str]) -> None:
        """Prepare the processes; none is started yet.

        ``command`` starts one member; options that say which one are added to it.
        """
        quotas = Quotas(count)
        self._members = [
            Member(
                number,
                [*command, "--share", str(number), str(count)],
                member_environ(settings, environ, number),
                quotas,
            )
            for number in range(count)
        ]
        self._shutdown_timeout = settings.shutdown_timeout
        self._events: queue.SimpleQueue[tuple[Member, int] | None] = queue.SimpleQueue()
        """Members that have ended with their exit codes; ``None``: stop."""
        self._stopping = False
        self._served = False
        """Some process has started once, so the settings cannot be wrong."""
        self._admin = AdminServer(
            settings.admin.host,
            settings.admin.port,
            lambda: Liveness(tuple(self._reasons("/livez", of_starting=False))),
            self._unready_reasons,
            self._render,
            unready_covers_live=True,  # the /readyz of a process does
        )

    def serve(self, signals: StopSignals) -> int:
        """Run until told to stop, or until the processes cannot be started; return the exit code.

        Raises ``AdminAddressError``.
        """
        self._admin.start()
        _log.info("%d processes; health and metrics on port %d", len(self._members), self._admin.port)
        for member in self._members:
            self._start(member)
        signals.on_first(lambda: self._events.put(None), before_exit=self.kill)
        code = self._supervise()
        codes = self._stop()
        return code or (EXIT_BROKEN if any(codes) else EXIT_STOPPED)

    def kill(self) -> None:
        """Kill all processes at once, so that none outlives its parent."""
        for member in self._members:
            member.send(signal.SIGKILL)

    def _start(self, member: Member) -> None:
        member.start(lambda ended, code: self._events.put((ended, code)))

    def _supervise(self) -> int:
        """Restart what ends; return the exit code with which to give up, or 0 once told to stop."""
        while True:
            due = [each.restart_at for each in self._members if each.restart_at is not None]
            pause = max(0.0, min(due) - time.monotonic()) if due else None
            try:
                event = self._events.get(timeout=pause)
            except queue.Empty:
                for each in self._members:
                    if each.restart_at is not None and each.restart_at <= time.monotonic():
                        self._start(each)
                continue
            if event is None:
                return 0
            member, code = event
            member.ended()
            self._served = self._served or not member.failed_starts
            if member.failed_starts >= (POLICY.failed_starts if self._served else 1):
                _log.critical("Process %d cannot be started (exit code %d).", member.number, code)
                return code if code > 0 else EXIT_BROKEN
            _log.error("Process %d has ended with exit code %d. It is started again.", member.number, code)

    def _stop(self) -> list[int]:
        """Stop all processes and wait for them; return their exit codes."""
        self._stopping = True
        running = [each for each in self._members if each.running]
        for each in running:
            each.send(signal.SIGTERM)
        deadline: float | None = time.monotonic() + self._shutdown_timeout + POLICY.kill_after
        codes: list[int] = []
        while len(codes) < len(running):
            try:
                event = self._events.get(timeout=None if deadline is None else max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                self.kill()
                deadline = None
                continue
            if event is not None:
                codes.append(event[1])
        return codes

    # -- health and metrics ----------------------------------------------------------------------------

    def _unready_reasons(self) -> tuple[str, ...]:
        return (*(["The service is stopping."] if self._stopping else []), *self._reasons("/readyz", of_starting=True))

    def _reasons(self, path: str, *, of_starting: bool) -> Iterator[str]:
        """Ask every process. One that is being started is alive as far as anybody can tell, and not ready."""
        for member, answer in self._ask(path):
            if isinstance(answer, Exception):
                if member.admin_port is not None:
                    yield f"process {member.number}: {path} does not answer: {answer}"
                elif of_starting:
                    yield f"process {member.number}: it is being started"
                continue
            status, body = answer
            if status != HTTPStatus.OK:
                yield from (f"process {member.number}: {reason}" for reason in json.loads(body)["reasons"])

    def _render(self, accept: str) -> tuple[str, bytes]:
        """Return all metrics of all processes, with the label ``process``."""
        scraped = {
            member.number: answer[1].decode()
            for member, answer in self._ask("/metrics")
            if not isinstance(answer, Exception) and answer[0] == HTTPStatus.OK
        }
        encode, content_type = choose_encoder(accept)
        return content_type, encode(_Collected(merge_metrics(scraped)))

    def _ask(self, path: str) -> Iterable[tuple[Member, tuple[int, bytes] | Exception]]:
        def ask(member: Member) -> tuple[int, bytes] | Exception:
            try:
                return member.get(path)
            except (OSError, HTTPException) as error:
                return error

        with ThreadPoolExecutor(len(self._members)) as pool:
            return list(zip(self._members, pool.map(ask, self._members), strict=True))


class _Collected(Collector):
    """Metrics that are ready to be written out."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def merge_metrics(scraped: Mapping[int, str]) -> list[Metric]:
    """Merge scrapes (process number -> Prometheus text) into one, with the label ``process`` on every sample."""
    merged: dict[str, Metric] = {}
    for number, text in scraped.items():
        for family in text_string_to_metric_families(text):
            samples = [each._replace(labels={**each.labels, "process": str(number)}) for each in family.samples]
            known = merged.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            known.samples.extend(samples)
    return list(merged.values())


def member_environ(settings: Settings, environ: Mapping[str, str], number: int) -> dict[str, str]:
    """Return the environment of process ``number``: the parent's, with the settings in which the processes differ."""
    own = {"RESYNC_ADMIN__HOST": "127.0.0.1", "RESYNC_ADMIN__PORT": "0", "RESYNC_PROCESSES": "1"}
    if settings.kafka.group_instance_id:
        own["RESYNC_KAFKA__GROUP_INSTANCE_ID"] = f"{settings.kafka.group_instance_id}-{number}"
    if settings.event_trace_file is not None:
        own["RESYNC_EVENT_TRACE_FILE"] = f"{settings.event_trace_file}.{number}"
    replaced = {*own, *(f"{name}_FILE" for name in own)}
    return {name: value for name, value in environ.items() if name not in replaced} | own
