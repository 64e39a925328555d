import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from consumer import __version__
from consumer.adapters.observability.metrics import TABLE, TRACING, Metrics
from consumer.adapters.observability.span_queue import SpanFate
from consumer.domain.calls import CallFailure, CallOutcome, Receipt, Refusal, Unacknowledged
from consumer.engine.status import EngineStatus, LaneState, LaneStatus
from producer_tools.gateway.metrics import TABLE as GATEWAY_TABLE
from schemas.contract import ErrorCode
from schemas.process.metric_table import ObservedRow, markdown_table
from tests.support.statuses import IDLE

SPECIFICATION = "0b4ef1f4-5d53-4b0c-8f5c-0d8c8f3f2a11"
BUSY = replace(
    IDLE,
    troubles=("The database does not answer; check RESYNC_DATABASE_URL.",),
    intake_open=False,
    intake_closed={"database": 3},
    oldest_unanswered_seconds=12.5,
    in_flight_records=640,
    in_flight_bytes=81_920,
    window_used={0: 0.25, 7: 1.0},
    paused_partitions=1,
    pauses=9,
    lanes=(
        LaneStatus(
            SPECIFICATION, "acme", depth=41, calls_out=2, calls_allowed=4, state=LaneState.SICK, sick_until=340.0
        ),
    ),
    answered={("SYNCHRONIZED", ""): 1_000, ("FAILED", "CM21_UNAVAILABLE"): 4},
    dead_letters={"UNREADABLE": 2},
    discarded=5,
    progress_maps_ignored=1,
    offset_resets=1,
    unread_partitions=3,
    unavailable_schemas=2,
    holes=4,
    commits=77,
    aborts=3,
    last_commit_at=98.0,
)


class Scrape:
    """The samples of one scrape by name and labels."""

    def __init__(self, metrics: Metrics) -> None:
        _, body = metrics.render()
        self.families: list[Metric] = list(text_string_to_metric_families(body.decode()))

    def __call__(self, name: str, **labels: str) -> float | None:
        found = [sample.value for sample in self._samples() if sample.name == name and sample.labels == labels]
        assert len(found) <= 1
        return found[0] if found else None

    def names(self) -> set[str]:
        return {sample.name for sample in self._samples()}

    def _samples(self) -> Iterator[Sample]:
        return (sample for family in self.families for sample in family.samples)


def scrape(status: EngineStatus = IDLE, *, now: float = 100.0) -> Scrape:
    return Scrape(Metrics(lambda: status, clock=lambda: now))


def test_everything_that_the_status_tells_can_be_scraped() -> None:
    seen = scrape(BUSY)
    lane = {"client_specification_id": SPECIFICATION, "tenant": "acme"}

    assert seen("resync_oldest_unanswered_request_age_seconds") == 12.5
    assert seen("resync_results_total", status="SYNCHRONIZED", code="") == 1_000
    assert seen("resync_results_total", status="FAILED", code="CM21_UNAVAILABLE") == 4
    assert seen("resync_dead_letters_total", reason="UNREADABLE") == 2
    assert seen("resync_in_flight_records") == 640
    assert seen("resync_in_flight_bytes") == 81_920
    assert seen("resync_window_used_ratio", partition="7") == 1.0
    assert seen("resync_paused_partitions") == 1
    assert seen("resync_pauses_total") == 9
    assert seen("resync_lane_depth_requests", **lane) == 41
    assert seen("resync_lane_calls_out", **lane) == 2
    assert seen("resync_lane_state", **lane, state="sick") == 1
    assert seen("resync_lane_state", **lane, state="healthy") == 0
    assert seen("resync_lane_sick_seconds", **lane) == 240.0
    assert seen("resync_commits_total") == 77
    assert seen("resync_aborts_total") == 3
    assert seen("resync_last_commit_age_seconds") == 2.0
    assert seen("resync_joined") == 1
    assert seen("resync_intake_open") == 0
    assert seen("resync_intake_closed_total", reason="database") == 3
    assert seen("resync_outcomes_discarded_total") == 5
    assert seen("resync_progress_maps_ignored_total") == 1
    assert seen("resync_offset_resets_total") == 1
    assert seen("resync_unread_partitions") == 3
    assert seen("resync_unavailable_schemas") == 2
    assert seen("resync_read_holes_total") == 4


def test_series_of_known_labels_are_there_before_their_first_event() -> None:
    """``increase()`` sees nothing of a counter that begins its life at one."""
    seen = scrape(IDLE)

    assert [seen("resync_results_total", status="FAILED", code=code) for code in ErrorCode] == [0] * len(ErrorCode)
    assert seen("resync_dead_letters_total", reason="UNKNOWN_SCHEMA") == 0
    assert seen("resync_intake_closed_total", reason="broker") == 0
    assert seen("resync_transaction_duration_seconds_count", kind="abort") == 0
    assert seen("resync_call_duration_seconds_count", outcome="throttled") == 0


def test_a_problem_that_only_a_part_waits_for_leaves_the_intake_open() -> None:
    partial = replace(IDLE, troubles=("The schema registry is away. Start it.",), unavailable_schemas=1)

    assert scrape(partial)("resync_intake_open") == 1


def test_before_the_first_commit_there_is_no_time_since_it() -> None:
    assert scrape(IDLE)("resync_last_commit_age_seconds") is None


def test_a_status_that_grows_old_shows_its_age() -> None:
    assert scrape(IDLE, now=160.0)("resync_status_age_seconds") == 60.0


@pytest.mark.parametrize(
    ("outcome", "label"),
    [
        (Receipt("t-1"), "accepted"),
        (Refusal(422, "no"), "refused"),
        (Refusal(401, "who?"), "unauthorized"),
        (Unacknowledged(200, "<html>"), "unacknowledged"),
        (CallFailure("HTTP 429", may_have_reached=False, status=429), "throttled"),
        (CallFailure("connection refused", may_have_reached=False), "unavailable"),
        (CallFailure("no answer within 60 s", may_have_reached=True), "unknown"),
    ],
)
def test_calls_are_told_apart_by_what_they_came_to(outcome: CallOutcome, label: str) -> None:
    metrics = Metrics(lambda: IDLE)
    metrics.call_finished(outcome, seconds=0.25, requests=3, products=6)
    seen = Scrape(metrics)

    assert seen("resync_call_duration_seconds_count", outcome=label) == 1
    assert seen("resync_call_duration_seconds_sum", outcome=label) == 0.25
    assert seen("resync_call_requests_sum") == 3
    assert seen("resync_call_products_bucket", le="10.0") == 1


def test_transactions_are_timed_and_only_commits_publish_outcomes() -> None:
    metrics = Metrics(lambda: IDLE)
    metrics.transaction_finished("commit", 0.008, 200)
    metrics.transaction_finished("abort", 3.0, 150)
    metrics.transaction_finished("unknown", 60.0, 150)
    seen = Scrape(metrics)

    assert seen("resync_transaction_duration_seconds_count", kind="commit") == 1
    assert seen("resync_transaction_duration_seconds_sum", kind="abort") == 3.0
    assert seen("resync_transaction_duration_seconds_sum", kind="unknown") == 60.0
    assert seen("resync_transaction_outcomes_sum") == 200


def test_the_table_names_exactly_what_a_scrape_shows() -> None:
    families = scrape(BUSY).families
    shown = {family.name + ("_total" if family.type == "counter" else "") for family in families}
    own = {name for name in shown if not name.startswith(("process_", "python_")) and not name.endswith("_created")}

    assert {row.name for row in TABLE} == own


def test_names_and_units_follow_the_conventions_of_prometheus() -> None:
    for row in TABLE:
        assert re.fullmatch(r"resync_[a-z_]+", row.name)
        assert (row.unit == "seconds") == row.name.endswith("_seconds")
        assert row.help.endswith(".")
        assert not isinstance(row, ObservedRow) or list(row.buckets) == sorted(set(row.buckets))


def test_a_scraper_may_ask_for_openmetrics() -> None:
    content_type, body = Metrics(lambda: BUSY).render("application/openmetrics-text; version=1.0.0")
    families = parse_openmetrics(body.decode())  # type: ignore[no-untyped-call]  # the library's parser has no types

    assert content_type.startswith("application/openmetrics-text")
    assert "resync_commits" in {family.name for family in families}


def test_the_build_and_the_process_are_told() -> None:
    seen = Scrape(Metrics(lambda: IDLE, librdkafka="2.16.1"))
    (build,) = (family for family in seen.families if family.name == "resync_build_info")

    assert build.samples[0].labels["version"] == __version__
    assert build.samples[0].labels["librdkafka"] == "2.16.1"
    assert (seen("process_resident_memory_bytes") or 0) > 1_000_000


def test_hostile_text_in_a_label_does_not_break_the_scrape() -> None:
    tenant = 'a"b\\c\nresync_fake 1'
    lane = LaneStatus(SPECIFICATION, tenant, depth=1, calls_out=0, calls_allowed=4, state=LaneState.HEALTHY)
    seen = scrape(replace(IDLE, lanes=(lane,)))

    assert seen("resync_lane_depth_requests", client_specification_id=SPECIFICATION, tenant=tenant) == 1
    assert "resync_fake" not in seen.names()


def test_spans_are_counted_where_they_are_exported() -> None:
    metrics = Metrics(lambda: IDLE)
    assert Scrape(metrics)("resync_spans_total", outcome="exported") is None

    metrics.add_tracing(lambda: {SpanFate.EXPORTED: 7})

    seen = Scrape(metrics)
    assert [7, 0, 0] == [seen("resync_spans_total", outcome=fate) for fate in ("exported", "dropped", "failed")]


def test_services_in_one_process_do_not_share_metrics() -> None:
    one, other = Metrics(lambda: IDLE), Metrics(lambda: IDLE)
    one.transaction_finished("commit", 0.01, 10)

    assert Scrape(other)("resync_transaction_outcomes_count") == 0


DOCUMENTS = Path(__file__).parents[4]


def test_the_page_of_metrics_has_the_table_as_it_is() -> None:
    page = (DOCUMENTS / "docs" / "operate" / "metrics.md").read_text(encoding="utf-8")

    for table in (TABLE, TRACING):
        assert markdown_table(table) in page, (
            "replace the tables in docs/operate/metrics.md by what markdown_table(TABLE) and (TRACING) return"
        )


def test_documents_name_no_metric_that_does_not_exist() -> None:
    """An alert on a misspelt name never fires."""
    known = {row.name for row in (*TABLE, *TRACING, *GATEWAY_TABLE)}
    known |= {
        f"{row.name}_{part}"
        for row in (*TABLE, *GATEWAY_TABLE)
        if isinstance(row, ObservedRow)
        for part in ("bucket", "sum", "count")
    }
    text = "".join(document.read_text(encoding="utf-8") for document in (DOCUMENTS / "docs").rglob("*.md"))
    named = set(re.findall(r"\bresync_[a-z_]+[a-z]\b", text))

    roles = {"resync_admin", "resync_run"}  # of PostgreSQL, in docs/operate/rights.md
    assert named
    assert named - roles <= known
