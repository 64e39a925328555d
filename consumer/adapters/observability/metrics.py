"""Metrics for Prometheus: one table of all there are, read or observed.

Most rows are *read*: at a scrape the engine's status is asked for once and turned into samples, so that counting
costs the engine an integer and nothing else. What a snapshot cannot hold (how long each call and each transaction
took) is *observed* as it happens: once per call or transaction, never once per request.

Labels are bounded: statuses, codes, reasons and outcomes are closed sets, partitions and client specifications are
created by operators, and the latter label the lanes only. Nothing that a request carries is a label.
"""

import time
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final, Literal, TypeAlias, get_args

from consumer import __version__
from consumer.adapters.observability.span_queue import SpanFate
from consumer.domain.calls import CallFailure, CallOutcome, Receipt, Refusal, Unacknowledged
from consumer.engine.status import EngineStatus, LaneState
from schemas.contract import DeadLetterReason, ErrorCode
from schemas.process.metric_table import BUILD_INFO, MetricTable, ObservedRow, ReadRow, Row, Samples, by_label, one

TransactionKind: TypeAlias = Literal["commit", "abort", "unknown"]
"""``unknown``: the producer was lost amid the commit; only the committed offsets can tell."""


class CallLabel(StrEnum):
    """Result of a CM21 call, as the label ``outcome``."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNAUTHORIZED = "unauthorized"
    UNACKNOWLEDGED = "unacknowledged"
    THROTTLED = "throttled"
    UNAVAILABLE = "unavailable"
    UNKNOWN = "unknown"
    """It may have reached Mirakl."""


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
    "Duration of CM21 calls, by result: " + ", ".join(CallLabel) + ".",
    _CALL_SECONDS,
)
CALL_REQUESTS: Final = ObservedRow(
    "resync_call_requests", (), "requests", "Requests (or parts of large ones) in one call.", _SIZES
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


def _results(status: EngineStatus, _now: float) -> Samples:
    return list({**dict.fromkeys(RESULTS, 0), **status.answered}.items())


def _lane_states(status: EngineStatus, _now: float) -> Samples:
    return [
        ((lane.client_specification_id, lane.tenant, state.value), float(lane.state is state))
        for lane in status.lanes
        for state in LaneState
    ]


_LANE: Final = ("client_specification_id", "tenant")

TABLE: Final[tuple[Row, ...]] = (
    ReadRow[EngineStatus](
        "resync_oldest_unanswered_request_age_seconds",
        (),
        "seconds",
        "Age of the oldest request that was read and has no published outcome; 0: there is none.",
        lambda status, _: one(status.oldest_unanswered_seconds),
    ),
    ReadRow[EngineStatus](
        "resync_results_total", ("status", "code"), "results", "Results published, by status and code.", _results
    ),
    ReadRow[EngineStatus](
        "resync_dead_letters_total",
        ("reason",),
        "records",
        "Dead letters published.",
        lambda status, _: by_label(DeadLetterReason, status.dead_letters),
    ),
    ReadRow[EngineStatus](
        "resync_in_flight_records",
        (),
        "records",
        "Records read and not yet decided and published.",
        lambda status, _: one(status.in_flight_records),
    ),
    ReadRow[EngineStatus](
        "resync_in_flight_bytes",
        (),
        "bytes",
        "Size of these records.",
        lambda status, _: one(status.in_flight_bytes),
    ),
    ReadRow[EngineStatus](
        "resync_window_used_ratio",
        ("partition",),
        "0 to 1",
        "Share of its window of offsets that a partition uses; at 1 it is paused.",
        lambda status, _: [((str(partition),), used) for partition, used in status.window_used.items()],
    ),
    ReadRow[EngineStatus](
        "resync_paused_partitions",
        (),
        "partitions",
        "Partitions that are paused now.",
        lambda status, _: one(status.paused_partitions),
    ),
    ReadRow[EngineStatus](
        "resync_pauses_total", (), "pauses", "Times a partition was paused.", lambda status, _: one(status.pauses)
    ),
    ReadRow[EngineStatus](
        "resync_lane_depth_requests",
        _LANE,
        "requests",
        "Requests (or parts of large ones) that wait for a call.",
        lambda status, _: [((lane.client_specification_id, lane.tenant), lane.depth) for lane in status.lanes],
    ),
    ReadRow[EngineStatus](
        "resync_lane_calls_out",
        _LANE,
        "calls",
        "Calls in flight.",
        lambda status, _: [((lane.client_specification_id, lane.tenant), lane.calls_out) for lane in status.lanes],
    ),
    ReadRow[EngineStatus](
        "resync_lane_state", (*_LANE, "state"), "0 or 1", "1 for the state that the lane is in.", _lane_states
    ),
    ReadRow[EngineStatus](
        "resync_lane_sick_seconds",
        _LANE,
        "seconds",
        "Time until a sick lane probes its Mirakl again; 0: it may call.",
        lambda status, now: [
            ((lane.client_specification_id, lane.tenant), max(0.0, (lane.sick_until or now) - now))
            for lane in status.lanes
        ],
    ),
    CALL_SECONDS,
    CALL_REQUESTS,
    CALL_PRODUCTS,
    TRANSACTION_SECONDS,
    TRANSACTION_OUTCOMES,
    ReadRow[EngineStatus](
        "resync_commits_total", (), "commits", "Commits that succeeded.", lambda status, _: one(status.commits)
    ),
    ReadRow[EngineStatus](
        "resync_aborts_total", (), "aborts", "Transactions aborted.", lambda status, _: one(status.aborts)
    ),
    ReadRow[EngineStatus](
        "resync_publishing_failures",
        ("outlet",),
        "transactions",
        "Transactions in a row that could not publish there: results, dead-letters. 0: they commit.",
        lambda status, _: by_label(OUTLETS, status.publishing_failures),
    ),
    ReadRow[EngineStatus](
        "resync_last_commit_age_seconds",
        (),
        "seconds",
        "Time since the last commit; absent before the first. It also grows while the service is idle.",
        lambda status, now: [] if status.last_commit_at is None else one(max(0.0, now - status.last_commit_at)),
    ),
    ReadRow[EngineStatus](
        "resync_joined",
        (),
        "0 or 1",
        "1 while the process is a member of its group, also with no partition.",
        lambda status, _: one(status.joined),
    ),
    ReadRow[EngineStatus](
        "resync_intake_open",
        (),
        "0 or 1",
        "0 while a problem of our own keeps the intake closed; /readyz names it.",
        lambda status, _: one(status.intake_open),
    ),
    ReadRow[EngineStatus](
        "resync_intake_closed_total",
        ("reason",),
        "closings",
        "Times the intake closed, by reason: " + ", ".join(INTAKE_REASONS) + ".",
        lambda status, _: by_label(INTAKE_REASONS, status.intake_closed),
    ),
    ReadRow[EngineStatus](
        "resync_outcomes_discarded_total",
        (),
        "outcomes",
        "Outcomes discarded because their partition had been reassigned; its new owner answers.",
        lambda status, _: one(status.discarded),
    ),
    ReadRow[EngineStatus](
        "resync_progress_maps_ignored_total",
        (),
        "maps",
        "Progress maps ignored because they were foreign, broken or implausible; what they covered is answered again.",
        lambda status, _: one(status.progress_maps_ignored),
    ),
    ReadRow[EngineStatus](
        "resync_progress_maps_cut_total",
        (),
        "maps",
        "Progress maps cut short, since offset.metadata.max.bytes of the brokers is too small; what they leave out is "
        "answered again after a crash.",
        lambda status, _: one(status.progress_maps_cut),
    ),
    ReadRow[EngineStatus](
        "resync_offset_resets_total",
        (),
        "resets",
        "Times a position was out of the log's range: requests expired unread, or a log was lost or created again.",
        lambda status, _: one(status.offset_resets),
    ),
    ReadRow[EngineStatus](
        "resync_unread_partitions",
        (),
        "partitions",
        "Assigned partitions that have not been read for 20 s; /readyz and the log say why.",
        lambda status, _: one(status.unread_partitions),
    ),
    ReadRow[EngineStatus](
        "resync_unavailable_schemas",
        (),
        "schemas",
        "Writer schemas that requests wait for because their look-up in the registry failed; /readyz says why.",
        lambda status, _: one(status.unavailable_schemas),
    ),
    ReadRow[EngineStatus](
        "resync_read_holes_total",
        (),
        "deliveries",
        "Deliveries that left out part of the log, after an error of a fetch; the partition is read again from there.",
        lambda status, _: one(status.holes),
    ),
    ReadRow[EngineStatus](
        "resync_status_age_seconds",
        (),
        "seconds",
        "Age of the status that these metrics are read from; grows when the engine is stuck.",
        lambda status, now: one(max(0.0, now - status.taken_at)),
    ),
    BUILD_INFO,
)
"""All metrics of the service; those of the process (``process_*``) come from the Prometheus library."""

TRACING: Final[tuple[Row, ...]] = (
    ReadRow[Mapping[SpanFate, int]](
        "resync_spans_total",
        ("outcome",),
        "spans",
        "Spans by what became of them: exported; dropped, since they came too fast; failed: the collector did not take "
        "them.",
        lambda counts, _: [((fate.value,), counts.get(fate, 0)) for fate in SpanFate],
    ),
)
"""Metrics of a service that exports spans."""


class Metrics:
    """The metrics of one service; ``status`` is called once a scrape, on the scraper's thread, and must not wait.

    The observing methods may be called on any thread.
    """

    def __init__(
        self,
        status: Callable[[], EngineStatus],
        *,
        librdkafka: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._table = MetricTable(TABLE, status, clock, version=__version__, librdkafka=librdkafka)
        self.render = self._table.render
        calls, transactions = self._table.histogram(CALL_SECONDS), self._table.histogram(TRANSACTION_SECONDS)
        self._call_seconds = {label: calls.labels(label) for label in CallLabel}
        self._call_requests = self._table.histogram(CALL_REQUESTS)
        self._call_products = self._table.histogram(CALL_PRODUCTS)
        self._transaction_seconds = {kind: transactions.labels(kind) for kind in get_args(TransactionKind)}
        self._transaction_outcomes = self._table.histogram(TRANSACTION_OUTCOMES)

    def add_tracing(self, counts: Callable[[], Mapping[SpanFate, int]]) -> None:
        """Add the metrics of a service that exports spans."""
        self._table.add(TRACING, counts)

    def call_finished(self, outcome: CallOutcome, seconds: float, requests: int, products: int) -> None:
        """Count one CM21 call that has ended, which took this many seconds.

        ``requests`` counts parts of large ones as well.
        """
        self._call_seconds[call_label(outcome)].observe(seconds)
        self._call_requests.observe(requests)
        self._call_products.observe(products)

    def transaction_finished(self, kind: TransactionKind, seconds: float, outcomes: int) -> None:
        """Count one transaction that has ended, in seconds; ``outcomes`` are results and dead letters."""
        self._transaction_seconds[kind].observe(seconds)
        if kind == "commit":
            self._transaction_outcomes.observe(outcomes)


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
