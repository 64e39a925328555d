"""Requests continue the trace of whoever asks."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import KafkaError

from producer_tools import InvalidRequestError, ResyncPublisher
from producer_tools.errors import NotAcknowledgedError
from producer_tools.publisher import new_request
from tests.support.otlp import NEEDS_OTEL
from tests.support.parts import wait_until
from tests.support.policies import adjust
from tests.support.service import ROOT
from tests.unit.producer_tools.fake_kafka import FakeBroker, fake_broker, settings

GIVEN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
PRODUCTS = [("M", "S")]

pytestmark = NEEDS_OTEL


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeBroker]:
    adjust(monkeypatch, "producer_tools.sender", "TOOLS", sender_poll_seconds=0.005)
    with fake_broker(monkeypatch, [("requests", 1)]) as broker:
        yield broker


@pytest.fixture
def publisher(broker: FakeBroker) -> Iterator[ResyncPublisher]:  # noqa: ARG001 - it connects there
    with ResyncPublisher(settings()) as made:
        yield made


@pytest.fixture
def finished(monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: ANN401 - of the SDK
    """The finished spans of this process, whose tracer provider is the SDK's."""
    import opentelemetry.trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(opentelemetry.trace, "_TRACER_PROVIDER", provider)
    return exporter.get_finished_spans


def current() -> Any:  # noqa: ANN401 - of the API
    import opentelemetry.trace

    return opentelemetry.trace.get_tracer("test").start_as_current_span("alert")


def finished_send(finished: Any) -> Any:  # noqa: ANN401 - of the SDK
    """The span of the request that was sent; it ends with the acknowledgement, on another thread."""
    wait_until(lambda: any(span.name == "send requests" for span in finished()), timeout=5, what="the span's end")
    return next(span for span in finished() if span.name == "send requests")


def headers(broker: FakeBroker) -> dict[str, bytes | None]:
    return dict(broker.topics["requests"][0][-1].headers_ or ())


def test_a_request_is_sent_in_a_span_below_the_current_one(
    broker: FakeBroker,
    publisher: ResyncPublisher,
    finished: Any,  # noqa: ANN401
) -> None:
    with current() as alert:
        publisher.send(PRODUCTS, requested_by="test", request_id="r-1", correlation_id="c-1")
    sent = finished_send(finished)
    context = sent.context

    traceparent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
    assert traceparent.encode() == headers(broker)["traceparent"]
    assert (alert.get_span_context().trace_id, alert.get_span_context().span_id) == (
        context.trace_id,
        sent.parent.span_id,
    )
    assert "PRODUCER" == sent.kind.name
    assert {
        "messaging.system": "kafka",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": "requests",
        "messaging.message.id": "r-1",
        "messaging.message.conversation_id": "c-1",
        "messaging.destination.partition.id": "0",
        "messaging.kafka.offset": 0,
    } == dict(sent.attributes)


def test_a_request_that_is_not_acknowledged_says_so_in_its_span(
    broker: FakeBroker,
    publisher: ResyncPublisher,
    finished: Any,  # noqa: ANN401
) -> None:
    broker.deliveries.append(KafkaError(KafkaError._MSG_TIMED_OUT))
    with current(), pytest.raises(NotAcknowledgedError):
        publisher.send(PRODUCTS, requested_by="test")
    sent = finished_send(finished)

    assert ("NotAcknowledgedError", "ERROR") == (sent.attributes["error.type"], sent.status.status_code.name)


def test_a_traceparent_that_is_given_counts(
    broker: FakeBroker,
    publisher: ResyncPublisher,
    finished: Any,  # noqa: ANN401
) -> None:
    with current():
        publisher.send(PRODUCTS, requested_by="test", traceparent=GIVEN)

    assert GIVEN.encode() == headers(broker)["traceparent"]
    assert ["alert"] == [span.name for span in finished()]


def test_without_a_current_span_there_is_no_trace(
    broker: FakeBroker,
    publisher: ResyncPublisher,
    finished: Any,  # noqa: ANN401
) -> None:
    publisher.send(PRODUCTS, requested_by="test")

    assert "traceparent" not in headers(broker)
    assert () == finished()


def test_a_remote_span_is_continued_as_it_is_where_nothing_makes_spans(
    broker: FakeBroker, publisher: ResyncPublisher
) -> None:
    """With the API alone, as a framework that only passes contexts on."""
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState, use_span

    state = TraceState([("a", "1")])
    context = SpanContext(
        int(GIVEN[3:35], 16), int(GIVEN[36:52], 16), is_remote=True, trace_flags=TraceFlags(1), trace_state=state
    )
    with use_span(NonRecordingSpan(context)):
        publisher.send(PRODUCTS, requested_by="test")
        prepared = publisher.prepare(new_request(PRODUCTS, requested_by="test"))

    for found in (headers(broker), dict(prepared.headers)):
        assert (GIVEN.encode(), b"a=1") == (found["traceparent"], found["tracestate"])


def test_a_request_that_is_refused_before_it_is_sent_leaves_no_span(
    publisher: ResyncPublisher,
    finished: Any,  # noqa: ANN401
) -> None:
    with current(), pytest.raises(InvalidRequestError):
        publisher.send(PRODUCTS, requested_by="test", traceparent="no trace")

    assert ["alert"] == [span.name for span in finished()]


def test_opentelemetry_is_never_imported_by_the_tools() -> None:
    code = "import producer_tools.cli, sys; sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"

    assert 0 == subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode
