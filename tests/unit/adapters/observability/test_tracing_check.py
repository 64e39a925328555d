"""What ``doctor`` says of the way to the collector."""

import pytest

from consumer.adapters.finding import Level
from consumer.adapters.observability.tracing_check import check_tracing
from tests.support.otlp import NEEDS_OTEL, Collector

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


def test_without_an_endpoint_there_is_nothing_to_say() -> None:
    assert [] == list(check_tracing({}, "settings"))


def test_a_mistake_is_one_of_the_settings_with_its_remedy() -> None:
    [finding] = check_tracing({ENDPOINT: "collector"}, "settings")

    assert (Level.FAIL, "settings") == (finding.level, finding.subject)
    assert f"{ENDPOINT} is not the URL of a collector." == finding.message
    assert "Write a URL such as http://collector:4318, or unset it." == finding.remedy


@NEEDS_OTEL
@pytest.mark.parametrize(("status", "level"), [(200, Level.OK), (403, Level.WARN), (302, Level.WARN)])
def test_the_collector_is_asked_without_a_span(status: int, level: Level) -> None:
    with Collector() as collector:
        collector.status = status
        [finding] = check_tracing({ENDPOINT: collector.endpoint}, "settings")

    assert (level, 1, []) == (finding.level, collector.asked, collector.spans)
    assert (f"HTTP {status} " in finding.message) == (status != 200)
    assert ("correct OTEL_EXPORTER_OTLP_ENDPOINT" in finding.remedy) == (status != 200)
