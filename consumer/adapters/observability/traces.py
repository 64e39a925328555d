"""Traces of sampled requests: what their calls were is noted until their outcomes are published.

A request is sampled if its ``traceparent`` says so; of all others nothing is noted and no span is made.
"""

import time
from collections.abc import Callable, Sequence
from typing import TypeAlias

from consumer.adapters.observability.spans import (
    NANOSECONDS,
    CallsOfRequest,
    Period,
    RequestSpans,
    Span,
    SpanContext,
    call_span,
    request_context,
)
from consumer.adapters.trace_context import is_sampled
from consumer.domain.calls import CallOutcome
from consumer.engine.commands import StartCall
from consumer.engine.requests import Assignment, Phase, Request

Offer: TypeAlias = Callable[[Sequence[Span]], None]
"""Take spans for export; never waits."""

_NO_CALLS = CallsOfRequest()


class Traces:
    """Makes the spans of calls and of published outcomes.

    ``call_finished`` is for the loop's thread, ``published`` for the committer's. ``max_links`` bounds the links of a
    span.
    """

    def __init__(self, offer: Offer, topic: str, group: str, max_links: int) -> None:
        self._offer = offer
        self._max_links = max_links
        self._request_spans = RequestSpans(topic, group, max_links)
        self._calls: dict[Assignment, dict[int, CallsOfRequest]] = {}
        """Offset -> its calls, for sampled requests that are not published yet."""

    def call_finished(self, outcome: CallOutcome, seconds: float, call: StartCall) -> None:
        """Make the span of a call that carried a sampled request."""
        sampled = {
            part.request: request_context(part.request, traceparent)
            for part in call.parts
            if (traceparent := part.request.headers.traceparent) is not None and is_sampled(traceparent)
        }
        if not sampled:
            return
        end = time.time_ns()
        period = Period(end - int(seconds * NANOSECONDS), end)
        span = call_span(call, outcome, period, list(sampled.values()), self._max_links)
        shared = () if span.parent_id is not None else (span.context,)
        for request in sampled:
            self._note(request, shared)
        self._offer([span])

    def published(self, outcomes: Sequence[Request]) -> None:
        """Make the spans of the sampled among the requests whose outcomes were published together."""
        sampled = [
            (request, traceparent)
            for request in outcomes
            if (traceparent := request.headers.traceparent) is not None and is_sampled(traceparent)
        ]
        if not sampled:
            return
        end, now = time.time_ns(), time.monotonic()
        self._offer(
            [
                self._request_spans.span(
                    request,
                    traceparent,
                    self._taken(request),
                    Period(end - int((now - request.read_at) * NANOSECONDS), end),
                )
                for request, traceparent in sampled
            ]
        )

    def _note(self, request: Request, shared: tuple[SpanContext, ...]) -> None:
        assignment = request.assignment
        if request.phase >= Phase.COMMITTED:  # given up while this call was in flight, or its assignment has ended
            return
        calls = self._calls.get(assignment)
        if calls is None:
            for ended in [each for each in list(self._calls) if each.ended]:
                self._calls.pop(ended, None)
            calls = self._calls[assignment] = {}
        attempts, others = calls.get(request.record.offset, _NO_CALLS)
        calls[request.record.offset] = CallsOfRequest(attempts + 1, others + shared)

    def _taken(self, request: Request) -> CallsOfRequest:
        calls = self._calls.get(request.assignment)
        return _NO_CALLS if calls is None else calls.pop(request.record.offset, _NO_CALLS)
