"""A scrape of a service that has met everything: which metrics there are, with which labels and values."""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from consumer.adapters.observability.metrics import INTAKE_REASONS, OUTLETS, RESULTS, Metrics, TransactionKind
from consumer.domain.calls import CallFailure, CallOutcome, Receipt, Refusal, Unacknowledged
from consumer.engine.status import EngineStatus, LaneState, LaneStatus
from schemas.contract import DeadLetterReason
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
                LaneStatus(f"0b4ef1f4-5d53-4b0c-8f5c-{number:012}", "acme", depth=41, calls_out=2, state=state)
                for number, state in enumerate(LaneState)
            ),
            answered=dict.fromkeys(RESULTS, 10 * count),
            dead_letters=dict.fromkeys(DeadLetterReason, count),
            publishing_failures=dict.fromkeys(OUTLETS, 0),
            commits=100 * count,
            aborts=count,
            last_commit_at=99.0 + count,
        )


class Series(NamedTuple):
    """One series of a scrape."""

    name: str
    labels: dict[str, str]


def all_series() -> Iterator[Series]:
    """Yield every series that a service can have, with the labels that it gives itself."""
    _, body = Load().metrics.render()
    for family in text_string_to_metric_families(body.decode()):
        for sample in family.samples:
            yield Series(sample.name, dict(sample.labels))
