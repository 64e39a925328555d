"""What travels in a call, how many go at once, and how a bad request is told from its mates."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.domain.calls import CallFailure, CallOutcome, Receipt, Refusal
from consumer.domain.outcome import Failed, Partial, Synchronized
from consumer.engine.dispatch.lanes import Call, Lane
from consumer.engine.events import CallFinished, Fetched
from consumer.engine.policy import Policy
from tests.unit.engine.serving import one_each, serve
from tests.unit.engine.world import FIRST, SECOND, World, body, specification

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


def test_calls_start_behind_the_last_event_of_a_turn_and_carry_what_all_have_brought() -> None:
    world = World(specification(concurrent_calls=1), specification(SECOND, concurrent_calls=1))
    world.send("first", given=FIRST)
    world.send("second", given=SECOND)
    world.send("waits", given=FIRST)
    ended = [CallFinished(number, Receipt(f"t-{number}")) for number in world.calls]
    world.calls.clear()
    new = world.record(body("comes", given=FIRST))
    world.do(*ended, Fetched({new.partition: world.read_on(new.partition, new.offset + 1)}, [new]))

    assert [["id-first"], ["id-second"], ["id-waits", "id-comes"]] == list(world.batches())


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
