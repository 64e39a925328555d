"""The thread that exports spans. Whoever offers them never waits: what does not fit into its queue is dropped, counted.

A collector that is down, slow or hangs therefore costs the requests nothing.
"""

import logging
import threading
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from consumer.adapters.observability.spans import Span

CHECK_COLLECTOR: Final = "Check the collector, or correct OTEL_EXPORTER_OTLP_ENDPOINT if this is not its address."

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class QueuePolicy:
    """Numbers of the queue; those of OpenTelemetry's own batch processor go by the same names (``OTEL_BSP_*``)."""

    max_queue_size: int = 10_000
    """Spans that wait: what a few large transactions publish at once. A span takes about 2 KB."""
    max_export_batch_size: int = 512
    """Spans of one export, which is begun as soon as so many wait; OpenTelemetry's default."""
    schedule_delay: float = 5.0
    """Seconds after which fewer are exported; OpenTelemetry's default."""


class SpanFate(StrEnum):
    """What became of a span, as a label of metrics."""

    EXPORTED = "exported"
    DROPPED = "dropped"
    """The queue was full."""
    FAILED = "failed"
    """The collector refused it, or did not answer."""


class Exporter(Protocol):
    """The way to a collector."""

    @property
    def destination(self) -> str:
        """Address, without credentials."""
        ...

    def export(self, spans: Sequence[Span], /) -> str | None:
        """Send spans; return why the collector does not have them. May take as long as its timeout."""
        ...

    def close(self) -> None:
        """Give up what is being sent, as far as possible at once."""
        ...


class SpanQueue:
    """A bounded queue of spans and the thread that empties it. ``offer`` and ``counts`` are for any thread."""

    def __init__(self, exporter: Exporter, policy: QueuePolicy) -> None:
        self._exporter = exporter
        self._policy = policy
        self._waiting: deque[Span] = deque()
        self._lock = threading.Lock()
        self._awake = threading.Event()
        self._closing = threading.Event()
        self._counts: Counter[SpanFate] = Counter()
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="spans", daemon=True)

    def start(self) -> None:
        """Begin to export."""
        self._thread.start()

    def offer(self, spans: Sequence[Span]) -> None:
        """Take spans as long as there is room, and drop the others; returns at once."""
        with self._lock:
            room = self._policy.max_queue_size - len(self._waiting)
            self._waiting.extend(spans[:room])
            waiting, dropped = len(self._waiting), max(0, len(spans) - room)
            self._counts[SpanFate.DROPPED] += dropped
        if waiting >= self._policy.max_export_batch_size:
            self._awake.set()
        if dropped:
            _log.warning("Spans are dropped: they come faster than %s takes them.", self._exporter.destination)

    def counts(self) -> Mapping[SpanFate, int]:
        """Return the number of spans by what became of them."""
        return dict(self._counts)

    def close(self, timeout: float) -> bool:
        """Export what waits, for at most ``timeout`` seconds; ``False``: some of it was lost."""
        self._closing.set()
        self._awake.set()
        self._thread.join(timeout)
        if self._thread.is_alive():
            self._exporter.close()
            return False
        return True

    def _run(self) -> None:
        while not self._closing.is_set():
            self._awake.wait(self._policy.schedule_delay)
            self._awake.clear()
            self._export_waiting()
        self._export_waiting()
        self._exporter.close()

    def _export_waiting(self) -> None:
        while batch := self._next_batch():
            self._export(batch)

    def _next_batch(self) -> list[Span]:
        with self._lock:
            most = min(len(self._waiting), self._policy.max_export_batch_size)
            return [self._waiting.popleft() for _ in range(most)]

    def _export(self, batch: Sequence[Span]) -> None:
        try:
            reason = self._exporter.export(batch)
        except Exception as problem:  # noqa: BLE001 - spans must not end the thread, whatever a library raises
            reason = f"the exporter failed ({type(problem).__name__})"
        with self._lock:
            self._counts[SpanFate.EXPORTED if reason is None else SpanFate.FAILED] += len(batch)
        if reason is not None and not self._failing:
            _log.warning("%s", _cannot_export(self._exporter.destination, reason))
        elif reason is None and self._failing:
            _log.info("Spans are exported to %s again.", self._exporter.destination)
        self._failing = reason is not None


def _cannot_export(destination: str, reason: str) -> str:
    port = " 4317 is usually the port for gRPC: HTTP has 4318." if destination.split("/")[2].endswith(":4317") else ""
    return (
        f"Spans cannot be exported to {destination} ({reason}). They are lost; requests are answered as ever. "
        f"{CHECK_COLLECTOR}{port}"
    )
