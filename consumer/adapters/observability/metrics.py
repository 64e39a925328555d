"""Metrics for Prometheus: one table of all there are, read or observed.

Most rows are *read*: at a scrape the engine's status is asked for once and turned into samples, so that counting
costs the engine an integer and nothing else. What a snapshot cannot hold (how long each call and each transaction
took) is *observed* as it happens, once a call or a transaction, never once a request.

Labels are bounded: statuses, codes, reasons and outcomes are closed sets, partitions and client specifications are
what the operator made of them, and the latter label the lanes only. Nothing that a request carries is a label.
"""

import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal, TypeAlias, get_args

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from consumer import __version__
from consumer.domain.calls import CallFailure, CallOutcome, Receipt, Refusal, Unacknowledged
from consumer.engine.status import EngineStatus, LaneState
from schemas.contract import DeadLetterReason, ErrorCode

Samples: TypeAlias = Iterable[tuple[tuple[str, ...], float]]
"""Label values in the order of the row's labels, and the value."""

TransactionKind: TypeAlias = Literal["commit", "abort", "unknown"]
"""``unknown``: the producer was lost amid the commit; only the committed offsets can tell."""


class CallLabel(StrEnum):
    """What a call came to, as the label ``outcome``."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNAUTHORIZED = "unauthorized"
    UNACKNOWLEDGED = "unacknowledged"
    THROTTLED = "throttled"
    UNAVAILABLE = "unavailable"
    UNKNOWN = "unknown"
    """It may have reached Mirakl."""


@dataclass(frozen=True, slots=True)
class Row:
    """One metric as dashboards and alerts know it."""

    name: str
    """As it is queried; a histogram adds ``_bucket``, ``_sum`` and ``_count``."""
    labels: tuple[str, ...]
    unit: str
    help: str


@dataclass(frozen=True, slots=True)
class ReadRow(Row):
    """Read off the engine's status; ``read`` also takes the time of the scrape, in monotonic seconds.

    A name that ends in ``_total`` is a counter, any other a gauge.
    """

    read: Callable[[EngineStatus, float], Samples]


@dataclass(frozen=True, slots=True)
class ObservedRow(Row):
    """A histogram; ``buckets`` are upper bounds in the row's unit."""

    buckets: tuple[float, ...]


_SIZES: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000)
_CALL_SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_TRANSACTION_SECONDS: Final = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)

INTAKE_REASONS: Final = ("database", "no-api-key", "broker", "publishing", "calls")
_PARTIAL_CODES: Final = tuple(code for code in ErrorCode if code.http_status >= 500)  # noqa: PLR2004 - HTTP server errors
OUTLETS: Final = ("results", "dead-letters")
RESULTS: Final = (
    ("SYNCHRONIZED", ""),
    *(("PARTIALLY_SYNCHRONIZED", code.value) for code in _PARTIAL_CODES),
    *(("FAILED", code.value) for code in ErrorCode),
)
"""Every (status, code) that a result can have."""

CALL_SECONDS: Final = ObservedRow(
    "resync_call_duration_seconds",
    ("outcome",),
    "seconds",
    "Duration of CM21 calls, by what they came to: " + ", ".join(CallLabel) + ".",
    _CALL_SECONDS,
)
CALL_REQUESTS: Final = ObservedRow(
    "resync_call_requests", (), "requests", "Requests (or parts of large ones) that travelled in one call.", _SIZES
)
CALL_PRODUCTS: Final = ObservedRow("resync_call_products", (), "products", "Products sent in one call.", _SIZES)
TRANSACTION_SECONDS: Final = ObservedRow(
    "resync_transaction_duration_seconds",
    ("kind",),
    "seconds",
    "Duration of transactions from begin to end, by how they ended: commit, abort, unknown.",
    _TRANSACTION_SECONDS,
)
TRANSACTION_OUTCOMES: Final = ObservedRow(
    "resync_transaction_outcomes", (), "outcomes", "Results and dead letters that one commit published.", _SIZES
)
BUILD_INFO: Final = Row(
    "resync_build_info", ("version", "python", "librdkafka"), "", "Always 1; the labels say what is running."
)


def _one(value: float) -> Samples:
    return [((), value)]


def _by_label(known: Iterable[str], counted: Mapping[str, int]) -> Samples:
    """A series from the start for every known label, or ``increase()`` would miss the first event."""
    return [((label,), count) for label, count in {**dict.fromkeys(known, 0), **counted}.items()]


def _results(status: EngineStatus, _now: float) -> Samples:
    return list({**dict.fromkeys(RESULTS, 0), **status.answered}.items())


def _lane_states(status: EngineStatus, _now: float) -> Samples:
    return [
        ((lane.client_specification_id, lane.tenant, state.value), float(lane.state is state))
        for lane in status.lanes
        for state in LaneState
    ]


def _sick_seconds(status: EngineStatus, now: float) -> Samples:
    return [
        ((lane.client_specification_id, lane.tenant), max(0.0, (lane.sick_until or now) - now)) for lane in status.lanes
    ]


_LANE: Final = ("client_specification_id", "tenant")

TABLE: Final[tuple[Row, ...]] = (
    ReadRow(
        "resync_oldest_unanswered_request_age_seconds",
        (),
        "seconds",
        "Age of the oldest request that was read and has no published outcome; 0: there is none.",
        lambda status, _: _one(status.oldest_unanswered_seconds),
    ),
    ReadRow("resync_results_total", ("status", "code"), "results", "Results published, by status and code.", _results),
    ReadRow(
        "resync_dead_letters_total",
        ("reason",),
        "records",
        "Dead letters published.",
        lambda status, _: _by_label(DeadLetterReason, status.dead_letters),
    ),
    ReadRow(
        "resync_in_flight_records",
        (),
        "records",
        "Records read and not yet decided and published.",
        lambda status, _: _one(status.in_flight_records),
    ),
    ReadRow(
        "resync_in_flight_bytes",
        (),
        "bytes",
        "Size of these records.",
        lambda status, _: _one(status.in_flight_bytes),
    ),
    ReadRow(
        "resync_window_used_ratio",
        ("partition",),
        "0 to 1",
        "Share of its window of offsets that a partition uses; at 1 it is paused.",
        lambda status, _: [((str(partition),), used) for partition, used in status.window_used.items()],
    ),
    ReadRow(
        "resync_paused_partitions",
        (),
        "partitions",
        "Partitions that are paused now.",
        lambda status, _: _one(status.paused_partitions),
    ),
    ReadRow(
        "resync_pauses_total", (), "pauses", "Times a partition was paused.", lambda status, _: _one(status.pauses)
    ),
    ReadRow(
        "resync_lane_depth_requests",
        _LANE,
        "requests",
        "Requests (or parts of large ones) that wait for a call.",
        lambda status, _: [((lane.client_specification_id, lane.tenant), lane.depth) for lane in status.lanes],
    ),
    ReadRow(
        "resync_lane_calls_out",
        _LANE,
        "calls",
        "Calls under way.",
        lambda status, _: [((lane.client_specification_id, lane.tenant), lane.calls_out) for lane in status.lanes],
    ),
    ReadRow("resync_lane_state", (*_LANE, "state"), "0 or 1", "1 for the state that the lane is in.", _lane_states),
    ReadRow(
        "resync_lane_sick_seconds",
        _LANE,
        "seconds",
        "Time until a sick lane probes its Mirakl again; 0: it may call.",
        _sick_seconds,
    ),
    CALL_SECONDS,
    CALL_REQUESTS,
    CALL_PRODUCTS,
    TRANSACTION_SECONDS,
    TRANSACTION_OUTCOMES,
    ReadRow("resync_commits_total", (), "commits", "Commits that succeeded.", lambda status, _: _one(status.commits)),
    ReadRow("resync_aborts_total", (), "aborts", "Transactions aborted.", lambda status, _: _one(status.aborts)),
    ReadRow(
        "resync_publishing_failures",
        ("outlet",),
        "transactions",
        "Transactions in a row that could not publish there: results, dead-letters. 0: they commit.",
        lambda status, _: _by_label(OUTLETS, status.publishing_failures),
    ),
    ReadRow(
        "resync_last_commit_age_seconds",
        (),
        "seconds",
        "Time since the last commit; absent before the first. Idle is no trouble: look at it with records in flight.",
        lambda status, now: [] if status.last_commit_at is None else _one(max(0.0, now - status.last_commit_at)),
    ),
    ReadRow(
        "resync_joined",
        (),
        "0 or 1",
        "1 while the process is a member of its group, also with no partition.",
        lambda status, _: _one(status.joined),
    ),
    ReadRow(
        "resync_intake_open",
        (),
        "0 or 1",
        "0 while a trouble of our own keeps the intake closed; /readyz names it.",
        lambda status, _: _one(not status.troubles),
    ),
    ReadRow(
        "resync_intake_closed_total",
        ("reason",),
        "closings",
        "Times the intake closed, by reason: " + ", ".join(INTAKE_REASONS) + ".",
        lambda status, _: _by_label(INTAKE_REASONS, status.intake_closed),
    ),
    ReadRow(
        "resync_outcomes_discarded_total",
        (),
        "outcomes",
        "Outcomes thrown away since their partition had been reassigned; its new owner answers.",
        lambda status, _: _one(status.discarded),
    ),
    ReadRow(
        "resync_progress_maps_ignored_total",
        (),
        "maps",
        "Progress maps that were foreign, broken or implausible; what they covered is answered again.",
        lambda status, _: _one(status.progress_maps_ignored),
    ),
    ReadRow(
        "resync_progress_maps_cut_total",
        (),
        "maps",
        "Progress maps cut short, since offset.metadata.max.bytes of the brokers is too small; what they leave out is "
        "answered again after a crash.",
        lambda status, _: _one(status.progress_maps_cut),
    ),
    ReadRow(
        "resync_offset_resets_total",
        (),
        "resets",
        "Times a position was out of the log's range: requests expired unread, or a log was lost or made anew.",
        lambda status, _: _one(status.offset_resets),
    ),
    ReadRow(
        "resync_unread_partitions",
        (),
        "partitions",
        "Partitions of ours that have not been read for 20 s; /readyz and the log say why.",
        lambda status, _: _one(status.unread_partitions),
    ),
    ReadRow(
        "resync_read_holes_total",
        (),
        "deliveries",
        "Deliveries that left out part of the log, after an error of a fetch; the partition is read again from there.",
        lambda status, _: _one(status.holes),
    ),
    ReadRow(
        "resync_status_age_seconds",
        (),
        "seconds",
        "Age of the status that all these were read from; grows when the engine is stuck.",
        lambda status, now: _one(max(0.0, now - status.taken_at)),
    ),
    BUILD_INFO,
)
"""All metrics of the service; those of the process (``process_*``) come from the Prometheus library."""


class Metrics:
    """The metrics of one service, in a registry of their own.

    ``status`` is called once a scrape, on the scraper's thread, and must not wait. The observing methods may be
    called on any thread.
    """

    def __init__(
        self,
        status: Callable[[], EngineStatus],
        *,
        librdkafka: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_StatusCollector(status, clock))
        ProcessCollector(registry=self._registry)
        calls, transactions = self._histogram(CALL_SECONDS), self._histogram(TRANSACTION_SECONDS)
        self._call_seconds = {label: calls.labels(label) for label in CallLabel}
        self._call_requests = self._histogram(CALL_REQUESTS)
        self._call_products = self._histogram(CALL_PRODUCTS)
        self._transaction_seconds = {kind: transactions.labels(kind) for kind in get_args(TransactionKind)}
        self._transaction_outcomes = self._histogram(TRANSACTION_OUTCOMES)
        self._registry.register(_BuildInfo(__version__, platform.python_version(), librdkafka))

    def call_finished(self, outcome: CallOutcome, seconds: float, requests: int, products: int) -> None:
        """One CM21 call has ended; ``requests`` counts parts of large ones as well."""
        self._call_seconds[call_label(outcome)].observe(seconds)
        self._call_requests.observe(requests)
        self._call_products.observe(products)

    def transaction_finished(self, kind: TransactionKind, seconds: float, outcomes: int) -> None:
        """One transaction has ended; ``outcomes`` counts results and dead letters."""
        self._transaction_seconds[kind].observe(seconds)
        if kind == "commit":
            self._transaction_outcomes.observe(outcomes)

    def render(self, accept: str = "") -> tuple[str, bytes]:
        """Content type and body of a scrape, in the format that the ``Accept`` header asks for."""
        encode, content_type = choose_encoder(accept)
        return content_type, encode(self._registry)

    def _histogram(self, row: ObservedRow) -> Histogram:
        return Histogram(row.name, row.help, row.labels, registry=self._registry, buckets=row.buckets)


def call_label(outcome: CallOutcome) -> CallLabel:
    match outcome:
        case Receipt():
            return CallLabel.ACCEPTED
        case Unacknowledged():
            return CallLabel.UNACKNOWLEDGED
        case Refusal():
            return CallLabel.UNAUTHORIZED if outcome.unauthorized else CallLabel.REFUSED
        case CallFailure(status=429):
            return CallLabel.THROTTLED
        case CallFailure():
            return CallLabel.UNKNOWN if outcome.may_have_reached else CallLabel.UNAVAILABLE


class _StatusCollector(Collector):
    """Turns one status into the samples of all read rows."""

    def __init__(self, status: Callable[[], EngineStatus], clock: Callable[[], float]) -> None:
        self._status = status
        self._clock = clock

    def describe(self) -> Iterator[Metric]:
        """Names only: registering must not ask for a status."""
        return (_family(row) for row in TABLE if isinstance(row, ReadRow))

    def collect(self) -> Iterator[Metric]:
        status, now = self._status(), self._clock()
        for row in TABLE:
            if isinstance(row, ReadRow):
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


def markdown_table() -> str:
    """The table for people; a test holds the document to it."""
    lines = ["| metric | type | labels | unit | |", "|---|---|---|---|---|"]
    for row in TABLE:
        kind = "histogram" if isinstance(row, ObservedRow) else _family(row).type
        labels = ", ".join(f"`{label}`" for label in row.labels)
        lines.append(f"| `{row.name}` | {kind} | {labels} | {row.unit} | {row.help} |")
    return "\n".join(lines) + "\n"
