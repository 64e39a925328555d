"""Kafka records of verdicts: result events and dead letters, as the contract defines them.

The results of one CM21 call share a ``Synchronized`` verdict: what they have in common is encoded once.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias

from consumer import __version__
from consumer.adapters.kafka.outgoing import Publication
from consumer.adapters.kafka.policy import PUBLISHING
from consumer.adapters.trace_context import continued
from consumer.domain.outcome import DeadLettered, Failed, Partial, ResyncError, Synchronized, Verdict
from consumer.engine.request_headers import is_secret
from consumer.engine.requests import Request
from schemas.avro.codec import ResultEncoder, SharedResult
from schemas.contract import (
    CE_ID_HEADER,
    CE_SOURCE_HEADER,
    CE_SOURCE_PREFIX,
    CE_SPECVERSION,
    CE_SPECVERSION_HEADER,
    CE_SUBJECT_HEADER,
    CE_TIME_HEADER,
    CE_TYPE,
    CE_TYPE_HEADER,
    CONTENT_TYPE,
    CONTENT_TYPE_HEADER,
    DLQ_GROUP_HEADER,
    DLQ_HEADERS_OMITTED_HEADER,
    DLQ_MESSAGE_HEADER,
    DLQ_OFFSET_HEADER,
    DLQ_PARTITION_HEADER,
    DLQ_PREFIX,
    DLQ_REASON_HEADER,
    DLQ_REDRIVE_COUNT_HEADER,
    DLQ_SERVICE_HEADER,
    DLQ_TENANT_HEADER,
    DLQ_TIMESTAMP_HEADER,
    DLQ_TOPIC_HEADER,
    DLQ_VALUE_BYTES_HEADER,
    DLQ_VALUE_OMITTED_HEADER,
    DLQ_VALUE_SHA256_HEADER,
    REQUEST_OFFSET_HEADER,
    REQUEST_PARTITION_HEADER,
    REQUEST_TOPIC_HEADER,
    TENANT_HEADER,
    TRACEPARENT_HEADER,
    TRACESTATE_HEADER,
)

_SERVICE: Final = f"mirakl-resync {__version__}".encode()
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

Headers: TypeAlias = list[tuple[str, str | bytes | None]]


@dataclass(frozen=True, slots=True)
class Topics:
    """Names of the topics that records are read from and written to, as headers repeat them."""

    requests: str
    results: str
    dead_letters: str


class Publications:
    """Creates records of outcomes: Avro value, key and headers, as the contract defines them.

    The part that requests of one call share is encoded once. For the committer's thread.
    """

    def __init__(self, topics: Topics, group_id: str, encoder: ResultEncoder, max_dead_letter_bytes: int) -> None:
        self._topics = topics
        self._group = group_id.encode()
        self._source = CE_SOURCE_PREFIX + self._group
        self._topic_bytes = topics.requests.encode()
        self._encoder = encoder
        self._max_dead_letter_bytes = max_dead_letter_bytes
        self._same_headers = [
            (CE_SPECVERSION_HEADER, CE_SPECVERSION),
            (CE_TYPE_HEADER, CE_TYPE),
            (CE_SOURCE_HEADER, self._source),
            (CONTENT_TYPE_HEADER, CONTENT_TYPE),
            (REQUEST_TOPIC_HEADER, self._topic_bytes),
        ]
        """Of all results."""
        self._shared_verdict: Synchronized | None = None
        self._shared: SharedResult
        self._shared_time = b""
        self._alike: Headers = []
        self._alike_in: tuple[bytes, int, str | None] | None = None
        """The time, partition and tenant of the results that have those headers: of one call they come in a row."""
        self._ce_id_begin = b""

    def publications(self, outcomes: Sequence[Request]) -> Iterator[Publication]:
        """Return one record for each outcome, in order, reduced where a broker found it too large."""
        for request in outcomes:
            verdict = _decided(request)
            if isinstance(verdict, Synchronized):
                yield self._shared_result(request, verdict)
            elif isinstance(verdict, DeadLettered):
                yield self._dead_letter(request, verdict, omit=self._is_too_large(request))
            else:
                yield self._result(request, verdict)

    def reduced(self, outcome: Request, *, smallest: bool) -> Publication:
        """Return a smaller record, or the smallest that still says what happened, for one that is too large."""
        verdict = _decided(outcome)
        if isinstance(verdict, DeadLettered):
            if not smallest:
                return self._dead_letter(outcome, verdict, omit=True)
            return self._dead_letter(outcome, verdict, omit=True, headers=False)._replace(key=None)
        fields = _fields(outcome, verdict)
        kept = PUBLISHING.smallest_tracking_ids if smallest else PUBLISHING.reduced_tracking_ids
        fields["trackingIds"] = fields["trackingIds"][:kept]
        key = outcome.request_id.encode()
        headers = self._headers(outcome, key, _rfc3339(verdict.completed_at))
        if smallest:
            _shorten(fields)
            headers = [
                (name, value) for name, value in headers if len(value or b"") <= PUBLISHING.smallest_header_bytes
            ]
        return Publication(self._topics.results, key, self._encoder.encode(fields), headers)

    # -- results ---------------------------------------------------------------------------------------

    def _shared_result(self, request: Request, verdict: Synchronized) -> Publication:
        """Return the record of a request whose call shares its verdict: on the hot path."""
        if verdict is not self._shared_verdict:
            self._share(verdict)
        key = request.request_id.encode()
        value = self._shared.encode(request.request_id, len(request.products), request.requested_at)
        return Publication(self._topics.results, key, value, self._headers(request, key, self._shared_time))

    def _share(self, verdict: Synchronized) -> None:
        self._shared_verdict = verdict
        self._shared = self._encoder.share(
            status="SYNCHRONIZED",
            client_specification_id=verdict.client_specification_id,
            tracking_ids=verdict.tracking_ids,
            completed_at=verdict.completed_at,
        )
        self._shared_time = _rfc3339(verdict.completed_at)

    def _result(self, request: Request, verdict: Partial | Failed) -> Publication:
        key = request.request_id.encode()
        value = self._encoder.encode(_fields(request, verdict))
        return Publication(
            self._topics.results, key, value, self._headers(request, key, _rfc3339(verdict.completed_at))
        )

    def _know_alike(self, time: bytes, partition: int, tenant: str | None) -> None:
        self._alike_in = time, partition, tenant
        self._ce_id_begin = b"%b/%d/" % (self._topic_bytes, partition)
        self._alike = [*self._same_headers, (CE_TIME_HEADER, time), (REQUEST_PARTITION_HEADER, b"%d" % partition)]
        if tenant is not None:
            self._alike.append((TENANT_HEADER, tenant.encode()))

    def _headers(self, request: Request, request_id: bytes, time: bytes) -> Headers:
        record, facts = request.record, request.headers
        alike_in = time, record.partition, request.tenant
        if alike_in != self._alike_in:
            self._know_alike(*alike_in)
        offset = b"%d" % record.offset
        headers: Headers = [
            *self._alike,
            (CE_ID_HEADER, b"%b%b/%d" % (self._ce_id_begin, offset, record.timestamp)),
            (CE_SUBJECT_HEADER, request_id),
            (REQUEST_OFFSET_HEADER, offset),
        ]
        if facts.traceparent is not None:
            headers.append((TRACEPARENT_HEADER, continued(facts.traceparent, record.partition, record.offset)))
            if facts.tracestate is not None:
                headers.append((TRACESTATE_HEADER, facts.tracestate))
        headers += facts.correlation
        return headers

    # -- dead letters ----------------------------------------------------------------------------------

    def _is_too_large(self, request: Request) -> bool:
        return _size_without_value(request) + len(request.record.value or b"") > self._max_dead_letter_bytes

    def _dead_letter(self, request: Request, verdict: DeadLettered, *, omit: bool, headers: bool = True) -> Publication:
        record = request.record
        kept = [
            (name, value)
            for name, value in (record.headers or () if headers else ())
            if not is_secret(name) and not name.lower().startswith(DLQ_PREFIX)
        ]
        own = [
            (DLQ_REASON_HEADER, verdict.reason.encode()),
            (DLQ_MESSAGE_HEADER, verdict.message.encode()),
            (DLQ_TOPIC_HEADER, self._topic_bytes),
            (DLQ_PARTITION_HEADER, b"%d" % record.partition),
            (DLQ_OFFSET_HEADER, b"%d" % record.offset),
            (DLQ_TIMESTAMP_HEADER, b"%d" % record.timestamp),
            (DLQ_GROUP_HEADER, self._group),
            (DLQ_SERVICE_HEADER, _SERVICE),
            (DLQ_REDRIVE_COUNT_HEADER, _count(request.headers.redrive_count)),
        ]
        if request.tenant is not None:
            own.append((DLQ_TENANT_HEADER, request.tenant.encode()))
        if record.headers is None or not headers:
            own.append((DLQ_HEADERS_OMITTED_HEADER, b"true"))
        value = record.value
        if record.problem is not None:
            own.append((DLQ_VALUE_OMITTED_HEADER, b"true"))
        if omit and value is not None:
            own += [
                (DLQ_VALUE_OMITTED_HEADER, b"true"),
                (DLQ_VALUE_BYTES_HEADER, b"%d" % len(value)),
                (DLQ_VALUE_SHA256_HEADER, hashlib.sha256(value).hexdigest().encode()),
            ]
            value = None
        return Publication(self._topics.dead_letters, record.key, value, [*kept, *own])


def _size_without_value(request: Request) -> int:
    record = request.record
    size = len(record.key or b"")
    return size + sum(len(name.encode()) + len(value or b"") for name, value in record.headers or ())


def _decided(request: Request) -> Verdict:
    if request.verdict is None:
        raise ValueError(f"the record at {request.record.partition}:{request.record.offset} has no verdict")
    return request.verdict


def _fields(request: Request, verdict: Synchronized | Partial | Failed) -> dict[str, Any]:
    partial = isinstance(verdict, Partial)
    status = "PARTIALLY_SYNCHRONIZED" if partial else "FAILED" if isinstance(verdict, Failed) else "SYNCHRONIZED"
    count = len(request.products) if isinstance(verdict, Synchronized) else 0
    return {
        "requestId": request.request_id,
        "status": status,
        "synchronizedProducts": verdict.synchronized_products if isinstance(verdict, Partial) else count,
        "clientSpecificationId": verdict.client_specification_id,
        "trackingIds": [] if isinstance(verdict, Failed) else list(verdict.tracking_ids),
        "unsynchronizedProducts": [
            {"miraklProductId": mirakl_id, "productSku": sku}
            for mirakl_id, sku in (verdict.unsynchronized.items() if isinstance(verdict, Partial) else ())
        ],
        "error": None if isinstance(verdict, Synchronized) else _error(verdict.error),
        "requestedAt": request.requested_at,
        "completedAt": verdict.completed_at,
    }


def _shorten(fields: dict[str, Any]) -> None:
    """Leave out the lists of a result; its error says so."""
    if fields["error"] is None:
        return
    error = fields["error"] = {**fields["error"], "fieldErrors": [], "availableClientSpecificationIds": []}
    if fields["unsynchronizedProducts"]:
        fields["unsynchronizedProducts"] = []
        error["message"] = "Some products were not taken in, too many to list here: ask for all of them again."


def _error(error: ResyncError) -> dict[str, Any]:
    return {
        "httpStatus": error.code.http_status,
        "code": error.code.value,
        "message": error.message,
        "retryable": error.code.retryable,
        "availableClientSpecificationIds": list(error.available_client_specification_ids),
        "fieldErrors": [{"field": row.field, "message": row.message} for row in error.field_errors],
    }


def _rfc3339(millis: int) -> bytes:
    moment = _EPOCH + timedelta(milliseconds=millis)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z").encode()


def _count(redrive_count: bytes | None) -> bytes:
    """Return how often a dead letter was redriven. The text is ours, whatever the header contains."""
    text = redrive_count or b""
    return text if text.isdigit() and len(text) < 10 else b"0"  # noqa: PLR2004 - fits any counter
