"""The gateway's metrics: one table of all there are, which the documents list and a test holds them to.

Labels are bounded: paths are those of the routes, codes those of the contract; any other code counts as ``OTHER``.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

from producer_tools.gateway.app import INTERNAL_ERROR, AnsweredCall
from schemas.contract import AlertCode, ErrorCode, GatewayCode
from schemas.process.metric_table import BUILD_INFO, MetricTable, ObservedRow, ReadRow, Row, Samples, one

NO_CODE: Final = ""
OTHER_CODE: Final = "OTHER"
_CODES: Final = frozenset({NO_CODE, INTERNAL_ERROR, *ErrorCode, *GatewayCode, *AlertCode})
_NONE_YET: Final = {("200", NO_CODE): 0, ("202", NO_CODE): 0, ("500", INTERNAL_ERROR): 0} | {
    (str(code.http_status), code.value): 0 for code in (*ErrorCode, *GatewayCode, *AlertCode)
}
"""Series that exist from the start: ``rate`` and ``increase`` do not see a series begin with its first call."""
_CALL_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 330)


@dataclass(frozen=True, slots=True)
class GatewayStatus:
    """The state of a gateway at one moment, from which the read rows of the metrics are made."""

    waiting_calls: int
    pending_requests: int
    known_results: int
    known_result_bytes: int
    buffered_body_bytes: int
    brokers_answer: bool
    reader_is_up_to_date: bool
    lag_records: int
    read_records: int
    kept_records: int
    written: dict[str, int]
    """Outcome -> requests."""
    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(status, code) -> calls."""
    alerts: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """(rule, outcome) -> alerts; 0 where a rule of those in force has had none."""
    truncated_alerts: int = 0
    alert_rule_errors: int = 0
    clock_ahead_seconds: float = 0.0


def _calls(status: GatewayStatus, _now: float) -> Samples:
    return list((_NONE_YET | status.calls).items())


CALL_SECONDS: Final = ObservedRow(
    "resync_gateway_call_duration_seconds",
    ("outcome",),
    "seconds",
    "Duration of calls, from the end of the head to the end of the response: good, problem.",
    _CALL_SECONDS,
)

TABLE: Final[tuple[Row, ...]] = (
    ReadRow[GatewayStatus](
        "resync_gateway_calls_total",
        ("status", "code"),
        "calls",
        "HTTP calls answered, by status and the problem's code (empty: none). 499: the caller hung up.",
        _calls,
    ),
    CALL_SECONDS,
    ReadRow[GatewayStatus](
        "resync_gateway_waiting_calls",
        (),
        "calls",
        "Calls that wait for a result now.",
        lambda status, _: one(status.waiting_calls),
    ),
    ReadRow[GatewayStatus](
        "resync_gateway_pending_requests",
        (),
        "requests",
        "Requests written here that have no result yet, whether or not a call waits for them.",
        lambda status, _: one(status.pending_requests),
    ),
    ReadRow[GatewayStatus](
        "resync_gateway_requests_written_total",
        ("outcome",),
        "requests",
        "Requests handed to the producer: acknowledged, unknown (not acknowledged; may be on the topic); and "
        "refused: not handed over, nothing written.",
        lambda status, _: [((outcome,), count) for outcome, count in status.written.items()],
    ),
    ReadRow[GatewayStatus](
        "resync_gateway_results_read_total",
        (),
        "records",
        "Records of the results topic that were read.",
        lambda status, _: one(status.read_records),
    ),
    ReadRow[GatewayStatus](
        "resync_gateway_results_kept_total",
        (),
        "records",
        "Of these, results of requests made over HTTP, at any gateway.",
        lambda status, _: one(status.kept_records),
    ),
    ReadRow[GatewayStatus](
        "resync_gateway_known_results",
        (),
        "results",
        "Results that can be asked for.",
        lambda status, _: one(status.known_results),
    ),
    ReadRow[GatewayStatus](
        "resync_gateway_known_results_bytes",
        (),
        "bytes",
        "Memory that these results take.",
        lambda status, _: one(status.known_result_bytes),
    ),
    ReadRow[GatewayStatus](
        "resync_gateway_buffered_body_bytes",
        (),
        "bytes",
        "Bodies that are being received or parsed.",
        lambda status, _: one(status.buffered_body_bytes),
    ),
    ReadRow[GatewayStatus](
        "resync_gateway_brokers_answer",
        (),
        "0 or 1",
        "1 while the leaders of all partitions of both topics respond and no right on these is missing; otherwise "
        "calls get 503.",
        lambda status, _: one(status.brokers_answer),
    ),
    ReadRow[GatewayStatus](
        "resync_gateway_reader_up_to_date",
        (),
        "0 or 1",
        "1 while the reader has read all results of 5 s ago; otherwise calls get 503.",
        lambda status, _: one(status.reader_is_up_to_date),
    ),
    ReadRow[GatewayStatus](
        "resync_gateway_reader_lag_records",
        (),
        "records",
        "How far the reader was behind the ends of the results topic at the last look, all partitions together.",
        lambda status, _: one(status.lag_records),
    ),
    ReadRow[GatewayStatus](
        "resync_gateway_clock_ahead_seconds",
        (),
        "seconds",
        "How far the clock here is ahead of the service's at least (negative: behind), by the newest result of a "
        "request made here. From 300 on, signed requests are refused.",
        lambda status, _: one(status.clock_ahead_seconds),
    ),
    ReadRow[GatewayStatus](
        "resync_gateway_alerts_total",
        ("rule", "outcome"),
        "alerts",
        "Alerts of all notifications, by rule (empty: none) and what became of them: REQUESTED, REPEATED, "
        "NOT_ACKNOWLEDGED (answered 503), or the reason for leaving them out.",
        lambda status, _: list(status.alerts.items()),
    ),
    ReadRow[GatewayStatus](
        "resync_gateway_alerts_truncated_total",
        (),
        "alerts",
        "Alerts that senders left out of their notifications (max_alerts).",
        lambda status, _: one(status.truncated_alerts),
    ),
    ReadRow[GatewayStatus](
        "resync_gateway_alert_rule_errors",
        (),
        "errors",
        "Errors in the newest version of the alert rules; not 0: those of before are in force. /readyz names them.",
        lambda status, _: one(status.alert_rule_errors),
    ),
    BUILD_INFO,
)
"""All metrics of the gateway itself; those of the process (``process_*``) come from the Prometheus library."""


class GatewayMetrics:
    """The metrics of one gateway; ``status`` gives all but its ``calls``, which are counted here."""

    def __init__(
        self, status: Callable[[Counter[tuple[str, str]]], GatewayStatus], *, version: str, librdkafka: str
    ) -> None:
        self._calls: Counter[tuple[str, str]] = Counter()
        self.table = MetricTable(
            TABLE, lambda: status(self._calls.copy()), time.monotonic, version=version, librdkafka=librdkafka
        )
        seconds = self.table.histogram(CALL_SECONDS)
        self._good, self._problem = seconds.labels("good"), seconds.labels("problem")

    def answered(self, call: AnsweredCall) -> None:
        """Count one call by status and code, and observe how long it took."""
        code = call.code or NO_CODE
        self._calls[str(call.status), code if code in _CODES else OTHER_CODE] += 1
        (self._good if call.status < HTTPStatus.BAD_REQUEST else self._problem).observe(call.seconds)
