"""Every request is decided within its deadline, whatever Mirakl does; a lane that cannot call holds up nobody."""

import pytest

from consumer.domain.calls import CallFailure, Receipt, Refusal, Unacknowledged
from consumer.domain.outcome import Failed, Partial, Synchronized
from consumer.engine.events import Tick
from consumer.engine.policy import Policy
from consumer.engine.status import LaneState
from tests.unit.engine.world import FIRST, SECOND, World, body, specification

DEADLINE = Policy().request_deadline
MARGIN = 5.0


def always_failing(world: World, seconds: float, **failure: object) -> None:
    """Mirakl fails every call at once, for as long."""
    end = world.now + seconds
    while world.now < end:
        while world.calls:
            world.fail(**failure)  # type: ignore[arg-type]
        world.wait(0.1)
        if world.transaction:
            world.commit()


def message(world: World, request_id: str) -> str:
    """The message of its error."""
    verdict = world.verdict(request_id)
    assert isinstance(verdict, Failed)
    return verdict.error.message


def test_a_mirakl_that_is_away_until_the_deadline_is_unavailable() -> None:
    world = World()
    world.send("asks")
    started = world.now
    always_failing(world, DEADLINE - MARGIN - 40)
    assert [] == world.answered
    always_failing(world, 40.5)

    assert "CM21_UNAVAILABLE" == world.code("asks")
    assert world.now - started < DEADLINE
    assert len(world.call_log) > 8
    assert "HTTP 503" in message(world, "asks")


def test_an_answer_names_no_trouble_that_is_over() -> None:
    world = World(specification(concurrent_calls=1))
    world.send("first")
    world.fail()
    world.wait(2)
    world.answer()
    world.settle()
    world.send("hangs")
    world.wait(DEADLINE)
    world.settle()

    assert "CM21_OUTCOME_UNKNOWN" == world.code("hangs")
    assert "HTTP" not in message(world, "hangs")


@pytest.mark.parametrize("status", [504, None])
def test_what_may_have_reached_mirakl_once_is_never_called_unavailable(status: int | None) -> None:
    world = World()
    world.send("asks")
    world.fail(reached=True, status=status)
    always_failing(world, DEADLINE)

    assert "CM21_OUTCOME_UNKNOWN" == world.code("asks")


def test_a_call_that_never_comes_back_is_answered_before_the_deadline_and_not_earlier() -> None:
    world = World()
    world.send("asks")
    world.wait(DEADLINE - 1)
    assert world.transaction is None
    world.wait(0.8)
    world.settle()

    assert "CM21_OUTCOME_UNKNOWN" == world.code("asks")


def test_a_call_goes_on_for_the_others_when_one_waiter_has_no_more_time() -> None:
    world = World()
    world.fetch([world.record(body("a"))])
    world.fail()
    world.wait(0.5)
    world.now += DEADLINE - 40
    world.send("b")
    world.wait(0.1)
    (call,) = world.calls.values()
    assert 2 == call.requests
    world.wait(39.5)
    world.settle()
    assert ["a"] == world.answered
    world.answer()
    world.settle()

    assert "CM21_OUTCOME_UNKNOWN" == world.code("a")
    assert "SYNCHRONIZED" == world.code("b")


def test_no_call_starts_for_a_request_with_less_than_five_seconds_left() -> None:
    """Neither at the next tick nor a moment before it."""
    world = World(specification(concurrent_calls=1))
    world.send("slow")
    world.wait(1.0)
    world.send("behind")
    world.now += DEADLINE - 1 - MARGIN + 0.95
    world.do(Tick())
    world.now += 0.06
    world.answer()
    assert not world.calls
    world.settle()

    assert "SYNCHRONIZED" == world.code("slow")
    assert "CM21_UNAVAILABLE" == world.code("behind")


def test_the_search_for_a_bad_entry_starts_no_call_that_comes_too_late() -> None:
    world = World()
    world.fetch([world.record(body(f"r{n}")) for n in range(4)])
    world.wait(DEADLINE - 3)
    world.answer(outcome=Refusal(400, "one is bad"))

    assert not world.calls
    world.settle()
    assert {"CM21_UNAVAILABLE"} == {world.code(f"r{n}") for n in range(4)}


def test_no_further_part_of_a_large_request_is_sent_when_its_time_is_up() -> None:
    world = World(specification(products_per_call=1, concurrent_calls=1))
    world.send("large", {"a": "1", "b": "2", "c": "3"})
    world.answer()
    world.wait(DEADLINE - 4)
    world.answer()
    assert not world.calls
    world.settle()

    verdict = world.verdict("large")
    assert isinstance(verdict, Partial)
    assert {"c": "3"} == verdict.unsynchronized
    assert 2 == verdict.synchronized_products
    assert ("t-1", "t-2") == verdict.tracking_ids
    assert "CM21_UNAVAILABLE" == verdict.error.code


def test_a_large_request_with_a_call_out_at_the_deadline_names_that_part_unknown() -> None:
    world = World(specification(products_per_call=1, concurrent_calls=1))
    world.send("large", {"a": "1", "b": "2"})
    world.answer()
    world.wait(DEADLINE)
    world.settle()

    verdict = world.verdict("large")
    assert isinstance(verdict, Partial)
    assert "CM21_OUTCOME_UNKNOWN" == verdict.error.code
    assert {"b": "2"} == verdict.unsynchronized


def test_a_large_request_of_which_some_part_may_have_arrived_is_not_called_unavailable() -> None:
    """Its first part was never sent, its second may have arrived."""
    world = World(specification(products_per_call=1, concurrent_calls=2))
    world.send("large", {"a": "1", "b": "2"})
    first, second = world.calls.values()
    world.answer(second, CallFailure("reset", may_have_reached=True))
    world.answer(first, CallFailure("connection refused", may_have_reached=False))
    always_failing(world, DEADLINE, status=None)

    verdict = world.verdict("large")
    assert isinstance(verdict, Failed)
    assert "CM21_OUTCOME_UNKNOWN" == verdict.error.code


def test_a_retry_after_beyond_the_deadline_is_answered_at_once() -> None:
    world = World()
    world.send("asks")
    world.fail(status=429, retry_after=DEADLINE)
    world.settle()
    assert "CM21_UNAVAILABLE" == world.code("asks")

    world.send("later")
    world.settle()
    assert "CM21_UNAVAILABLE" == world.code("later")
    assert not world.calls


def test_a_request_that_comes_while_its_mirakl_rests_beyond_the_deadline_is_answered_in_the_same_event() -> None:
    world = World(policy=Policy(request_deadline=20.0))
    world.send("first")
    world.fail(retry_after=60.0)
    world.settle()
    world.send("second")
    assert world.transaction is not None
    world.commit()

    assert "CM21_UNAVAILABLE" == world.code("second")


def test_a_quota_that_lets_no_further_call_through_before_the_deadline_answers_all_who_wait_at_once() -> None:
    """One call an hour: what the first call did not take cannot be called in time."""
    world = World(specification(calls_per_hour=1, products_per_call=1))
    world.fetch([world.record(body(f"r{n}")) for n in range(3)])
    world.answer()
    world.wait(1.0)
    world.settle()

    assert ["SYNCHRONIZED", "CM21_UNAVAILABLE", "CM21_UNAVAILABLE"] == [world.code(f"r{n}") for n in range(3)]


def test_an_answer_without_a_tracking_id_is_final_at_once() -> None:
    world = World()
    world.send("asks")
    world.answer(outcome=Unacknowledged(200, "<html>login</html>"))
    world.settle()

    assert "CM21_OUTCOME_UNKNOWN" == world.code("asks")
    assert 1 == len(world.call_log)


@pytest.mark.parametrize(
    ("status", "code"),
    [(401, "CM21_UNAUTHORIZED"), (403, "CM21_UNAUTHORIZED"), (404, "CM21_REFUSED"), (302, "CM21_REFUSED")],
)
def test_a_refusal_that_blames_no_entry_answers_the_whole_batch(status: int, code: str) -> None:
    world = World()
    world.fetch([world.record(body(f"r{n}")) for n in range(3)])
    world.answer(outcome=Refusal(status, "said Mirakl"))
    world.settle()

    verdict = world.verdict("r0")
    assert isinstance(verdict, Failed)
    assert FIRST == verdict.client_specification_id
    assert str(status) in verdict.error.message
    assert "said Mirakl" in verdict.error.message
    assert [code] * 3 == [world.code(f"r{n}") for n in range(3)]
    assert 1 == len(world.call_log)


# -- shedding ------------------------------------------------------------------------------------------


def small(window: int = 40, records: int = 1000) -> Policy:
    return Policy(window=window, records=records, active_records=records)


def beside_another(limits: Policy) -> World:
    """A world whose partition feeds another client as well, which has been answered once, and is idle."""
    world = World(specification(), specification(SECOND), policy=limits)
    world.send("other", given=SECOND)
    world.answer()
    world.settle()
    return world


def dead_with(world: World, count: int, partition: int = 0) -> None:
    """The first client is dead, and so many requests wait for it."""
    world.send("r0", given=FIRST, partition=partition)
    world.fail()
    world.fetch([world.record(body(f"r{n}", given=FIRST), partition) for n in range(1, count)])


def test_a_dead_client_sheds_its_oldest_when_the_window_is_three_quarters_full_down_to_a_half() -> None:
    world = beside_another(small())
    dead_with(world, 29)
    world.settle()
    assert ["other"] == world.answered

    world.fetch([world.record(body("r29", given=FIRST))])
    world.jump(0.1)
    world.settle()
    shed = world.answered[1:]
    assert [f"r{n}" for n in range(10)] == sorted(shed, key=lambda name: int(name[1:]))
    assert {"CM21_UNAVAILABLE"} == {world.code(name) for name in shed}


def test_a_dead_client_that_holds_up_nobody_sheds_nothing_before_the_deadline() -> None:
    """The window is full; another client is answered from a partition of its own."""
    world = World(specification(), specification(SECOND), policy=small(records=60))
    world.assign(1)
    dead_with(world, 40)
    for n in range(20):
        world.send(f"other-{n}", given=SECOND, partition=1)
        world.live(0.1)
        for call in [call for call in world.calls.values() if call.specification.id == SECOND]:
            world.answer(call)
    world.live(1.0)

    assert {f"other-{n}" for n in range(20)} <= set(world.answered)
    assert not any(name.startswith("r") for name in world.answered)


def test_a_dead_client_sheds_for_another_one_whose_record_was_fetched_and_waits_behind_it() -> None:
    """Nothing else has told that its partition feeds somebody else as well."""
    world = World(specification(), specification(SECOND), policy=small())
    dead_with(world, 60)
    world.send("other", given=SECOND)
    world.live(1.0)
    world.answer(next(call for call in world.calls.values() if call.specification.id == SECOND))
    world.settle()

    assert "SYNCHRONIZED" == world.code("other")


def test_nothing_is_shed_behind_a_request_that_is_waited_for() -> None:
    """The window would not move for it."""
    world = beside_another(small())
    world.send("slow", given=SECOND)
    dead_with_calls = [world.record(body(f"r{n}", given=FIRST)) for n in range(35)]
    world.fetch(dead_with_calls)
    world.answer(world.call_log[-1], CallFailure("HTTP 503", may_have_reached=False))
    world.jump(0.1)
    world.settle()

    assert ["other"] == world.answered


def test_what_is_in_a_probe_is_not_shed_before_the_probe_tells() -> None:
    """Else it would be called unknown, though it never reached Mirakl; a probe that hangs is waited for 5 s at most."""
    world = beside_another(small())
    dead_with(world, 29)
    world.wait(1.0)
    assert 1 == len(world.calls)
    probed = next(iter(world.calls.values())).requests
    world.fetch([world.record(body("r29", given=FIRST))])
    world.settle()
    assert probed > 0
    assert "r0" not in world.answered
    world.wait(10.0)
    world.settle()

    assert "CM21_OUTCOME_UNKNOWN" == world.code("r0")


def test_a_dead_client_sheds_when_a_global_budget_is_three_quarters_full() -> None:
    world = beside_another(small(window=1000, records=40))
    dead_with(world, 30)
    world.jump(0.1)
    world.settle()

    assert 10 == len(world.answered[1:])


def test_a_dead_client_sheds_when_three_quarters_of_the_bytes_are_in_flight_down_to_a_half() -> None:
    size = World().record(body("r10", given=FIRST)).size
    world = beside_another(Policy(record_bytes=40 * size))
    dead_with(world, 29)
    world.jump(0.1)
    world.settle()
    assert ["other"] == world.answered

    world.fetch([world.record(body(f"r{n}", given=FIRST)) for n in (29, 30)])
    world.jump(0.1)
    world.settle()
    assert 20 >= world.core._pressure.bytes / size
    assert 10 <= len(world.answered[1:]) <= 12


def test_a_dead_client_sheds_when_a_record_of_another_partition_finds_no_room_for_it() -> None:
    world = World(specification(), specification(SECOND), policy=small(records=40))
    world.assign(1)
    dead_with(world, 40)
    world.send("other", given=SECOND, partition=1)
    world.live(0.5)
    world.answer(next(call for call in world.calls.values() if call.specification.id == SECOND))
    world.settle()

    assert "SYNCHRONIZED" == world.code("other")


def test_a_healthy_lane_never_sheds_although_the_window_is_full() -> None:
    busy = specification(products_per_call=1, concurrent_calls=1)
    world = World(busy, specification(SECOND), policy=small())
    world.send("dead", given=SECOND)
    world.answer(outcome=CallFailure("HTTP 503", may_have_reached=False))
    world.assign(1)
    world.send("in a call", given=FIRST, partition=1)
    world.fetch([world.record(body(f"r{n}", given=FIRST if n % 2 else SECOND)) for n in range(1, 40)])
    states = {lane.client_specification_id: lane.state for lane in world.status.lanes}
    assert {FIRST: LaneState.HEALTHY, SECOND: LaneState.SICK} == states
    world.jump(0.1)
    world.settle()

    assert "dead" in world.answered
    assert all(request.lane == SECOND for request in world.committed if request.lane)
    assert {0} == world.paused


def test_a_partition_that_feeds_a_slow_lane_is_paused_and_resumed_when_the_lane_has_eased() -> None:
    """At two seconds a call and ten products a call, two hundred requests would wait too long."""
    slow = specification(products_per_call=1, concurrent_calls=1)
    world = World(slow, specification(SECOND), policy=Policy(request_deadline=60.0))
    world.assign(1)
    world.send("first", given=FIRST)
    world.wait(2.0)
    world.answer()
    world.fetch([world.record(body(f"r{n}", given=FIRST), 0) for n in range(25)])
    world.jump(0.1)
    assert {0} == world.paused

    while len(world.committed) < 25:
        world.wait(2.0)
        world.answer()
        if world.transaction:
            world.commit()
    assert not world.paused
    assert {"SYNCHRONIZED"} == {world.code(name) for name in world.answered}


def test_a_slow_start_does_not_make_a_lane_sick() -> None:
    world = World()
    world.send("asks")
    world.wait(4.0)
    assert LaneState.HEALTHY == world.status.lanes[0].state
    world.answer()
    world.settle()
    verdict = world.verdict("asks")
    assert isinstance(verdict, Synchronized)
    assert ("t-1",) == verdict.tracking_ids


def test_the_first_outcome_of_a_call_that_was_given_up_on_is_the_only_one() -> None:
    world = World()
    world.send("asks")
    world.wait(DEADLINE)
    world.settle()
    world.answer(outcome=Receipt("too late"))
    world.settle()

    assert ["asks"] == world.answered
