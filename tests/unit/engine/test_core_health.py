"""Lanes that are sick or throttled: probes, pauses and quotas."""

from itertools import pairwise
from typing import Any

import pytest

from consumer.domain.retry import Backoff
from consumer.engine.policy import Policy
from consumer.engine.status import LaneState
from tests.unit.engine.serving import one_each
from tests.unit.engine.world import FIRST, SECOND, World, specification


def test_a_sick_lane_lets_a_single_probe_through_and_recovers_with_it() -> None:
    world = World(specification(concurrent_calls=4, products_per_call=1))
    one_each(world, 8)
    assert 4 == len(world.calls)
    for _ in range(4):
        world.fail()
    assert not world.calls
    assert LaneState.SICK.value == world.status.lanes[0].state.value

    world.wait(1.1)
    assert 1 == len(world.calls)
    world.answer()
    assert 4 == len(world.calls)
    assert LaneState.HEALTHY.value == world.status.lanes[0].state.value


def test_failures_of_calls_that_went_out_together_count_as_one() -> None:
    world = World(specification(concurrent_calls=4, products_per_call=1))
    one_each(world, 4)
    for _ in range(4):
        world.fail()
    world.wait(1.1)

    assert 1 == len(world.calls)


def test_the_pauses_between_probes_grow_and_are_bounded() -> None:
    world = World(policy=Policy(request_deadline=3600.0))
    world.send("asks")
    starts = [world.now]
    for _ in range(8):
        world.fail()
        while not world.calls:
            world.wait(0.1)
        starts.append(world.now)

    pauses = [round(later - earlier) for earlier, later in pairwise(starts)]
    assert [1, 2, 4, 8, 16, 30, 30, 30] == pauses


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_honoured_even_where_another_call_succeeds_meanwhile(status: int) -> None:
    world = World(specification(products_per_call=1))
    one_each(world, 4)
    world.fail(status=status, retry_after=60.0)
    world.answer()
    world.live(59.0)
    assert not world.calls
    world.live(1.5)
    assert 1 == len(world.calls)


def test_a_retry_after_of_nothing_is_no_reason_to_hammer() -> None:
    world = World()
    world.send("asks")
    world.fail(status=429, retry_after=0.0)
    world.wait(0.5)
    assert not world.calls


def test_a_retry_after_of_a_day_is_probed_within_minutes_all_the_same() -> None:
    world = World(policy=Policy(request_deadline=1000.0))
    world.send("asks")
    world.fail(retry_after=86_400.0)
    world.live(Backoff().longest_ordered - 1.0)
    assert not world.calls
    (lane,) = world.status.lanes
    assert 1.0 == pytest.approx((lane.sick_until or 0.0) - world.now, abs=0.1)
    world.live(1.5)
    assert 1 == len(world.calls)
    world.answer()
    world.settle()
    assert "SYNCHRONIZED" == world.code("asks")


@pytest.mark.parametrize(
    "changes",
    [
        {"changed_at": "2026-01-02"},
        {"concurrent_calls": 3},
        {"products_per_call": 7},
        {"active": False},
        {"credential": "new"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_any_change_of_the_row_gives_a_sick_client_a_fresh_chance(changes: dict[str, Any]) -> None:
    """Suspended and resumed between two looks at the database, a row differs in nothing but its time of change."""
    world = World()
    world.send("asks", given=FIRST)
    world.fail(retry_after=200.0)
    world.change(specification(**changes))
    world.wait(1.5)
    assert 1 == len(world.calls)


def test_a_change_of_another_row_is_no_fresh_chance() -> None:
    world = World(specification(), specification(SECOND))
    world.send("asks", given=FIRST)
    world.fail(retry_after=200.0)
    world.change(specification(), specification(SECOND, concurrent_calls=5))
    world.wait(1.5)
    assert not world.calls


def test_a_client_that_was_corrected_is_called_at_once() -> None:
    world = World()
    world.send("asks")
    world.fail(retry_after=200.0)
    world.change(specification(base_url="https://right.example"))
    world.wait(1.5)

    (call,) = world.calls.values()
    assert "https://right.example" == call.specification.base_url


def test_calls_per_hour_are_kept_and_a_429_spends_what_is_left() -> None:
    world = World(specification(calls_per_hour=360, products_per_call=1), policy=Policy(request_deadline=3600.0))
    one_each(world, 100)
    assert 1 == len(world.calls)
    world.answer()
    world.live(9.8)
    assert not world.calls
    world.live(0.3)
    assert 1 == len(world.calls)


def test_a_call_that_is_answered_makes_former_failures_count_no_more() -> None:
    world = World()
    world.send("r0")
    for _ in range(3):
        world.fail()
        world.live(10.0)
    world.answer()
    world.send("r1")
    world.fail()
    world.live(0.9)
    assert not world.calls
    world.live(0.2)
    assert 1 == len(world.calls)


def test_a_failure_that_is_no_429_spends_nothing_of_the_quota() -> None:
    """At 360 calls an hour a token comes every ten seconds; six of them have gathered before the failure."""
    world = World(specification(calls_per_hour=360, products_per_call=1, concurrent_calls=1))
    world.send("first")
    world.answer()
    world.live(100.0)
    world.send("second")
    world.fail(status=503)
    world.live(1.1)
    assert 1 == len(world.calls)


def test_a_changed_quota_counts_from_the_next_call_on() -> None:
    world = World(specification(calls_per_hour=60, products_per_call=1, concurrent_calls=1))
    one_each(world, 2)
    world.answer()
    world.change(specification(calls_per_hour=3600, products_per_call=1, concurrent_calls=1))
    world.live(3.0)
    assert 1 == len(world.calls)


def test_a_quota_outlasts_changes_of_other_rows() -> None:
    """A lane that is idle at a reload keeps its tokens, or the lack of them."""
    limited = specification(calls_per_hour=60)
    world = World(limited)
    world.send("first")
    world.answer()
    world.change(limited, specification(SECOND))
    world.live(3.0)
    world.send("second", given=FIRST)
    world.live(30.0)
    assert not world.calls
    world.live(30.0)
    assert 1 == len(world.calls)


def test_a_429_spends_what_is_left_of_the_quota() -> None:
    """At 360 calls an hour a token comes every ten seconds; six of them have gathered before the calls."""
    world = World(specification(calls_per_hour=360, products_per_call=1, concurrent_calls=1))
    world.live(100.0)
    world.send("first")
    world.answer()
    world.live(100.0)
    one_each(world, 10)
    world.answer()
    assert 1 == len(world.calls)
    world.fail(status=429)
    world.live(9.8)
    assert not world.calls
    world.live(0.4)
    assert 1 == len(world.calls)
    world.answer()
    world.live(9.7)
    assert not world.calls
