"""What travels in a call, how many go at once, and how a bad request is told from its mates."""

from collections import Counter
from itertools import pairwise
from math import ceil, log2
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.domain.calls import CallFailure, CallOutcome, Receipt, Refusal
from consumer.domain.outcome import Failed, Partial, Synchronized
from consumer.domain.retry import Backoff
from consumer.engine.dispatch.lanes import Call, Lane
from consumer.engine.policy import Policy
from consumer.engine.status import LaneState
from tests.unit.engine.world import FIRST, SECOND, World, body, specification


def one_each(world: World, count: int) -> None:
    """A list of ``count`` requests of one product each."""
    world.fetch([world.record(body(f"r{n}", {f"p{n}": "sku"})) for n in range(count)])


def serve(world: World, poisoned: frozenset[str] = frozenset(), status: int = 422) -> None:
    """Mirakl refuses every call that carries a poisoned product, takes in all others; until nothing is out."""
    for _ in range(10_000):
        if world.transaction is not None:
            world.commit()
        if world.calls:
            call = next(iter(world.calls.values()))
            world.answer(call, Refusal(status, "bad entry") if poisoned & set(call.products) else None)
        else:
            world.wait(0.1)
            if not world.calls and world.transaction is None:
                return
    raise AssertionError("calls without end")


# -- natural batching ----------------------------------------------------------------------------------


def test_an_idle_lane_sends_at_once_and_the_next_call_takes_all_that_waits() -> None:
    world = World(specification(concurrent_calls=1))
    world.send("first")
    assert [["id-first"]] == list(world.batches())
    for n in range(5):
        world.send(f"r{n}")
    assert 1 == len(world.calls)

    world.answer()
    assert [f"id-r{n}" for n in range(5)] == list(world.batches())[1]


def test_a_list_that_is_handed_over_is_queued_whole_before_the_first_call_is_cut() -> None:
    world = World()
    one_each(world, 50)

    assert [50] == [len(batch) for batch in world.batches()]


def test_calls_hold_no_more_products_than_the_client_takes_and_no_more_go_at_once() -> None:
    world = World(specification(products_per_call=10, concurrent_calls=3))
    one_each(world, 100)

    assert [10, 10, 10] == [len(batch) for batch in world.batches()]
    serve(world)
    assert {10} == {len(batch) for batch in world.batches()}
    assert 100 == len(world.answered)


def test_a_call_that_takes_unusually_long_does_not_hold_the_next_batch_up() -> None:
    world = World()
    for _ in range(3):
        world.send("quick")
        world.now += 0.05
        world.answer()
    world.send("slow")
    world.wait(0.05)
    world.send("waits")
    assert 1 == len(world.calls)
    world.wait(0.3)

    assert 2 == len(world.calls)


def test_exact_repeats_are_sent_once_and_each_request_counts_its_own() -> None:
    world = World(specification(concurrent_calls=1))
    world.send("busy")
    world.send("a", {"x": "1", "y": "2"})
    world.send("b", {"x": "1"})
    world.answer()
    assert ["x", "y"] == list(world.batches())[1]
    world.answer()
    world.settle()

    assert {"SYNCHRONIZED"} == {world.code(name) for name in ("a", "b")}
    assert world.verdict("a") is world.verdict("b")


def test_the_same_id_with_two_skus_travels_in_two_calls_one_after_the_other() -> None:
    world = World(specification(concurrent_calls=8, products_per_call=1))
    world.fetch([world.record(body(name, {"x": sku})) for name, sku in (("a", "1"), ("b", "2"), ("c", "1"))])
    assert [{"x": "1"}] == [dict(call.products) for call in world.calls.values()]
    world.answer()
    assert [{"x": "2"}] == [dict(call.products) for call in world.calls.values()]
    world.answer()
    assert [{"x": "1"}] == [dict(call.products) for call in world.calls.values()]


def test_a_failed_call_is_repeated_before_a_later_sku_of_its_id() -> None:
    world = World(specification(concurrent_calls=8))
    world.send("a", {"x": "1"})
    world.send("b", {"x": "2"})
    world.fail()
    world.wait(1.1)
    assert [{"x": "1"}] == [dict(call.products) for call in world.calls.values()]


def test_large_requests_are_split_and_answered_once_with_all_tracking_ids_in_order_of_sending() -> None:
    world = World(specification(products_per_call=10, concurrent_calls=2))
    world.send("large", {f"p{n}": "sku" for n in range(35)})
    first, second = world.calls.values()
    world.answer(second)
    world.answer(first)
    serve(world)

    assert [10, 10, 10, 5] == [len(batch) for batch in world.batches()]
    verdict = world.verdict("large")
    assert isinstance(verdict, Synchronized)
    assert ("t-1", "t-2", "t-3", "t-4") == verdict.tracking_ids
    assert ["large"] == world.answered


def test_a_large_request_behind_one_that_has_to_wait_is_split_all_the_same() -> None:
    world = World(specification(products_per_call=10, concurrent_calls=4))
    world.send("x1", {"x": "1"})
    world.fetch(
        [
            world.record(body("x2", {"x": "2"})),
            world.record(body("large", {f"p{n}": "sku" for n in range(35)})),
        ]
    )
    world.wait(1.0)
    serve(world)

    assert 10 >= max(len(batch) for batch in world.batches())
    assert {"x1", "x2", "large"} == set(world.answered)


def test_a_partly_refused_large_request_names_what_was_not_taken_in_and_the_first_error() -> None:
    world = World(specification(products_per_call=2, concurrent_calls=1))
    world.send("large", {"a": "1", "b": "2", "c": "3", "d": "4", "e": "5"})
    serve(world, frozenset({"c"}))

    verdict = world.verdict("large")
    assert isinstance(verdict, Partial)
    assert {"c": "3", "d": "4"} == verdict.unsynchronized
    assert 3 == verdict.synchronized_products
    assert "CM21_REFUSED" == verdict.error.code
    assert ("t-1", "t-3") == verdict.tracking_ids


# -- the search ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 413, 422])
@settings(max_examples=40, deadline=None)
@given(data=st.data(), count=st.integers(2, 100))
def test_one_bad_request_is_found_within_the_promised_extra_calls_and_its_mates_are_taken_in(
    status: int, data: st.DataObject, count: int
) -> None:
    bad = data.draw(st.integers(0, count - 1))
    world = World(specification(concurrent_calls=data.draw(st.integers(1, 4))))
    one_each(world, count)
    serve(world, frozenset({f"p{bad}"}), status)

    assert "CM21_REFUSED" == world.code(f"r{bad}")
    assert {"SYNCHRONIZED"} == {world.code(f"r{n}") for n in range(count) if n != bad}
    assert 2 * ceil(log2(count)) + 2 >= len(world.call_log) - 1


@settings(max_examples=40, deadline=None)
@given(bad=st.sets(st.integers(0, 39)), concurrent=st.integers(1, 4), shared=st.integers(1, 40))
def test_however_many_are_bad_only_they_are_refused(bad: set[int], concurrent: int, shared: int) -> None:
    """Requests that name the same products share their fate."""
    world = World(specification(concurrent_calls=concurrent))
    world.fetch([world.record(body(f"r{n}", {f"p{n % shared}": "sku"})) for n in range(40)])
    poisoned = frozenset(f"p{n % shared}" for n in bad)
    serve(world, poisoned)

    refused = {f"r{n}" for n in range(40) if f"p{n % shared}" in poisoned}
    assert refused == {name for name in world.answered if world.code(name) == "CM21_REFUSED"}
    assert 40 == len(world.answered)


def test_a_search_that_has_spent_its_budget_leaves_the_lane_to_the_others_in_turn() -> None:
    world = World(specification(concurrent_calls=1))
    one_each(world, 64)
    poisoned = frozenset(f"p{n}" for n in range(64))
    for _ in range(2 * 6 + 2 + 2):
        world.answer(outcome=Refusal(422, "bad"))
    one_after = len(world.call_log)
    world.fetch([world.record(body(f"n{n}", {f"q{n}": "sku"})) for n in range(3)])
    while not any("q0" in call.products for call in world.call_log):
        call = next(iter(world.calls.values()))
        world.answer(call, Refusal(422, "bad") if poisoned & set(call.products) else None)

    assert 2 >= len(world.call_log) - one_after


def test_a_newer_sku_does_not_overtake_an_entry_that_is_still_searched() -> None:
    world = World(specification(concurrent_calls=1))
    one_each(world, 64)
    for _ in range(2 * 6 + 2 + 2):
        world.answer(outcome=Refusal(422, "bad"))
    world.send("newer", {"p63": "another"})
    world.send("free", {"q": "sku"})
    while world.calls:
        bad = any(sku == "sku" and id_ != "q" for id_, sku in next(iter(world.calls.values())).products.items())
        world.answer(outcome=Refusal(422, "bad") if bad else None)
    carried = [call.products for call in world.call_log]

    last_of_the_older = max(n for n, products in enumerate(carried) if products.get("p63") == "sku")
    assert last_of_the_older < next(n for n, products in enumerate(carried) if products.get("p63") == "another")
    assert last_of_the_older > next(n for n, products in enumerate(carried) if "q" in products)


def test_failures_during_a_search_repeat_its_calls_and_spoil_nothing() -> None:
    world = World(specification(concurrent_calls=1))
    one_each(world, 16)
    world.answer(outcome=Refusal(422, "bad"))
    world.fail()
    world.wait(1.5)
    serve(world, frozenset({"p3"}))

    assert "CM21_REFUSED" == world.code("r3")
    assert 15 == sum(world.code(f"r{n}") == "SYNCHRONIZED" for n in range(16))


def test_a_second_half_is_not_asked_about_when_the_first_one_was_accepted() -> None:
    """It must hold the bad request."""
    world = World(specification(concurrent_calls=1))
    one_each(world, 64)
    serve(world, frozenset({"p63"}))

    assert [64, 32, 16, 8, 4, 2, 1, 1] == [len(batch) for batch in world.batches()]


def test_what_is_left_over_of_a_search_travels_as_soon_as_it_fills_a_batch() -> None:
    """It is nearly always good, so it does not wait for all the calls that find the bad one."""
    world = World(specification(products_per_call=4, concurrent_calls=1))
    one_each(world, 4)
    world.answer(outcome=Refusal(422, "bad entry"))
    world.change(specification(products_per_call=2, concurrent_calls=1))
    world.confirm(world.now)
    world.answer(outcome=Refusal(422, "bad entry"))

    assert [["p0", "p1", "p2", "p3"], ["p0", "p1"], ["p2", "p3"]] == list(world.batches())


def test_a_search_leaves_at_least_every_second_call_to_whole_batches_of_others() -> None:
    world = World(specification(concurrent_calls=1, products_per_call=20))
    world.send("first")
    world.answer()
    world.settle()
    bad = frozenset(f"p{n}" for n in range(20))
    one_each(world, 20)
    world.answer(outcome=Refusal(422, "bad"))
    world.fetch([world.record(body(f"n{n}", {f"q{n}": "sku"})) for n in range(200)])
    kinds = []
    while any(name not in world.answered for name in ("n0", "n150")):
        call = next(iter(world.calls.values()))
        kinds.append("search" if bad & call.products.keys() else "others")
        world.answer(call, Refusal(422, "bad") if bad & call.products.keys() else None)
        if world.transaction is not None:
            world.commit()

    assert "search" in kinds
    assert all(pair != ("search", "search") for pair in pairwise(kinds))


def test_batches_become_smaller_while_refusals_repeat_and_recover_afterwards() -> None:
    world = World(specification(concurrent_calls=1))
    luck = Random(1)
    poisoned = frozenset(f"p{n}" for n in range(4000) if luck.random() < 0.02)
    for start in range(0, 4000, 200):
        world.fetch([world.record(body(f"r{n}", {f"p{n}": "sku"})) for n in range(start, start + 200)])
        serve(world, poisoned)
    assert {f"r{id_[1:]}" for id_ in poisoned} == {n for n in world.answered if world.code(n) == "CM21_REFUSED"}
    assert 4 < 4000 / len(world.call_log), "at most 7 requests per call can be had at 2 % bad ones"

    before = len(world.call_log)
    for round_ in range(10):
        world.fetch([world.record(body(f"g{round_}-{n}")) for n in range(200)])
        serve(world)
    assert 100 == len(list(world.batches())[-1])
    assert 40 > len(world.call_log) - before


@settings(max_examples=25, deadline=None)
@given(
    share=st.sampled_from((0.01, 0.05, 0.3, 1.0)),
    concurrent=st.integers(1, 4),
    most=st.integers(1, 50),
    seed=st.integers(0, 10_000),
)
def test_for_any_mixture_bad_requests_are_refused_and_good_ones_synchronized_in_the_order_of_each_id(
    share: float, concurrent: int, most: int, seed: int
) -> None:
    """While requests keep coming, some in several parts, some of a later SKU, and some calls fail."""
    luck = Random(seed)
    limits = Policy(request_deadline=3600.0)
    world = World(specification(concurrent_calls=concurrent, products_per_call=most), policy=limits)
    wanted: dict[str, dict[str, str]] = {}
    for number in range(120):
        ids = luck.sample(range(200), luck.choice((1, 1, 2, 5)))
        wanted[f"r{number}"] = {f"p{id_}": f"{number // 40}" for id_ in ids}
    bad = {(id_, sku) for products in wanted.values() for id_, sku in products.items() if luck.random() < share / 2}
    for name, products in wanted.items():
        world.send(name, products)
        while world.calls and luck.random() < 0.5:
            _answer_by(world, bad, luck)
    for _ in range(4000):
        if len(world.answered) == len(wanted):
            break
        _answer_by(world, bad, luck) if world.calls else world.live(0.5)
        if world.transaction is not None:
            world.commit()

    for name, products in wanted.items():
        spoiled = len(bad & products.items()) > 0
        assert ("SYNCHRONIZED" == world.code(name)) != spoiled
    pushed: dict[str, int] = {}
    for call in world.call_log:
        assert all(pushed.get(id_, 0) <= int(sku) for id_, sku in call.products.items())
        pushed |= {id_: int(sku) for id_, sku in call.products.items()}


def _answer_by(world: World, bad: set[tuple[str, str]], luck: Random) -> None:
    call = luck.choice(list(world.calls.values()))
    if luck.random() < 0.02 and world.now < 1500.0:
        world.answer(call, CallFailure("HTTP 503", may_have_reached=False, status=503))
    else:
        world.answer(call, Refusal(luck.choice((400, 413, 422)), "bad") if bad & call.products.items() else None)


# -- sick lanes ----------------------------------------------------------------------------------------


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


# -- fair shares ---------------------------------------------------------------------------------------


def test_one_client_cannot_take_the_last_quarter_of_the_global_slots() -> None:
    many = specification(concurrent_calls=100, products_per_call=1)
    world = World(many, specification(SECOND), policy=Policy(calls=8))
    world.fetch([world.record(body(f"r{n}", given=FIRST)) for n in range(20)])
    assert 6 == len(world.calls)
    world.send("other", given=SECOND)
    world.wait(0.1)

    assert SECOND == world.call_log[-1].specification.id
    serve(world)
    assert 21 == len(world.answered)


@pytest.mark.parametrize(("lanes", "concurrent"), [(12, 1), (12, 3), (20, 1), (20, 3)])
def test_global_slots_go_round_robin_over_all_lanes_that_have_work(lanes: int, concurrent: int) -> None:
    """More lanes than slots, and each with more work than it gets slots for: none starves and none gets more."""
    ids = [f"00000000-0000-0000-0000-{n:012d}" for n in range(lanes)]
    specifications = [specification(id_, concurrent_calls=concurrent, products_per_call=1) for id_ in ids]
    world = World(*specifications, policy=Policy(calls=8))
    rounds = 6
    world.fetch([world.record(body(f"{id_}-{n}", given=id_)) for n in range(2 * rounds) for id_ in ids])
    while len(world.call_log) < rounds * lanes:
        world.answer()
        if len(world.call_log) % 7 == 0:
            world.wait(0.1)

    calls = Counter(call.specification.id for call in world.call_log)
    assert max(calls.values()) - min(calls[id_] for id_ in ids) <= 2


def test_a_lane_that_waits_for_a_slot_is_not_asked_at_each_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """With hundreds of lanes in line, that would cost each event a scan of all of them."""
    ids = [f"00000000-0000-0000-0000-{n:012d}" for n in range(100)]
    world = World(*[specification(id_, products_per_call=1) for id_ in ids], policy=Policy(calls=8))
    world.fetch([world.record(body(f"{id_}-{n}", given=id_)) for n in range(5) for id_ in ids])
    asked = []
    may_call = Lane.next_call

    def counted(lane: Lane, call_id: int, now: float) -> Call | None:
        asked.append(lane)
        return may_call(lane, call_id, now)

    monkeypatch.setattr(Lane, "next_call", counted)
    for _ in range(50):
        world.answer()

    assert 3 * 50 >= len(asked)


def test_calls_of_a_dead_client_cost_another_nothing() -> None:
    world = World(specification(), specification(SECOND))
    world.send("dead", given=FIRST)
    world.fail()
    for n in range(10):
        world.send(f"r{n}", given=SECOND)
        world.answer(world.call_log[-1], Receipt("ok"))
    world.settle()

    assert [f"r{n}" for n in range(10)] == world.answered
    assert not any(isinstance(world.verdict(name), Failed) for name in world.answered)


# -- the order of one id -------------------------------------------------------------------------------

LATER_SKUS = st.lists(st.dictionaries(st.sampled_from("abcd"), st.booleans(), min_size=1, max_size=3), max_size=25)


@settings(max_examples=60, deadline=None)
@given(asked=LATER_SKUS, concurrent=st.integers(1, 4), most=st.integers(1, 6), luck=st.randoms(use_true_random=False))
def test_no_call_carries_an_older_sku_of_an_id_after_or_beside_a_newer_one(
    asked: list[dict[str, bool]], concurrent: int, most: int, luck: Random
) -> None:
    """Whatever Mirakl does: receipts, failures that are repeated, refusals that are searched."""
    newest = dict.fromkeys("abcd", 0)
    world = World(specification(concurrent_calls=concurrent, products_per_call=most))
    for number, wanted in enumerate(asked):
        newest |= {id_: newest[id_] + another for id_, another in wanted.items()}
        world.send(f"r{number}", {id_: str(newest[id_]) for id_ in wanted})
        if luck.random() < 0.3 and world.calls:
            answer_somehow(world, luck)
    for _ in range(600):
        if world.calls:
            answer_somehow(world, luck)
        elif len(world.answered) < len(asked):
            world.live(0.5)

    assert len(asked) == len(world.answered)
    pushed = dict.fromkeys("abcd", 0)
    for call in world.call_log:
        assert all(pushed[id_] <= int(sku) for id_, sku in call.products.items())
        pushed |= {id_: int(sku) for id_, sku in call.products.items()}


def answer_somehow(world: World, luck: Random) -> None:
    out = {id_: {call.products[id_] for call in world.calls.values() if id_ in call.products} for id_ in "abcd"}
    assert all(len(skus) < 2 for skus in out.values()), "two SKUs of one id at once"
    call = luck.choice(list(world.calls.values()))
    outcomes: list[CallOutcome] = [Receipt("t"), CallFailure("HTTP 503", may_have_reached=False), Refusal(422, "bad")]
    world.answer(call, luck.choices(outcomes, [4, 1, 1])[0])
