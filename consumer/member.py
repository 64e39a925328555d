"""One process of a replica of several: its tie to the parent, ``processes``."""

import contextlib
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from consumer.domain.quota_plan import QuotaPlan, QuotaReport
from consumer.domain.share import Share
from consumer.engine.status import EngineStatus


@dataclass(frozen=True, slots=True)
class ReportPolicy:
    """Times of the reports to the parent, in seconds."""

    interval: float = 0.25
    """Between two reports, and between two statuses of the engine."""
    remembered: float = 1.5
    """A client whose requests waited so long ago still counts, so that short pauses move no quota."""
    settles: float = 1.0
    """After a change of its partitions a process counts as one that has work for every client."""


POLICY: Final = ReportPolicy()

_log = logging.getLogger(__name__)


class Parent:
    """The parent as its process sees it: stops the process when it ends, and divides the quotas of the replica.

    No other failure here ends or delays the service: it keeps its share as it is.
    """

    def __init__(self, connection: socket.socket, share: Share) -> None:
        self._connection = connection
        self._share = share
        self._renew: Callable[[], None] = lambda: None
        threading.Thread(target=self._listen, name="parent", daemon=True).start()

    def share(self) -> Share:
        """Return the current share of the quotas. Callable on any thread."""
        return self._share

    def report(self, admin_port: int, status: Callable[[], EngineStatus], renew: Callable[[], None]) -> None:
        """Report the port of the admin server, and then, until the end, what the quotas' division depends on.

        ``renew`` has the engine take over a share that has changed.
        """
        self._renew = renew
        threading.Thread(target=self._report, args=(admin_port, status), name="reports", daemon=True).start()

    def _listen(self) -> None:
        """Take plans over until the connection ends, which is when the parent has ended."""
        with contextlib.suppress(OSError), self._connection.makefile("rb") as plans:
            for line in plans:
                try:
                    self._share = replace(self._share, plan=QuotaPlan.read(line))
                except ValueError:  # cut off by the parent's end
                    _log.warning("A plan of the quotas could not be read.")
                else:
                    self._renew()
        os.kill(os.getpid(), signal.SIGTERM)

    def _report(self, admin_port: int, status: Callable[[], EngineStatus]) -> None:
        work = RecentWork()
        with contextlib.suppress(OSError):
            self._connection.sendall(b"%d\n" % admin_port)
            while True:
                self._connection.sendall(work.report(status()).line())
                time.sleep(POLICY.interval)


class RecentWork:
    """The client specifications whose requests have waited for a call of late."""

    def __init__(self) -> None:
        self._worked_at: dict[str, float] = {}
        """Id -> monotonic time in seconds."""
        self._partitions: frozenset[int] | None = None
        """Those that are assigned; ``None`` before the process has joined its group."""
        self._settled_at = float("inf")
        """Monotonic time in seconds."""

    def report(self, status: EngineStatus) -> QuotaReport:
        """Return the report for a newer status."""
        now, lanes = status.taken_at, status.lanes
        known = self._worked_at | {lane.client_specification_id: now for lane in lanes if lane.depth}
        self._worked_at = {id_: at for id_, at in known.items() if now - at <= POLICY.remembered}
        partitions = frozenset(status.window_used) if status.joined else None
        if partitions != self._partitions:
            self._partitions = partitions
            self._settled_at = float("inf") if partitions is None else now + POLICY.settles
        exceeding = (lane.client_specification_id for lane in lanes if lane.calls_out > lane.calls_allowed)
        return QuotaReport(
            status.quota_plan, frozenset(self._worked_at), frozenset(exceeding), settled=now >= self._settled_at
        )
