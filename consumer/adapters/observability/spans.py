"""Spans of requests and of CM21 calls, made of what is known at their end; plain values, without OpenTelemetry.

A request's span begins when its record was read and ends when its outcome was published. It has the id that the
result's ``traceparent`` carries. A call for one request is its child; a call for several is a trace of its own.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias
from urllib.parse import urlsplit

from consumer.adapters.trace_context import flags, parent_id, span_id, trace_id
from consumer.domain.base_url import SYNCHRONIZATION_PATH, synchronization_url
from consumer.domain.calls import CallFailure, CallOutcome, Receipt, Refusal, Unacknowledged
from consumer.domain.outcome import DeadLettered, Failed, Partial, Synchronized, Verdict
from consumer.engine.commands import StartCall
from consumer.engine.requests import Request
from schemas.contract import ErrorCode
from schemas.conventions import ERROR_TYPE, KAFKA, PROCESS, Http, Messaging

NANOSECONDS: Final = 1_000_000_000
SAMPLED: Final = 1
"""Trace flags of a trace of our own."""

Attributes: TypeAlias = Mapping[str, str | int]


class Kind(Enum):
    """Kind of a span, by OpenTelemetry's names."""

    CONSUMER = "CONSUMER"
    CLIENT = "CLIENT"


class SpanContext(NamedTuple):
    """Place of a span: both ids as integers."""

    trace_id: int
    span_id: int
    flags: int = SAMPLED


class Period(NamedTuple):
    """Begin and end, in nanoseconds since the epoch."""

    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Span:
    """One finished span."""

    name: str
    kind: Kind
    context: SpanContext
    parent_id: int | None
    period: Period
    attributes: Attributes
    links: Sequence[SpanContext] = ()
    dropped_links: int = 0
    """Links beyond the limit of a span."""
    failure: str | None = None
    """Why it did not end well, without words from outside."""
    trace_state: str = ""
    """Of whoever began the trace (W3C ``tracestate``)."""
    remote_parent: bool = False
    """The parent is a span of another program."""


class CallsOfRequest(NamedTuple):
    """Finished calls that carried a request or a part of it."""

    attempts: int = 0
    shared: tuple[SpanContext, ...] = ()
    """Spans of those that carried other requests as well."""


class RequestSpans:
    """Makes the spans of requests; ``topic`` is the requests topic, ``group`` the consumer group."""

    def __init__(self, topic: str, group: str, max_links: int) -> None:
        self._name = f"{PROCESS} {topic}"
        self._max_links = max_links
        self._same: Attributes = {
            Messaging.SYSTEM: KAFKA,
            Messaging.OPERATION_NAME: PROCESS,
            Messaging.OPERATION_TYPE: PROCESS,
            Messaging.DESTINATION: topic,
            Messaging.GROUP: group,
        }

    def span(self, request: Request, traceparent: bytes, calls: CallsOfRequest, period: Period) -> Span:
        """Return the span of a request whose outcome was published; ``traceparent`` is that of its record."""
        record = request.record
        attributes: dict[str, str | int] = {
            **self._same,
            Messaging.PARTITION: str(record.partition),
            Messaging.OFFSET: record.offset,
            Messaging.BODY_SIZE: len(record.value or b""),
            "resync.products": len(request.products),
            "resync.attempts": calls.attempts,
        }
        if request.request_id:
            attributes[Messaging.MESSAGE_ID] = request.request_id
        if request.tenant is not None:
            attributes["resync.tenant"] = request.tenant
        for _, value in request.headers.correlation[:1]:
            if value:
                attributes[Messaging.CONVERSATION_ID] = value.decode(errors="replace")
        failure = _note_verdict(attributes, request)
        return Span(
            self._name,
            Kind.CONSUMER,
            request_context(request, traceparent),
            parent_id(traceparent),
            period,
            attributes,
            calls.shared[-self._max_links :],
            max(0, len(calls.shared) - self._max_links),
            failure,
            (request.headers.tracestate or b"").decode("ascii", errors="ignore"),
            remote_parent=True,
        )


def request_context(request: Request, traceparent: bytes) -> SpanContext:
    """Return the place of a request's span, which is that in its result's ``traceparent``."""
    record = request.record
    return SpanContext(trace_id(traceparent), span_id(record.partition, record.offset), flags(traceparent))


def call_span(
    call: StartCall, outcome: CallOutcome, period: Period, requests: Sequence[SpanContext], max_links: int
) -> Span:
    """Return the span of a finished call; ``requests``: the spans of the sampled ones in it, at least one.

    It is a child if the call carried one request, and otherwise a trace of its own with a link to each.
    """
    alone = len({part.request for part in call.parts}) == 1
    host, port, url = _address(call.specification.base_url)
    attributes: dict[str, str | int] = {
        Http.METHOD: "POST",
        Http.SERVER: host,
        Http.PORT: port,
        Http.URL: url,
        "resync.client_specification_id": call.specification.id,
        "resync.requests": call.requests,
        "resync.products": len(call.products),
    }
    failure = _note_outcome(attributes, outcome)
    context = SpanContext(requests[0].trace_id if alone else _new_trace_id(), _new_span_id())
    return Span(
        f"POST {SYNCHRONIZATION_PATH}",
        Kind.CLIENT,
        context,
        requests[0].span_id if alone else None,
        period,
        attributes,
        () if alone else requests[:max_links],
        0 if alone else max(0, len(requests) - max_links),
        failure,
    )


def _note_verdict(attributes: dict[str, str | int], request: Request) -> str | None:
    """Add how a request ended; return its code if it did not end well."""
    status, code, accepted = _ending(request.verdict, len(request.products))
    attributes["resync.status"] = status
    attributes["resync.synchronized_products"] = accepted
    if request.lane is not None:
        attributes["resync.client_specification_id"] = request.lane
    if code is not None:
        attributes[ERROR_TYPE] = code
    return code


def _ending(verdict: Verdict | None, products: int) -> tuple[str, str | None, int]:
    """Return status, code, and number of products that Mirakl accepted."""
    match verdict:
        case Synchronized():
            return "SYNCHRONIZED", None, products
        case Partial():
            return "PARTIALLY_SYNCHRONIZED", verdict.error.code.value, verdict.synchronized_products
        case Failed():
            return "FAILED", verdict.error.code.value, 0
        case DeadLettered():
            return "DEAD_LETTERED", verdict.reason.value, 0
        case None:
            raise ValueError("a request without a verdict has no outcome that could be published")


def _note_outcome(attributes: dict[str, str | int], outcome: CallOutcome) -> str | None:
    """Add how a call ended; return why it did not end well."""
    if isinstance(outcome, Receipt):
        attributes["resync.tracking_id"] = outcome.tracking_id
        return None
    if outcome.status is not None:
        attributes[Http.STATUS_CODE] = outcome.status
    match outcome:
        case CallFailure():
            code = ErrorCode.CM21_OUTCOME_UNKNOWN if outcome.may_have_reached else ErrorCode.CM21_UNAVAILABLE
            attributes[ERROR_TYPE] = code.value if outcome.status is None else str(outcome.status)
            return outcome.reason
        case Unacknowledged():
            attributes[ERROR_TYPE] = ErrorCode.CM21_OUTCOME_UNKNOWN.value  # its status is a good one
            return "the answer has no usable tracking id"
        case Refusal():
            attributes[ERROR_TYPE] = str(outcome.status)
            return f"HTTP {outcome.status}"


@lru_cache(maxsize=1024)
def _address(base_url: str) -> tuple[str, int, str]:
    url = synchronization_url(base_url)
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80), url


def _new_trace_id() -> int:
    return random.getrandbits(128) or 1


def _new_span_id() -> int:
    return random.getrandbits(64) or 1
