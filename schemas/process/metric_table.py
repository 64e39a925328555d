"""Metrics for Prometheus, declared as rows of a table: what dashboards query, what documents list, what a scrape reads.

Most rows are *read*: at a scrape the program's status is asked for once and turned into samples, so that counting costs
the program an integer and nothing else. What a snapshot cannot hold, such as how long each call took, is *observed* as
it happens.
"""

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeAlias, TypeVar

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

Samples: TypeAlias = Iterable[tuple[tuple[str, ...], float]]
"""Label values in the order of the row's labels, and the value."""

Status = TypeVar("Status")
Other = TypeVar("Other")


@dataclass(frozen=True, slots=True)
class Row:
    """One metric as dashboards and alerts know it: name, labels, unit and help text. Names are part of the contract."""

    name: str
    """As it is queried; a histogram adds ``_bucket``, ``_sum`` and ``_count``."""
    labels: tuple[str, ...]
    unit: str
    help: str


@dataclass(frozen=True)  # no slots: a generic class with both cannot be called with its parameter on Python 3.11
class ReadRow(Row, Generic[Status]):
    """Read off a program's status; ``read`` also takes the time of the scrape, in monotonic seconds.

    A name that ends in ``_total`` is a counter, any other a gauge.
    """

    read: Callable[[Status, float], Samples]


@dataclass(frozen=True, slots=True)
class ObservedRow(Row):
    """A histogram of values observed one by one; ``buckets`` are the upper bounds, in the row's unit."""

    buckets: tuple[float, ...]


BUILD_INFO: Final = Row(
    "resync_build_info", ("version", "python", "librdkafka"), "", "Always 1; the labels say what is running."
)


class MetricTable(Generic[Status]):
    """The metrics of one process, in a registry of their own.

    ``status`` is called once a scrape, on the scraper's thread, and must not wait.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        status: Callable[[], Status],
        clock: Callable[[], float],
        *,
        version: str,
        librdkafka: str,
    ) -> None:
        self._registry = CollectorRegistry()
        self._clock = clock
        self._histograms: dict[str, Histogram] = {}
        self.add(rows, status)
        ProcessCollector(registry=self._registry)
        self._registry.register(_BuildInfo(version, platform.python_version(), librdkafka))

    def add(self, rows: Sequence[Row], status: Callable[[], Other]) -> None:
        """Add the rows of a further part of the program, which has a status of its own."""
        read = [row for row in rows if isinstance(row, ReadRow)]
        self._registry.register(_StatusCollector(read, status, self._clock))
        for row in rows:
            if isinstance(row, ObservedRow):
                self._histograms[row.name] = Histogram(
                    row.name, row.help, row.labels, registry=self._registry, buckets=row.buckets
                )

    def histogram(self, row: ObservedRow) -> Histogram:
        """Return the histogram of a row. Its ``observe`` may be called on any thread."""
        return self._histograms[row.name]

    def render(self, accept: str = "") -> tuple[str, bytes]:
        """Content type and body of a scrape, in the format that the ``Accept`` header asks for."""
        encode, content_type = choose_encoder(accept)
        return content_type, encode(self._registry)


def one(value: float) -> Samples:
    return [((), value)]


def by_label(known: Iterable[str], counted: Mapping[str, int]) -> Samples:
    """Return a series from the start for every known label, or ``increase()`` would miss the first event."""
    return [((label,), count) for label, count in {**dict.fromkeys(known, 0), **counted}.items()]


def markdown_table(rows: Sequence[Row]) -> str:
    """Return the table of metrics for docs/operate/metrics.md; a test holds the document to it."""
    lines = ["| metric | type | labels | unit | |", "|---|---|---|---|---|"]
    for row in rows:
        kind = "histogram" if isinstance(row, ObservedRow) else _family(row).type
        labels = ", ".join(f"`{label}`" for label in row.labels)
        lines.append(f"| `{row.name}` | {kind} | {labels} | {row.unit} | {row.help} |")
    return "\n".join(lines) + "\n"


class _StatusCollector(Collector, Generic[Status]):
    """Turns one status into the samples of all read rows."""

    def __init__(
        self, rows: Sequence[ReadRow[Status]], status: Callable[[], Status], clock: Callable[[], float]
    ) -> None:
        self._rows = rows
        self._status = status
        self._clock = clock

    def describe(self) -> Iterator[Metric]:
        """Names only: registering must not ask for a status."""
        return (_family(row) for row in self._rows)

    def collect(self) -> Iterator[Metric]:
        status, now = self._status(), self._clock()
        for row in self._rows:
            family = _family(row)
            for labels, value in row.read(status, now):
                family.add_metric(labels, value)
            yield family


class _BuildInfo(Collector):
    def __init__(self, *labels: str) -> None:
        self._labels = labels

    def collect(self) -> Iterator[Metric]:
        family = _family(BUILD_INFO)
        family.add_metric(self._labels, 1)
        yield family


def _family(row: Row) -> CounterMetricFamily | GaugeMetricFamily:
    if row.name.endswith("_total"):
        return CounterMetricFamily(row.name, row.help, labels=row.labels)
    return GaugeMetricFamily(row.name, row.help, labels=row.labels)
