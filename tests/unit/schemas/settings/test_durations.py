"""Durations and times as people write them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.settings import format_duration, parse_duration, parse_time_or_age

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("30s", 30), ("5m", 300), ("12h", 43_200), ("90d", 7_776_000), ("1.5h", 5_400), ("45", 45)],
)
def test_a_duration_is_a_number_with_a_unit_or_bare_seconds(text: str, seconds: float) -> None:
    assert seconds == parse_duration(text)


@pytest.mark.parametrize("text", ["", "s", "5x", "-5s", "1h30m", "inf", "nan", "1e3", "٣s"])
def test_what_is_no_duration_says_how_to_write_one(text: str) -> None:
    with pytest.raises(ValueError, match="write it like 250ms, 30s, 5m, 12h or 90d"):
        parse_duration(text)


@given(st.integers(min_value=0, max_value=10**9).map(lambda milliseconds: milliseconds / 1000))
def test_a_duration_that_was_written_reads_back(seconds: float) -> None:
    assert pytest.approx(seconds) == parse_duration(format_duration(seconds))


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2h", NOW - timedelta(hours=2)),
        ("2026-01-30T08:00:00Z", datetime(2026, 1, 30, 8, tzinfo=UTC)),
        ("2026-01-30T08:00:00+02:00", datetime(2026, 1, 30, 6, tzinfo=UTC)),
        ("2026-01-30T08:00", datetime(2026, 1, 30, 8, tzinfo=UTC)),
        ("2026-01-30", datetime(2026, 1, 30, tzinfo=UTC)),
    ],
)
def test_a_moment_is_a_time_or_an_age(text: str, moment: datetime) -> None:
    assert moment == parse_time_or_age(text, NOW.astimezone(timezone(timedelta(hours=5))))


@pytest.mark.parametrize("text", ["", "2026", "yesterday", "2026-13-01"])
def test_what_is_no_moment_says_how_to_write_one(text: str) -> None:
    with pytest.raises(ValueError, match="neither a time nor an age"):
        parse_time_or_age(text, NOW)


@pytest.mark.parametrize("text", ["9999999d", "0001-01-01T00:00:00+14:00"])
def test_a_moment_before_all_calendars_is_the_first_of_them(text: str) -> None:
    assert datetime.min.replace(tzinfo=UTC) == parse_time_or_age(text, datetime(2026, 1, 31, tzinfo=UTC))
