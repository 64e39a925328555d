"""Spans over the wire, by OpenTelemetry's own exporter to a collector that decodes them."""

import logging
from collections.abc import Iterator
from dataclasses import replace

import pytest

from consumer.adapters.observability.otlp import OtlpExporter, reason
from consumer.adapters.observability.spans import Kind, Period, Span, SpanContext
from schemas import conventions
from schemas.conventions import SCHEMA_URL, Http, Messaging
from tests.support.otlp import NEEDS_OTEL, Collector
from tests.support.parts import free_port

SPAN = Span(
    "process requests.v1",
    Kind.CONSUMER,
    SpanContext(0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x0102),
    0xF067AA0BA902B7,
    Period(1_700_000_000_000_000_000, 1_700_000_000_250_000_000),
    {"messaging.system": "kafka", "messaging.kafka.offset": 42},
    (SpanContext(0xAB, 0xCD),),
    2,
    "CM21_UNAVAILABLE",
    "a=1,b=2",
    remote_parent=True,
)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The exporter's logger as it was."""
    logger = logging.getLogger("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    before = logger.handlers[:], logger.propagate
    yield
    logger.handlers[:], logger.propagate = before


def exporter(endpoint: str, timeout: float = 5.0) -> OtlpExporter:
    return OtlpExporter(endpoint, "1.2.3", "pod-0", timeout=timeout)


@NEEDS_OTEL
def test_a_span_arrives_as_it_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_SERVICE_NAME", raising=False)
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,service.instance.id=given")
    with Collector() as collector:
        assert exporter(f"{collector.endpoint}/v1/traces").export([SPAN, replace(SPAN, failure=None, links=())]) is None
        first, second = collector.spans

    assert ("process requests.v1", "CONSUMER", 0.25) == (first.name, first.kind, first.seconds)
    assert ("4bf92f3577b34da6a3ce929d0e0e4736", "0000000000000102", "00f067aa0ba902b7") == (
        first.trace_id,
        first.span_id,
        first.parent_id,
    )
    assert SPAN.attributes == first.attributes
    assert ([("ab".zfill(32), "cd".zfill(16))], 2) == (first.links, first.dropped_links)
    assert (True, "CM21_UNAVAILABLE", "a=1,b=2") == (first.failed, first.message, first.trace_state)
    assert (False, "", []) == (second.failed, second.message, second.links)
    assert SCHEMA_URL == first.schema_url
    assert {
        "service.name": "mirakl-resync",
        "service.version": "1.2.3",
        "service.instance.id": "given",
        "deployment.environment.name": "test",
    }.items() <= first.resource.items()


@NEEDS_OTEL
def test_a_collector_that_refuses_is_told_with_its_status() -> None:
    with Collector() as collector:
        collector.status = 401
        assert "HTTP 401 Unauthorized" == exporter(f"{collector.endpoint}/v1/traces").export([SPAN])
        assert "HTTP 404 Not Found" == exporter(f"{collector.endpoint}/elsewhere").export([SPAN])


@NEEDS_OTEL
@pytest.mark.parametrize(
    ("status", "location", "told"),
    [
        (301, "/v1/traces/", "HTTP 301 Moved Permanently, a redirect"),
        (
            302,
            "https://user:hush@login.example/sign-in?state=hush",
            "HTTP 302 Found, a redirect to https://login.example/sign-in",
        ),
        (304, None, "HTTP 304 Not Modified, a redirect"),
        (
            307,
            "http://127.0.0.1:9/v1/traces",
            "HTTP 307 Temporary Redirect, a redirect to http://127.0.0.1:9/v1/traces",
        ),
        (308, "http://[", "HTTP 308 Permanent Redirect, a redirect"),
    ],
)
def test_a_redirect_is_a_failed_export_and_is_not_followed(status: int, location: str | None, told: str) -> None:
    """The spans are nowhere, although OpenTelemetry's exporter takes any status below 400 for success."""
    with Collector() as collector:
        sending = exporter(f"{collector.endpoint}/v1/traces")
        collector.status, collector.location = status, location
        assert (told, 1) == (sending.export([SPAN]), collector.asked)

        collector.status, collector.location = 200, None
        assert sending.export([SPAN]) is None


@NEEDS_OTEL
@pytest.mark.parametrize("status", [201, 202, 204, 400, 429, 500])
def test_only_2xx_is_success(status: int) -> None:
    with Collector() as collector:
        collector.status = status
        assert (exporter(f"{collector.endpoint}/v1/traces", 0.3).export([SPAN]) is None) == (status < 300)


@NEEDS_OTEL
def test_a_collector_that_is_not_there_or_hangs_is_told_in_plain_words() -> None:
    assert "connection refused" == exporter(f"http://127.0.0.1:{free_port()}/v1/traces", 1.5).export([SPAN])
    with Collector() as collector:
        collector.hang()
        assert "no answer in time" == exporter(f"{collector.endpoint}/v1/traces", 0.2).export([SPAN])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            "SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] …'))",
            "its certificate is not accepted",
        ),
        ("NameResolutionError(\"Failed to resolve 'nowhere'\")", "its host name cannot be looked up"),
        ("odd: <Thing object at 0x7f001> broke", "odd: … broke"),
        ("", "no reason given"),
        ("x" * 1_000, "x" * 200),
    ],
)
def test_other_reasons_are_told_in_bounded_words(words: str, told: str) -> None:
    assert told == reason(words)


@NEEDS_OTEL
def test_the_names_are_those_of_the_version_that_is_declared() -> None:
    """OpenTelemetry generates its package from the conventions."""
    from opentelemetry.semconv._incubating.attributes import messaging_attributes
    from opentelemetry.semconv.attributes import error_attributes, http_attributes, server_attributes, url_attributes
    from opentelemetry.semconv.schemas import Schemas

    generated = {
        value
        for module in (messaging_attributes, error_attributes, http_attributes, server_attributes, url_attributes)
        for name, value in vars(module).items()
        if name.isupper()
    }

    assert {*Messaging, *Http, conventions.ERROR_TYPE} <= generated
    assert SCHEMA_URL in {each.value for each in Schemas}
