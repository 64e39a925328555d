"""The core's bisection of refused batches."""

from itertools import pairwise
from math import ceil, log2
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.domain.calls import CallFailure, Refusal
from consumer.engine.policy import Policy
from tests.unit.engine.serving import one_each, serve
from tests.unit.engine.world import World, body, specification


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
