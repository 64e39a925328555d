"""Outcomes as lines of the log: one per answered request, one per dead letter."""

from collections.abc import Sequence

from consumer.adapters.observability.request_log import AnsweredRequest, DeadLetteredRecord, RequestLog
from consumer.domain.outcome import DeadLettered, Failed, Partial, Synchronized
from consumer.engine.requests import Request


class OutcomeLog:
    """Logs what a transaction has published, one line each; ``topic`` is the requests topic."""

    def __init__(self, log: RequestLog, topic: str) -> None:
        self._log = log
        self._topic = topic

    def write(self, outcomes: Sequence[Request], now: float) -> None:
        """Log outcomes that were published together; ``now`` in monotonic seconds."""
        answered: list[AnsweredRequest] = []
        dead: list[DeadLetteredRecord] = []
        for request in outcomes:
            verdict = request.verdict
            if isinstance(verdict, Synchronized):
                if not self._log.only_failed:  # most outcomes: nothing is formatted that is not written
                    answered.append(self._answered(request, "SYNCHRONIZED", verdict.client_specification_id, None, now))
            elif isinstance(verdict, Partial | Failed):
                status = "FAILED" if isinstance(verdict, Failed) else "PARTIALLY_SYNCHRONIZED"
                code = verdict.error.code.value
                answered.append(self._answered(request, status, verdict.client_specification_id, code, now))
            elif isinstance(verdict, DeadLettered):
                dead.append(self._dead_lettered(request, verdict))
        if answered:
            self._log.write(answered)
        if dead:
            self._log.write_dead_letters(dead)

    def _answered(
        self, request: Request, status: str, specification_id: str | None, code: str | None, now: float
    ) -> AnsweredRequest:
        record, trace = request.record, request.headers.traceparent
        return AnsweredRequest(
            request.request_id,
            self._topic,
            record.partition,
            record.offset,
            specification_id,
            status,
            code,
            now - request.read_at,
            trace[3:35].decode() if trace else None,
            request.tenant,
            request.key_name,
        )

    def _dead_lettered(self, request: Request, verdict: DeadLettered) -> DeadLetteredRecord:
        record = request.record
        return DeadLetteredRecord(
            verdict.reason.value, verdict.message, self._topic, record.partition, record.offset, request.tenant
        )
