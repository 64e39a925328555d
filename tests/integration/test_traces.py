"""Traces, from whoever asks to the result, as a collector gets them over OTLP from a real run."""

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest

from producer_tools import ResyncPublisher, new_request
from producer_tools.sandbox.mirakl import Effect, Fault
from schemas.exit_codes import ExitCode
from schemas.settings import load
from tests.integration.contract.deployment import Deployment, deployed, record
from tests.integration.contract.wire import pairs, request
from tests.support.otlp import NEEDS_OTEL, CollectedSpan, Collector
from tests.support.parts import free_port, wait_until
from tests.support.records import RawRecord
from tests.support.topics import Topics, create_topics, delete_topics

pytestmark = NEEDS_OTEL

SENDER = "00f067aa0ba902b7"
SHOP = "shop"
LIMITS = ("--concurrent-calls", "1", "--products-per-call", "1000")
EXPORT_AT_ONCE = {"OTEL_BSP_SCHEDULE_DELAY": "50"}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as made:
        yield made


@pytest.fixture(scope="module")
def deployment(
    kafka_bootstrap: str, collector: Collector, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """A deployment whose service exports its spans at once."""
    topics = create_topics(kafka_bootstrap)
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, **EXPORT_AT_ONCE}
    with deployed(kafka_bootstrap, topics, tmp_path_factory.mktemp("traces"), **settings) as made:
        made.specification(SHOP, *LIMITS)
        yield made
    delete_topics(kafka_bootstrap, topics)


def asked(key: str, trace: str, *, sampled: bool = True) -> RawRecord:
    """A request in this trace, for two products of its own."""
    header = f"00-{trace}-{SENDER}-{'01' if sampled else '00'}"
    products = pairs(2, uuid.uuid4().hex[:8])
    return record(key, request(products), ("traceparent", header.encode()))


def new_trace() -> str:
    return uuid.uuid4().hex


def of(trace: str, kind: str) -> Callable[[CollectedSpan], bool]:
    return lambda span: (span.trace_id, span.kind) == (trace, kind)


def hold_the_lane(deployment: Deployment, key: str, seconds: float) -> None:
    """The next call takes so long; until it has ended, requests wait for the one after it."""
    deployment.mirakl.script(SHOP, Fault(effect=Effect.DELAY, delay=seconds, count=1))
    before = len(deployment.mirakl.submissions(SHOP))
    deployment.send(asked(key, new_trace(), sampled=False))
    wait_until(lambda: len(deployment.mirakl.submissions(SHOP)) > before, timeout=10, what="the slow call")


@pytest.mark.usefixtures("service")
def test_one_request_in_a_batch_of_a_hundred_is_one_picture(
    deployment: Deployment,
    key: str,
    collector: Collector,
) -> None:
    """One of the hundred is sampled: it is sent in a span of the requester's, and traced to its result."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    theirs = TracerProvider()
    theirs.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{collector.endpoint}/v1/traces")))
    settings = load({**deployment.environment, "RESYNC_API_KEY": key}, uses=("kafka", "topics", "api_key"))
    others = [asked(key, new_trace(), sampled=False) for _ in range(99)]
    with (
        ResyncPublisher(settings) as publisher,
        patch("opentelemetry.trace._TRACER_PROVIDER", theirs),
        theirs.get_tracer("the monitor").start_as_current_span("stock is low") as current,
    ):
        publisher.open()
        hold_the_lane(deployment, key, 2.0)
        future = publisher.submit(new_request([("MKL-1", "SKU-1")], requested_by="monitor", request_id="the-one"))
        written = deployment.send(*others)
        place = future.result(10)
    result = deployment.result_record((place.partition, place.offset))
    trace = f"{current.get_span_context().trace_id:032x}"
    [process] = collector.wait(of(trace, "CONSUMER"))
    [call] = collector.wait(lambda span: (process.trace_id, process.span_id) in span.links)

    [alert], [send] = collector.wait(of(trace, "INTERNAL")), collector.wait(of(trace, "PRODUCER"))
    assert [alert.span_id, send.span_id] == [send.parent_id, process.parent_id]
    flags = (result.header("traceparent") or "")[-2:]
    assert f"00-{trace}-{process.span_id}-{flags}" == result.header("traceparent")
    assert ("the-one", "SYNCHRONIZED", 1, 1) == tuple(
        process.attributes[name]
        for name in ("messaging.message.id", "resync.status", "resync.attempts", "resync.synchronized_products")
    )
    assert (str(place.partition), place.offset) == (
        process.attributes["messaging.destination.partition.id"],
        process.attributes["messaging.kafka.offset"],
    )
    assert [(call.trace_id, call.span_id)] == process.links
    assert ("CLIENT", "", 100) == (call.kind, call.parent_id, call.attributes["resync.requests"])
    assert "mirakl-resync" == call.resource["service.name"]
    assert call.seconds <= process.seconds

    for each in written:
        deployment.result(each)
    ours = collector.find(lambda span: span.resource["service.name"] == "mirakl-resync")
    assert {process.span_id, call.span_id} == {span.span_id for span in ours}


@pytest.mark.usefixtures("service")
def test_a_request_with_a_call_of_its_own_is_one_trace(
    deployment: Deployment,
    key: str,
    collector: Collector,
) -> None:
    deployment.mirakl.script(SHOP, Fault(effect=Effect.STATUS, status=503, count=1))
    trace = new_trace()
    [coordinates] = deployment.send(asked(key, trace))
    deployment.result(coordinates)
    [process] = collector.wait(of(trace, "CONSUMER"))
    failed, accepted = sorted(collector.wait(of(trace, "CLIENT"), count=2), key=lambda span: not span.failed)

    assert [process.span_id] * 2 == [failed.parent_id, accepted.parent_id]
    assert (SENDER, 2) == (process.parent_id, process.attributes["resync.attempts"])
    assert (503, "503") == tuple(failed.attributes[name] for name in ("http.response.status_code", "error.type"))
    assert "resync.tracking_id" in accepted.attributes


@pytest.mark.usefixtures("service")
def test_a_request_that_is_refused_says_with_which_code(
    deployment: Deployment,
    collector: Collector,
) -> None:
    trace = new_trace()
    deployment.send(asked("no-such-key", trace))
    [process] = collector.wait(of(trace, "CONSUMER"))

    assert (True, "API_KEY_INVALID", 0) == (
        process.failed,
        process.attributes["error.type"],
        process.attributes["resync.attempts"],
    )


def test_a_collector_that_hangs_costs_no_request_and_no_stop_anything(
    kafka_bootstrap: str, topics: Topics, tmp_path: Path
) -> None:
    small = {"OTEL_BSP_MAX_QUEUE_SIZE": "20", **EXPORT_AT_ONCE}
    with Collector() as hanging, deployed(kafka_bootstrap, topics, tmp_path, **small) as own:
        key = own.key()
        own.specification(SHOP, *LIMITS)
        hanging.hang()
        with own.service(OTEL_EXPORTER_OTLP_ENDPOINT=hanging.endpoint) as service:
            for _ in range(3):
                sent = own.send(*(asked(key, new_trace()) for _ in range(100)))
                own.outcomes.wait(sent, timeout=10)
            wait_until(lambda: hanging.asked > 0, timeout=10, what="an export that hangs")
            metrics = service.get("/metrics").text
            ready = service.status("/readyz")
            began = time.monotonic()
            code = service.terminate()
            stopped = time.monotonic() - began

        assert (200, 0) == (ready, code)
        assert stopped < 10
        assert 'resync_spans_total{outcome="dropped"} 0.0' not in metrics
        assert "Spans are dropped" in service.output()
        assert "The last spans are lost" in service.output()


def test_a_collector_that_is_not_there_is_told_and_costs_nothing(
    kafka_bootstrap: str, topics: Topics, tmp_path: Path
) -> None:
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}", "OTEL_EXPORTER_OTLP_TIMEOUT": "1.5"}
    with deployed(kafka_bootstrap, topics, tmp_path, **settings, **EXPORT_AT_ONCE) as own:
        key = own.key()
        own.specification(SHOP, *LIMITS)
        with own.service() as service:
            [coordinates] = own.send(asked(key, new_trace()))
            assert "SYNCHRONIZED" == own.result(coordinates)["status"]
            told = "(connection refused). They are lost; requests are answered as ever."
            wait_until(lambda: told in service.output(), timeout=10, what="the line that says so")


@pytest.mark.parametrize(
    ("endpoint", "told"),
    [("localhost:4318", "OTEL_EXPORTER_OTLP_ENDPOINT is not the URL of a collector. Write a URL such as")],
)
def test_a_wrong_endpoint_ends_the_start_with_what_to_do(deployment: Deployment, endpoint: str, told: str) -> None:
    service = deployment.service("wrong", OTEL_EXPORTER_OTLP_ENDPOINT=endpoint)
    service.start()

    assert ExitCode.USAGE == service.wait_end(30)
    assert told in service.output()


def test_both_processes_of_a_replica_export_their_spans(kafka_bootstrap: str, topics: Topics, tmp_path: Path) -> None:
    with Collector() as collector:
        settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, "RESYNC_PROCESSES": "2", **EXPORT_AT_ONCE}
        with deployed(kafka_bootstrap, topics, tmp_path, **settings) as own:
            key = own.key()
            own.specification(SHOP, *LIMITS)
            with own.service():

                def instances() -> set[object]:
                    sent = own.send(*(replace(asked(key, new_trace()), partition=number) for number in range(4)))
                    own.outcomes.wait(sent)
                    return {span.resource["service.instance.id"] for span in list(collector.spans)}

                wait_until(lambda: len(instances()) == 2, timeout=30, what="spans of both processes")
