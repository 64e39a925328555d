"""Metrics, log lines and spans of finished calls and transactions."""

import logging
import time
from datetime import UTC, datetime
from typing import Final

from consumer.adapters.kafka.committer import Finished
from consumer.adapters.observability.metrics import Metrics, TransactionKind
from consumer.adapters.observability.outcome_log import OutcomeLog
from consumer.adapters.observability.traces import Traces
from consumer.domain.calls import CallFailure, CallOutcome
from consumer.domain.model import ClientSpecification
from consumer.domain.retry import Backoff
from consumer.engine.commands import StartCall
from consumer.engine.events import TransactionResult

LONG_PAUSE_SECONDS: Final = 30.0
"""A ``Retry-After`` of this length or more is logged: it is longer than any pause of our own between two probes."""
_TRANSACTION_KINDS: Final[dict[TransactionResult, TransactionKind]] = {
    TransactionResult.COMMITTED: "commit",
    TransactionResult.ABORTED: "abort",
    TransactionResult.UNKNOWN: "unknown",
}

_log = logging.getLogger(__name__)


class Observers:
    """Passes finished calls and transactions on to the metrics, the logs and, if there are any, the traces."""

    def __init__(self, metrics: Metrics, outcome_log: OutcomeLog, traces: Traces | None = None) -> None:
        self._metrics = metrics
        self._outcome_log = outcome_log
        self._traces = traces

    def call_finished(self, outcome: CallOutcome, seconds: float, call: StartCall) -> None:
        """Count a CM21 call, trace it, and log a long pause that Mirakl asks for. For the loop's thread."""
        self._metrics.call_finished(outcome, seconds, call.requests, len(call.products))
        if self._traces is not None:
            self._traces.call_finished(outcome, seconds, call)
        if (pause := ordered_pause(call.specification, outcome, time.time())) is not None:
            _log.warning("%s", pause)

    def transaction_finished(self, finished: Finished) -> None:
        """Count a transaction; log and trace the outcomes that it has published: those of partitions that were kept.

        For the committer's thread.
        """
        parts = [part for part in finished.commit.partitions if part.partition in finished.kept]
        outcomes = sum(len(part.outcomes) for part in parts)
        self._metrics.transaction_finished(_TRANSACTION_KINDS[finished.result], finished.seconds, outcomes)
        if finished.result is TransactionResult.COMMITTED:
            for part in parts:
                self._outcome_log.write(part.outcomes, time.monotonic())
                if self._traces is not None:
                    self._traces.published(part.outcomes)


def ordered_pause(specification: ClientSpecification, outcome: CallOutcome, wall: float) -> str | None:
    """Return the log line for a long pause that a Mirakl asks for, else ``None``; ``wall``: seconds since the epoch."""
    if not isinstance(outcome, CallFailure) or (outcome.retry_after or 0.0) < LONG_PAUSE_SECONDS:
        return None
    until = wall + min(outcome.retry_after or 0.0, Backoff().longest_ordered)
    return (
        f"Mirakl of client specification {specification.id} ({specification.name!r}) asks for a pause: Retry-After "
        f"{outcome.retry_after:.0f} s, {outcome.reason}. It is called again from "
        f"{datetime.fromtimestamp(until, UTC):%Y-%m-%dT%H:%M:%SZ}. Any change to the specification, such as "
        "`mirakl-resync-consumer clients resume`, has it called at once."
    )
