"""OpenTelemetry's own variables: when spans are exported, and what is wrong with them, in one sentence each."""

import sys
from pathlib import Path

import pytest

from consumer.adapters.observability.otlp_settings import OtlpSettings, read_otlp_settings
from consumer.adapters.observability.span_queue import QueuePolicy
from schemas.exit_codes import ExitCode
from schemas.settings import SettingsError
from tests.support.otlp import NEEDS_OTEL

ENDPOINT, TRACES_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
GOOD = {ENDPOINT: "http://collector:4318"}


def read(environ: dict[str, str]) -> OtlpSettings:
    found = read_otlp_settings(environ)
    assert found is not None
    return found


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {ENDPOINT: " "},
        {"OTEL_SERVICE_NAME": "x", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
        {**GOOD, "OTEL_SDK_DISABLED": "True"},
        {**GOOD, "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_without_an_endpoint_or_switched_off_nothing_is_exported(environ: dict[str, str]) -> None:
    assert read_otlp_settings(environ) is None


@NEEDS_OTEL
@pytest.mark.parametrize(
    ("environ", "endpoint"),
    [
        (GOOD, "http://collector:4318/v1/traces"),
        ({ENDPOINT: "https://collector/otlp/"}, "https://collector/otlp/v1/traces"),
        ({**GOOD, TRACES_ENDPOINT: "http://other:9/x"}, "http://other:9/x"),
    ],
)
def test_the_path_is_that_of_the_specification(environ: dict[str, str], endpoint: str) -> None:
    assert endpoint == read(environ).endpoint


@NEEDS_OTEL
def test_the_bounds_are_opentelemetrys_variables() -> None:
    given = {
        "OTEL_BSP_MAX_QUEUE_SIZE": "100",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "10",
        "OTEL_BSP_SCHEDULE_DELAY": "250",
        "OTEL_SPAN_LINK_COUNT_LIMIT": "7",
    }

    assert (QueuePolicy(100, 10, 0.25), 7) == (read({**GOOD, **given}).queue, read({**GOOD, **given}).max_links)
    assert (QueuePolicy(), 128) == (read(GOOD).queue, read(GOOD).max_links)


@pytest.mark.parametrize(
    ("environ", "mistake"),
    [
        ({ENDPOINT: "collector:4318"}, "is not the URL of a collector. Write a URL such as http://collector:4318"),
        ({ENDPOINT: "grpc://collector"}, "is not the URL of a collector"),
        ({ENDPOINT: "http://"}, "is not the URL of a collector"),
        ({ENDPOINT: "http://h:0"}, "is not the URL of a collector"),
        ({ENDPOINT: "http://h:99999"}, "has no valid host and port"),
        ({ENDPOINT: "http://[::1"}, "has no valid host and port"),
        ({ENDPOINT: "http://a b"}, "has a host that is not a valid name"),
        ({ENDPOINT: "http://me:hidden@h"}, "has credentials in it. Leave them out, and set OTEL_EXPORTER_OTLP_HEADERS"),
        ({ENDPOINT: "http://h/?key=hidden"}, "has a query or fragment"),
        ({**GOOD, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "is not http/protobuf, the only protocol"),
        ({**GOOD, "OTEL_TRACES_EXPORTER": "zipkin"}, "is neither otlp nor none"),
        ({**GOOD, "OTEL_EXPORTER_OTLP_CERTIFICATE": "/no/such.pem"}, "cannot read '/no/such.pem'"),
        ({**GOOD, "OTEL_EXPORTER_OTLP_TIMEOUT": "soon"}, "is not a number of seconds above 0"),
        ({**GOOD, "OTEL_BSP_MAX_QUEUE_SIZE": "-1"}, "OTEL_BSP_MAX_QUEUE_SIZE is not a whole number above 0"),
        ({**GOOD, "OTEL_SPAN_LINK_COUNT_LIMIT": "many"}, "OTEL_SPAN_LINK_COUNT_LIMIT is not a whole number above 0"),
    ],
)
def test_a_mistake_is_told_with_its_variable_and_without_secrets(environ: dict[str, str], mistake: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_otlp_settings(environ)

    assert ExitCode.USAGE == caught.value.exit_code
    [told] = caught.value.mistakes
    assert told.startswith("OTEL_")
    assert mistake in told
    assert "hidden" not in told


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    environ = {
        TRACES_ENDPOINT: "x",
        "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE": str(tmp_path),
        "OTEL_TRACES_EXPORTER": "x",
    }
    with pytest.raises(SettingsError) as caught:
        read_otlp_settings(environ)

    assert 3 == len(caught.value.mistakes)


@pytest.mark.parametrize("missing", ["opentelemetry", "opentelemetry.exporter.otlp.proto.http"])
def test_an_endpoint_without_the_extra_names_the_extra(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    if missing == "opentelemetry":
        for name in [each for each in sys.modules if each.startswith("opentelemetry.")]:
            monkeypatch.delitem(sys.modules, name)
    with pytest.raises(SettingsError) as caught:
        read_otlp_settings(GOOD)

    assert (
        f"{ENDPOINT} is set, but what exports spans is not installed. "
        "Install mirakl-resync[otel], or unset the variable."
    ) == "".join(caught.value.mistakes)
