"""When to try again, and how many calls an hour."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.domain.retry import Backoff, TokenBucket, chance

HOUR = 3600.0


@given(failures=st.integers(1, 10_000), luck=st.floats(0, 1, exclude_max=True))
def test_a_delay_is_never_beyond_the_ceiling_and_its_jitter(failures: int, luck: float) -> None:
    policy = Backoff(first=0.5, factor=2.0, ceiling=30.0, jitter=0.25)

    assert 0.375 <= policy.delay(failures, luck) <= 37.5


@given(failures=st.integers(1, 100))
def test_delays_grow(failures: int) -> None:
    policy = Backoff(jitter=0.0)

    assert policy.delay(failures, 0.5) <= policy.delay(failures + 1, 0.5)
    assert policy.first == policy.delay(1, 0.0)


def test_chance_is_what_its_parts_decide_and_spreads() -> None:
    draws = [chance("salt", "lane", failures) for failures in range(1000)]

    assert draws == [chance("salt", "lane", failures) for failures in range(1000)]
    assert all(0 <= draw < 1 for draw in draws)
    assert 400 < sum(draw < 0.5 for draw in draws) < 600
    assert chance("salt", "lane", 1) != chance("pepper", "lane", 1)


@settings(max_examples=50, deadline=None)
@given(
    per_hour=st.integers(1, 100_000),
    pauses=st.lists(st.floats(0, 7200), max_size=20),
    start=st.floats(0, 1e9),
)
def test_no_stretch_of_time_sees_more_calls_than_the_rate_and_a_minutes_worth(
    per_hour: int, pauses: list[float], start: float
) -> None:
    bucket, now, calls = TokenBucket(per_hour, start), start, list[float]()
    for pause in pauses:
        now += pause
        while bucket.next_at(now) <= now and len(calls) < 50:
            bucket.take(now)
            calls.append(now)
    capacity = max(1.0, per_hour / 60)
    for first, begin in enumerate(calls):
        for last in range(first, len(calls)):
            allowed = capacity + (calls[last] - begin) * per_hour / HOUR
            assert last - first + 1 <= allowed * (1 + 1e-6) + 1e-3


@settings(max_examples=50, deadline=None)
@given(per_hour=st.integers(1, 1_000_000), start=st.floats(0, 1e6), waits=st.integers(1, 20))
def test_waiting_as_long_as_told_is_enough(per_hour: int, start: float, waits: int) -> None:
    bucket, now = TokenBucket(per_hour, start), start
    for _ in range(waits):
        now = bucket.next_at(now)
        assert bucket.next_at(now) == now
        bucket.take(now)


def test_one_call_is_free_at_the_start_and_no_more() -> None:
    bucket = TokenBucket(3600, 0.0)
    assert 0.0 == bucket.next_at(0.0)
    bucket.take(0.0)

    assert pytest.approx(1.0) == bucket.next_at(0.0)


def test_a_long_pause_saves_up_a_minutes_worth_at_most() -> None:
    bucket = TokenBucket(600, 0.0)
    calls = 0
    while bucket.next_at(10 * HOUR) <= 10 * HOUR:
        bucket.take(10 * HOUR)
        calls += 1

    assert 10 == calls


def test_with_less_than_one_call_a_minute_one_call_can_still_be_saved() -> None:
    bucket = TokenBucket(1, 0.0)
    bucket.take(0.0)

    assert pytest.approx(HOUR) == bucket.next_at(0.0)
    assert 10 * HOUR == bucket.next_at(10 * HOUR)


def test_a_spent_quota_begins_to_fill_from_now() -> None:
    bucket = TokenBucket(3600, 0.0)
    bucket.empty(100.0)

    assert pytest.approx(101.0) == bucket.next_at(100.0)


def test_a_clock_that_steps_back_gives_no_calls() -> None:
    bucket = TokenBucket(3600, 100.0)
    bucket.take(100.0)

    assert 50.0 < bucket.next_at(50.0)
    assert 100.5 < bucket.next_at(100.5)
