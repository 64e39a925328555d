import json
import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.adapters.observability.request_log import (
    ANSWERED,
    DEAD_LETTERED,
    LOGGER,
    AnsweredRequest,
    DeadLetteredRecord,
    RequestLog,
)
from schemas.process import logs

TEXTS = st.text(max_size=20)
OPTIONAL_TEXTS = st.none() | TEXTS
ANSWERED_REQUESTS = st.builds(
    AnsweredRequest,
    request_id=TEXTS,
    topic=TEXTS,
    partition=st.integers(0, 10_000),
    offset=st.integers(0, 2**63 - 1),
    client_specification_id=OPTIONAL_TEXTS,
    status=st.sampled_from(["SYNCHRONIZED", "FAILED"]),
    code=OPTIONAL_TEXTS,
    duration_seconds=st.floats(0, 10_000).map(lambda seconds: round(seconds, 6)),
    trace_id=OPTIONAL_TEXTS,
    tenant=OPTIONAL_TEXTS,
    api_key=OPTIONAL_TEXTS,
)
DEAD_LETTERS = st.builds(
    DeadLetteredRecord,
    reason=TEXTS,
    message=TEXTS,
    topic=TEXTS,
    partition=st.integers(0, 10_000),
    offset=st.integers(0, 2**63 - 1),
    tenant=OPTIONAL_TEXTS,
)
ANSWER = AnsweredRequest("r-1", "requests", 3, 42, "c-1", "SYNCHRONIZED", None, 0.0125, "4bf9", "acme", "erp")
DEAD_LETTER = DeadLetteredRecord("UNREADABLE", "No known framing.", "requests", 3, 43, None)


class Lines:
    """A request log, and what it wrote, each batch one write."""

    def __init__(self, level: int = logging.INFO, *, only_failed: bool = False) -> None:
        self.writes: list[bytes] = []
        self.log = RequestLog(self.writes.append, level=level, only_failed=only_failed, clock=lambda: 1_700_000_000.25)

    def __iter__(self) -> "Iterator[dict[str, object]]":
        return (json.loads(line) for line in b"".join(self.writes).splitlines())


def test_a_line_says_who_asked_what_it_came_to_and_how_long_it_took() -> None:
    lines = Lines()
    lines.log.write([ANSWER])

    assert list(lines) == [
        {
            "timestamp": "2023-11-14T22:13:20.250000Z",
            "level": "info",
            "logger": "consumer.requests",
            "event": "request answered",
            "topic": "requests",
            "client_specification_id": "c-1",
            "tenant": "acme",
            "api_key": "erp",
            "status": "SYNCHRONIZED",
            "code": None,
            "request_id": "r-1",
            "partition": 3,
            "offset": 42,
            "duration_seconds": 0.0125,
            "trace_id": "4bf9",
        }
    ]


def test_requests_of_one_call_are_told_apart_by_their_keys() -> None:
    lines = Lines()
    lines.log.write([ANSWER, ANSWER._replace(api_key="monitoring"), ANSWER._replace(api_key=None)])

    assert ["erp", "monitoring", None] == [line["api_key"] for line in lines]


def test_a_dead_letter_gets_a_warning_with_its_reason_and_coordinates() -> None:
    lines = Lines()
    lines.log.write_dead_letters([DEAD_LETTER])
    (line,) = lines

    assert (line["level"], line["event"], line["reason"]) == ("warning", "request dead-lettered", "UNREADABLE")
    assert (line["topic"], line["partition"], line["offset"]) == ("requests", 3, 43)


@given(st.lists(ANSWERED_REQUESTS, max_size=5))
def test_lines_of_the_fast_lane_are_those_of_the_slow_one(answers: list[AnsweredRequest]) -> None:
    """Whatever the texts hold: the same fields with the same values, in one line each."""
    lines = Lines()
    lines.log.write(answers)

    assert list(lines) == [as_others_log("info", ANSWERED, answer._asdict()) for answer in answers]


@given(st.lists(DEAD_LETTERS, max_size=5))
def test_dead_letters_of_the_fast_lane_are_those_of_the_slow_one(records: list[DeadLetteredRecord]) -> None:
    lines = Lines()
    lines.log.write_dead_letters(records)

    assert list(lines) == [as_others_log("warning", DEAD_LETTERED, record._asdict()) for record in records]


def as_others_log(level: str, event: str, fields: dict[str, object]) -> dict[str, object]:
    line = {"timestamp": "2023-11-14T22:13:20.250000Z", "level": level, "logger": LOGGER, "event": event, **fields}
    rendered = json.loads(logs._as_json(line))
    assert isinstance(rendered, dict)
    return rendered


def test_a_batch_is_one_write() -> None:
    lines = Lines()
    lines.log.write([ANSWER] * 1_000)

    assert len(lines.writes) == 1
    assert len(list(lines)) == 1_000


def test_no_requests_are_no_write() -> None:
    lines = Lines(only_failed=True)
    lines.log.write([])
    lines.log.write([ANSWER])
    lines.log.write_dead_letters([])

    assert lines.writes == []


@pytest.mark.parametrize(
    ("level", "events"),
    [(logging.INFO, [ANSWERED, DEAD_LETTERED]), (logging.WARNING, [DEAD_LETTERED]), (logging.ERROR, [])],
)
def test_the_level_of_the_log_holds_here_as_well(level: int, events: list[str]) -> None:
    lines = Lines(level)
    lines.log.write([ANSWER])
    lines.log.write_dead_letters([DEAD_LETTER])

    assert [line["event"] for line in lines] == events


def test_partial_results_count_as_failed() -> None:
    lines = Lines(only_failed=True)
    lines.log.write([ANSWER, ANSWER._replace(status="PARTIALLY_SYNCHRONIZED"), ANSWER._replace(status="FAILED")])

    assert [line["status"] for line in lines] == ["PARTIALLY_SYNCHRONIZED", "FAILED"]
