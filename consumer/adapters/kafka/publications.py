"""Kafka records of verdicts: result events and dead letters, as the contract defines them.

The results of one CM21 call share a ``Synchronized`` verdict: what they have in common is encoded once.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final, NoReturn

from consumer import __version__
from consumer.adapters.kafka.outgoing import Headers, Publication
from consumer.adapters.kafka.policy import PUBLISHING
from consumer.adapters.trace_context import continued
from consumer.domain.outcome import DeadLettered, Failed, Partial, ResyncError, Synchronized
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
        self._topic_bytes = topics.requests.encode()
        self._encoder = encoder
        self._max_dead_letter_bytes = max_dead_letter_bytes
        self._same_headers: Headers = [
            (CE_SPECVERSION_HEADER, CE_SPECVERSION),
            (CE_TYPE_HEADER, CE_TYPE),
            (CE_SOURCE_HEADER, CE_SOURCE_PREFIX + self._group),
            (CONTENT_TYPE_HEADER, CONTENT_TYPE),
            (REQUEST_TOPIC_HEADER, self._topic_bytes),
        ]
        """Of all results."""
        self._shared = lru_cache(PUBLISHING.shared_results)(self._share)
        self._alike = lru_cache(PUBLISHING.shared_results)(self._headers_alike)

    def publications(self, outcomes: Sequence[Request]) -> Iterator[Publication]:
        """Return one record for each outcome, in order, reduced where a broker found it too large."""
        for request in outcomes:
            verdict = request.verdict or _undecided(request)
            if isinstance(verdict, DeadLettered):
                yield self._dead_letter(request, verdict, omit=self._is_too_large(request))
                continue
            key = request.request_id.encode()
            if isinstance(verdict, Synchronized):
                value = self._shared(verdict).encode(key, len(request.products), request.requested_at)
            else:
                value = self._encoder.encode(_fields(request, verdict))
            yield self._topics.results, key, value, self._headers(request, key, verdict.completed_at)

    def reduced(self, outcome: Request, *, smallest: bool) -> Publication:
        """Return a smaller record, or the smallest that still says what happened, for one that is too large."""
        verdict = outcome.verdict or _undecided(outcome)
        if isinstance(verdict, DeadLettered):
            topic, key, value, headers = self._dead_letter(outcome, verdict, omit=True, headers=not smallest)
            return topic, None if smallest else key, value, headers
        fields = _fields(outcome, verdict)
        kept = PUBLISHING.smallest_tracking_ids if smallest else PUBLISHING.reduced_tracking_ids
        fields["trackingIds"] = fields["trackingIds"][:kept]
        key = outcome.request_id.encode()
        headers = self._headers(outcome, key, verdict.completed_at)
        if smallest:
            _shorten(fields)
            headers = [
                (name, value) for name, value in headers if len(value or b"") <= PUBLISHING.smallest_header_bytes
            ]
        return self._topics.results, key, self._encoder.encode(fields), headers

    # -- results ---------------------------------------------------------------------------------------

    def _share(self, verdict: Synchronized) -> SharedResult:
        return self._encoder.share(
            status="SYNCHRONIZED",
            client_specification_id=verdict.client_specification_id,
            tracking_ids=verdict.tracking_ids,
            completed_at=verdict.completed_at,
        )

    def _headers_alike(self, completed_at: int, partition: int, tenant: str | None) -> tuple[bytes, Headers]:
        """Return the beginning of ``ce_id``, and the headers that results of this time, partition and tenant share."""
        headers = [
            *self._same_headers,
            (CE_TIME_HEADER, _rfc3339(completed_at)),
            (REQUEST_PARTITION_HEADER, b"%d" % partition),
        ]
        if tenant is not None:
            headers.append((TENANT_HEADER, tenant.encode()))
        return b"%b/%d/" % (self._topic_bytes, partition), headers

    def _headers(self, request: Request, request_id: bytes, completed_at: int) -> Headers:
        record, facts = request.record, request.headers
        ce_id, alike = self._alike(completed_at, record.partition, request.tenant)
        offset = b"%d" % record.offset
        headers: Headers = [
            *alike,
            (CE_ID_HEADER, b"%b%b/%d" % (ce_id, offset, record.timestamp)),
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
        return self._topics.dead_letters, record.key, value, [*kept, *own]


def _size_without_value(request: Request) -> int:
    record = request.record
    size = len(record.key or b"")
    return size + sum(len(name.encode()) + len(value or b"") for name, value in record.headers or ())


def _undecided(request: Request) -> NoReturn:
    raise ValueError(f"the record at {request.record.partition}:{request.record.offset} has no verdict")


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
