"""The list of metrics: what documents and scrapes show."""

from collections import Counter
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from producer_tools.gateway.app import AnsweredCall
from producer_tools.gateway.metrics import TABLE, GatewayMetrics, GatewayStatus
from schemas.contract import AlertCode, ErrorCode, GatewayCode
from schemas.process.metric_table import markdown_table

PAGE = Path(__file__).parents[4] / "docs" / "operate" / "metrics.md"


def status(calls: Counter[tuple[str, str]]) -> GatewayStatus:
    """Return a status in which every number is another one."""
    return GatewayStatus(
        *(1, 2, 3, 4, 5, True, False, 6, 7, 8),
        written={"acknowledged": 9, "unknown": 10, "refused": 11},
        calls=calls,
        alerts=Counter({("a-rule", "requested"): 12}),
        clock_ahead_seconds=13.5,
    )


def scraped(metrics: GatewayMetrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return the samples of a scrape."""
    families = text_string_to_metric_families(metrics.table.render()[1].decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_the_document_has_the_list() -> None:
    assert markdown_table(TABLE) in PAGE.read_text(), "replace the table by what markdown_table(TABLE) returns"


def test_a_scrape_has_every_metric_of_the_list() -> None:
    samples = scraped(GatewayMetrics(status, version="1", librdkafka="2"))
    names = {name for name, _ in samples}

    assert [] == [row.name for row in TABLE if not names & {row.name, f"{row.name}_count"}]
    assert 1 == samples["resync_gateway_waiting_calls", ()]
    assert 6 == samples["resync_gateway_reader_lag_records", ()]
    assert 0 == samples["resync_gateway_reader_up_to_date", ()]
    assert 10 == samples["resync_gateway_requests_written_total", (("outcome", "unknown"),)]


def test_calls_are_counted_by_status_and_by_codes_of_the_contract_only() -> None:
    metrics = GatewayMetrics(status, version="1", librdkafka="2")
    for code in (None, "RESULT_PENDING", "A_CODE_OF_TOMORROW", "ANOTHER"):
        metrics.answered(AnsweredCall("POST", "/", 504 if code else 200, code, None, 0.3, None))
    samples = scraped(metrics)

    calls = {
        labels: value for (name, labels), value in samples.items() if name == "resync_gateway_calls_total" and value
    }
    assert {
        (("code", ""), ("status", "200")): 1,
        (("code", "RESULT_PENDING"), ("status", "504")): 1,
        (("code", "OTHER"), ("status", "504")): 2,
    } == calls
    assert 3 == samples["resync_gateway_call_duration_seconds_count", (("outcome", "problem"),)]


def test_every_code_begins_at_zero_so_that_its_first_call_is_an_increase() -> None:
    """``rate`` and ``increase`` compare two samples of one series: one that begins with 1 has increased by nothing."""
    before = scraped(GatewayMetrics(status, version="1", librdkafka="2"))
    metrics = GatewayMetrics(status, version="1", librdkafka="2")
    for code in (*ErrorCode, *GatewayCode, *AlertCode):
        metrics.answered(AnsweredCall("POST", "/", code.http_status, code.value, None, 0.3, None))
    for good in (200, 202):
        metrics.answered(AnsweredCall("POST", "/", good, None, None, 0.3, None))
    after = {key: value for key, value in scraped(metrics).items() if key[0] == "resync_gateway_calls_total" and value}
    assert dict.fromkeys(after, 0.0) == {key: before.get(key) for key in after}
