"""Scrapes of a service and a gateway that have met everything: all metrics, with their labels and values."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from consumer.adapters.observability.metrics import INTAKE_REASONS, OUTLETS, RESULTS, Metrics, TransactionKind
from consumer.domain.calls import CallFailure, CallOutcome, Receipt, Refusal, Unacknowledged
from consumer.engine.status import EngineStatus, LaneState, LaneStatus
from producer_tools.alerts.intake import NOT_ACKNOWLEDGED, REQUESTED
from producer_tools.alerts.planning import SkipReason
from producer_tools.gateway.app import AnsweredCall
from producer_tools.gateway.metrics import GatewayMetrics, GatewayStatus
from schemas.contract import DeadLetterReason, GatewayCode
from tests.support.statuses import IDLE

OUTCOMES: tuple[CallOutcome, ...] = (
    Receipt("2001"),
    Refusal(422, "unknown product"),
    Refusal(401, "unauthorized"),
    Unacknowledged(200, "<html>"),
    CallFailure("HTTP 429", may_have_reached=False, status=429),
    CallFailure("connection refused", may_have_reached=False),
    CallFailure("timed out", may_have_reached=True),
)
KINDS: tuple[TransactionKind, ...] = ("commit", "abort", "unknown")


class Load:
    """Drives the metrics of a service: each step is a moment later, with more of everything."""

    def __init__(self) -> None:
        self._steps = 1
        self.metrics = Metrics(self.status, librdkafka="2.16.1", clock=lambda: 100.0 + self._steps)
        self.step()

    def step(self) -> None:
        """Answer requests of every kind, finish calls and transactions of every kind."""
        self._steps += 1
        for outcome in OUTCOMES:
            self.metrics.call_finished(outcome, seconds=0.05, requests=40, products=60)
        for kind in KINDS:
            self.metrics.transaction_finished(kind, 0.008, outcomes=200)

    def status(self) -> EngineStatus:
        """Return the engine's status at this moment."""
        count = self._steps
        return replace(
            IDLE,
            taken_at=100.0 + count,
            intake_closed=dict.fromkeys(INTAKE_REASONS, count),
            oldest_unanswered_seconds=1.5,
            in_flight_records=400,
            in_flight_bytes=81_920,
            window_used={0: 0.25, 1: 0.5},
            paused_partitions=1,
            pauses=count,
            lanes=tuple(
                LaneStatus(
                    f"0b4ef1f4-5d53-4b0c-8f5c-{number:012}", "acme", depth=41, calls_out=2, calls_allowed=4, state=state
                )
                for number, state in enumerate(LaneState)
            ),
            answered=dict.fromkeys(RESULTS, 10 * count),
            dead_letters=dict.fromkeys(DeadLetterReason, count),
            publishing_failures=dict.fromkeys(OUTLETS, 0),
            commits=100 * count,
            aborts=count,
            last_commit_at=99.0 + count,
        )


class GatewayLoad:
    """The same for a gateway."""

    def __init__(self) -> None:
        self._steps = 1
        self.metrics = GatewayMetrics(self._status, version="1.0.0", librdkafka="2.16.1")
        self.step()

    def step(self) -> None:
        """Answer a good call, and one with each problem."""
        self._steps += 1
        for status, code in [(200, None), *((code.http_status, code.value) for code in GatewayCode)]:
            call = AnsweredCall("POST", "/v1/mapper/mirakl/product-synchronizations", status, code, None, 0.02, None)
            self.metrics.answered(call)

    def _status(self, calls: Counter[tuple[str, str]]) -> GatewayStatus:
        count = self._steps
        return GatewayStatus(
            waiting_calls=3,
            pending_requests=3,
            known_results=100,
            known_result_bytes=100_000,
            buffered_body_bytes=0,
            brokers_answer=True,
            reader_is_up_to_date=True,
            lag_records=0,
            read_records=20 * count,
            kept_records=10 * count,
            written=dict.fromkeys(("acknowledged", "unknown", "refused"), count),
            calls=calls,
            alerts=Counter({("stuck", outcome): count for outcome in (REQUESTED, NOT_ACKNOWLEDGED, *SkipReason)}),
        )


class Series(NamedTuple):
    """One series of a scrape."""

    name: str
    labels: dict[str, str]


def all_series() -> Iterator[Series]:
    """Yield every series that a service or a gateway can have, with the labels that it gives itself."""
    for render in (Load().metrics.render, GatewayLoad().metrics.table.render):
        for family in text_string_to_metric_families(render()[1].decode()):
            for sample in family.samples:
                yield Series(sample.name, dict(sample.labels))
