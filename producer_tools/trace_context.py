"""The OpenTelemetry context of whoever asks: it becomes the ``traceparent`` of the request.

OpenTelemetry is not imported here. There is a current span only where the caller has imported it, and then it is used
as it is loaded.
"""

import sys
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final, Self

from producer_tools.sender import Acknowledgement, OutgoingRecord
from schemas.contract import TRACEPARENT_HEADER, TRACESTATE_HEADER
from schemas.conventions import ERROR_TYPE, KAFKA, SCHEMA_URL, SEND, Messaging

API: Final = "opentelemetry.trace"
SCOPE: Final = "mirakl_resync.producer_tools"
"""Instrumentation scope of the spans."""


def context_headers() -> tuple[tuple[str, bytes], ...]:
    """Return the headers that continue the current trace; none where there is no current span."""
    api: Any = sys.modules.get(API)
    return () if api is None else _headers(api.get_current_span())


@dataclass(frozen=True, slots=True)
class SendSpan:
    """A span about sending one request, below the caller's current span."""

    _api: Any
    _span: Any

    @classmethod
    def begin(cls, topic: str, request_id: str, correlation_id: str | None) -> Self | None:
        """Begin the span; ``None`` where there is no current span."""
        api: Any = sys.modules.get(API)
        if api is None or not api.get_current_span().get_span_context().is_valid:
            return None
        attributes = {
            Messaging.SYSTEM.value: KAFKA,
            Messaging.OPERATION_NAME.value: SEND,
            Messaging.OPERATION_TYPE.value: SEND,
            Messaging.DESTINATION.value: topic,
            Messaging.MESSAGE_ID.value: request_id,
        }
        if correlation_id is not None:
            attributes[Messaging.CONVERSATION_ID.value] = correlation_id
        tracer = api.get_tracer(SCOPE, schema_url=SCHEMA_URL)
        return cls(api, tracer.start_span(f"{SEND} {topic}", kind=api.SpanKind.PRODUCER, attributes=attributes))

    def headers(self) -> tuple[tuple[str, bytes], ...]:
        """Return the headers that make the request's span a child of this one."""
        return _headers(self._span)

    def follow(
        self, send: Callable[[OutgoingRecord], Future[Acknowledgement]], record: OutgoingRecord
    ) -> Future[Acknowledgement]:
        """Send the record; the span ends with its acknowledgement."""
        try:
            future = send(record)
        except Exception as problem:
            self._failed(problem)
            self._span.end()
            raise
        future.add_done_callback(self._end)
        return future

    def _end(self, future: Future[Acknowledgement]) -> None:
        problem = None if future.cancelled() else future.exception()
        if problem is not None:
            self._failed(problem)
        elif not future.cancelled():
            place = future.result()
            self._span.set_attribute(Messaging.PARTITION.value, str(place.partition))
            self._span.set_attribute(Messaging.OFFSET.value, place.offset)
        self._span.end()

    def _failed(self, problem: BaseException) -> None:
        kind = type(problem).__name__
        self._span.set_attribute(ERROR_TYPE, kind)
        self._span.set_status(self._api.Status(self._api.StatusCode.ERROR, kind))


def _headers(span: Any) -> tuple[tuple[str, bytes], ...]:  # noqa: ANN401 - opentelemetry.trace.Span, which is not imported
    context = span.get_span_context()
    if not context.is_valid:
        return ()
    traceparent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
    state = context.trace_state.to_header()
    more = ((TRACESTATE_HEADER, state.encode()),) if state else ()
    return ((TRACEPARENT_HEADER, traceparent.encode()), *more)
