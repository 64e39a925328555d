"""What was read and not decided: bounded, never lost, and passed on when a partition moves."""

from typing import Any

import pytest

from consumer.domain.calls import Refusal
from consumer.domain.outcome import Failed, Partial
from consumer.engine.events import Revoking
from consumer.engine.policy import Policy
from schemas.explanation import Explanation
from tests.unit.engine.world import FIRST, SECOND, World, body, specification


def test_records_that_found_no_room_are_not_passed_over_when_their_partition_is_given_up() -> None:
    """The log's end was reached behind them; they were never decided about."""
    world = World(policy=Policy(records=2))
    world.assign(1)
    world.fetch([world.record(body(f"a{n}"), 0) for n in range(2)])
    world.fetch([world.record(body(f"b{n}"), 1) for n in range(3)])
    world.reach(1, 3)

    world.do(Revoking([1], patience=0.25))
    world.settle()

    assert [1] == world.drained
    assert 1 not in world.offsets


def test_a_window_that_a_gap_in_the_log_has_closed_pauses_its_partition() -> None:
    """Transaction markers are offsets without records: the next record may lie beyond the window's edge."""
    world = World(policy=Policy(window=10))
    world.fetch([world.record(body("old"), 0, offset=0)])
    world.fetch([world.record(body(f"r{n}"), 0, offset=n) for n in range(2, 12, 2)])
    world.jump(0.1)

    assert {0} == world.paused


def test_giving_up_a_partition_that_is_being_read_anew_is_confirmed_at_once() -> None:
    world = World()
    world.end(0)
    world.do(Revoking([0], patience=0.25))

    assert [0] == world.drained


def test_a_no_is_never_given_on_a_snapshot_that_was_asked_for_before_the_record_was_read() -> None:
    """Not even where the lane that the request waits in has lost its specification meanwhile."""
    world = World(specification(concurrent_calls=1))
    world.send("out")
    world.database = False
    world.wait(1.0)
    asked_at = world.now
    world.now += 0.01
    world.send("late", given=FIRST)
    world.change(specification(SECOND))
    world.confirm(asked_at)

    assert 0 == world.core.status(world.at).lanes[0].depth
    assert world.transaction is None

    world.change(specification(), specification(SECOND))
    world.confirm(world.now)
    world.answer()
    world.answer()
    world.settle()
    assert "SYNCHRONIZED" == world.code("late")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"suspended": True}, "CLIENT_SPECIFICATION_SUSPENDED"),
        ({"unusable": Explanation("Its credential cannot be decrypted.")}, "CLIENT_SPECIFICATION_UNUSABLE"),
    ],
)
def test_a_client_that_can_no_longer_be_called_stops_the_search_for_its_refused_entries(
    fields: dict[str, Any], code: str
) -> None:
    world = World()
    world.fetch([world.record(body(f"r{n}")) for n in range(4)])
    world.change(specification(**fields))
    world.wait(1.0)
    world.answer(outcome=Refusal(422, "one is bad"))
    world.settle()

    assert not world.calls
    assert {code} == {world.code(f"r{n}") for n in range(4)}


def test_suspending_a_client_lets_the_call_of_a_large_request_finish_and_sends_no_further_part() -> None:
    world = World(specification(products_per_call=2, concurrent_calls=1))
    world.send("large", {"a": "1", "b": "2", "c": "3"})
    world.change(specification(products_per_call=2, concurrent_calls=1, suspended=True))
    world.wait(1.0)
    world.answer()
    world.settle()

    verdict = world.verdict("large")
    assert isinstance(verdict, Partial)
    assert {"c": "3"} == verdict.unsynchronized
    assert "CLIENT_SPECIFICATION_SUSPENDED" == verdict.error.code
    assert not world.calls


def test_a_client_that_falls_silent_has_no_partition_paused_that_others_use() -> None:
    """Its share of what is scarce is long used up, and whether it is dead is not known yet."""
    silent = specification(SECOND, products_per_call=1, concurrent_calls=4)
    world = World(specification(), silent, policy=Policy(records=40, active_records=30))
    _answer_one(world)
    world.send("other", given=FIRST)
    world.answer()
    world.settle()
    world.fetch([world.record(body(f"d{n}", given=SECOND)) for n in range(25)])
    world.wait(0.2)
    assert {0} == world.paused

    world.wait(0.5)
    assert set() == world.paused
    assert 15 == world.core.fetch_budget.records
    assert ["first", "other"] == world.answered


def test_a_client_whose_calls_come_back_is_not_silent_although_one_does_not() -> None:
    """The slow call holds nothing up; its lane stays bound to its share of what is scarce."""
    slow = specification(SECOND, products_per_call=1, concurrent_calls=2)
    world = World(specification(), slow, policy=Policy(records=60, active_records=30))
    _answer_one(world)
    world.fetch([world.record(body(f"d{n}", given=SECOND)) for n in range(45)])
    first = next(iter(world.calls))
    for _ in range(10):
        world.wait(0.1)
        world.answer(list(world.calls.values())[-1])
    world.wait(0.1)

    assert first in world.calls
    assert {0} == world.paused


def test_what_a_client_holds_beyond_its_share_leaves_room_for_others() -> None:
    world = _with_a_backlog(records=1000)
    world.assign(1)
    world.wait(0.1)

    assert 15 == world.core.fetch_budget.records
    assert set() == world.paused


def test_where_every_partition_has_brought_a_client_its_share_no_more_is_fetched() -> None:
    """Nobody needs it, and pauses would follow, which cost each client a moment without records."""
    world = _with_a_backlog(records=1000)
    assert 0 == world.core.fetch_budget.records

    for _ in range(10):  # it takes three requests a call
        world.answer()
        world.settle()
    world.wait(0.1)
    assert 15 == world.core.fetch_budget.records
    assert set() == world.paused


def test_partitions_are_resumed_for_a_client_that_holds_little_beside_many_that_hold_their_share() -> None:
    """The others leave less than the quarter with which partitions are resumed otherwise."""
    slow = [specification(f"00000000-0000-0000-0000-00000000010{n}", products_per_call=1) for n in range(7)]
    policy = Policy(records=1000, active_records=80, hesitation=60.0)
    world = World(specification(), *slow, policy=policy)
    world.assign(1)
    for each in slow:
        world.fetch([world.record(body(f"{each.id[-1]}-{n}", given=each.id), partition=1) for n in range(10)])
    world.fetch([world.record(body(f"r{n}", given=FIRST)) for n in range(10)])
    world.wait(policy.full_patience + 0.3)
    assert {0, 1} == world.paused

    world.answer(next(call for call in world.calls.values() if call.specification.id == FIRST))
    world.settle()
    world.wait(0.3)
    assert 0 not in world.paused


def test_a_client_that_holds_more_than_its_share_of_what_is_scarce_has_its_partition_paused() -> None:
    """Room for others is left in every case; the pause is what costs, so it comes when room becomes scarce."""
    world = _with_a_backlog(records=100)
    assert set() == world.paused

    world.fetch([world.record(body(f"s{n}", given=SECOND)) for n in range(20)])
    world.wait(0.1)
    assert {0} == world.paused


@pytest.mark.parametrize("shared", [False, True])
def test_a_full_lane_takes_one_large_request_and_leaves_those_of_other_partitions_where_they_are(
    *, shared: bool
) -> None:
    """What a record asks for shows only once it is read; nobody who waits for it may lose his deadline by that.

    ``shared``: the partitions bring requests of another client as well.
    """
    world = World(specification(products_per_call=10, concurrent_calls=1), specification(SECOND))
    large = {f"p{n}": "sku" for n in range(600)}
    world.assign(1)
    world.assign(2)
    world.send("first", given=FIRST)
    world.answer()
    world.settle()
    for partition in range(3) if shared else ():
        for specification_id in (FIRST, SECOND):
            world.send(f"before-{partition}-{specification_id}", given=specification_id, partition=partition)
            world.answer()
        world.settle()
    world.send("out", given=FIRST)
    for partition in range(3):
        world.send(f"large-{partition}", large, given=FIRST, partition=partition)
    world.send("other", given=SECOND, partition=2)
    world.wait(0.3)

    assert 2 == world.status.in_flight_records, "the one that is out, and a large one"
    assert {0, 1, 2} == world.paused

    while world.calls:
        world.answer()
        world.settle()
        world.wait(0.1)
    assert {"first", "out", "large-0", "large-1", "large-2", "other"} <= set(world.answered)
    assert {"SYNCHRONIZED"} == {world.code(each) for each in world.answered}


def test_partitions_paused_for_want_of_a_fetch_budget_are_resumed_once_a_quarter_of_it_is_back() -> None:
    world = World(specification(products_per_call=1, concurrent_calls=40), policy=Policy(records=40, active_records=40))
    world.assign(1)
    world.send("slow")
    world.wait(2.0)
    world.answer()
    world.settle()
    world.fetch([world.record(body(f"r{n}")) for n in range(40)])
    assert 0 == world.core.fetch_budget.records
    assert 1 not in world.paused
    world.wait(Policy().full_patience + 0.2)
    assert 1 in world.paused

    for _ in range(9):
        world.answer()
    world.settle()
    assert 9 == world.core.fetch_budget.records
    assert 1 in world.paused

    world.answer()
    world.settle()
    assert 10 == world.core.fetch_budget.records
    assert 1 not in world.paused


def test_a_full_lane_that_was_never_heard_of_turns_back_partitions_that_bring_nothing_else() -> None:
    """It may be dead, but nobody else waits behind its requests there."""
    world = World(specification(products_per_call=10, concurrent_calls=1))
    large = {f"p{n}": "sku" for n in range(600)}
    world.assign(1)
    world.assign(2)
    world.send("out")
    for partition in range(3):
        world.send(f"large-{partition}", large, partition=partition)
    world.wait(0.3)

    assert 2 == world.status.in_flight_records, "the one that is out, and a large one"


def test_a_lane_counts_on_no_more_calls_at_once_than_are_left_to_it() -> None:
    """With few calls for all, what a specification would allow says little about how fast a queue shrinks."""
    many = specification(products_per_call=1, concurrent_calls=8)
    waiting = [
        _queue_until_paused(World(many, specification(SECOND), policy=Policy(calls=calls))) for calls in (1, 256)
    ]
    assert waiting[0] * 8 == pytest.approx(waiting[1], rel=0.1)


def test_a_partition_that_was_turned_back_is_the_next_one_to_fill_the_lane() -> None:
    """Else one with a long backlog would fill it again and again, and nobody behind the other one's head be read."""
    world = World(specification(products_per_call=10, concurrent_calls=1), specification(SECOND))
    world.assign(1)
    large = {f"p{n}": "sku" for n in range(300)}
    world.fetch([world.record(body(f"backlog-{n}", large, FIRST)) for n in range(20)])
    world.fetch([world.record(body("turned-back", given=FIRST), 1), world.record(body("behind", given=SECOND), 1)])

    while "behind" not in world.answered:
        world.wait(1.0)
        for call in list(world.calls.values()):
            world.answer(call)
        world.settle()
    assert "backlog-5" not in world.answered


def test_a_partition_is_not_kept_waiting_for_what_its_former_assignment_was_turned_back_for() -> None:
    world = World(specification(products_per_call=10, concurrent_calls=1), specification(SECOND))
    world.assign(1)
    world.send("large", {f"p{n}": "sku" for n in range(5000)}, given=FIRST)
    world.send("turned-back", given=FIRST, partition=1)
    world.wait(0.2)
    assert {0, 1} == world.core._pressure.over_limit

    world.end(1)
    world.assign(1, offset=1)
    world.send("other", given=SECOND, partition=1)
    world.wait(0.2)
    world.answer(next(call for call in world.calls.values() if call.specification.id == SECOND))
    world.settle()
    assert ["other"] == world.answered


def test_what_waits_in_front_of_a_full_lane_leaves_the_fetch_budget_of_others_as_it_is() -> None:
    """Each of many partitions has fetched some hundred records before it was paused."""
    slow = specification(products_per_call=1, concurrent_calls=1)
    world = World(slow, specification(SECOND), policy=Policy(active_records=1000))
    for partition in range(1, 20):
        world.assign(partition)
    for partition in range(20):
        world.fetch([world.record(body(f"r{partition}-{n}", given=FIRST), partition) for n in range(100)])
    world.wait(0.1)

    assert set(range(20)) == world.core._pressure.over_limit
    assert 900 < world.core.fetch_budget.records


def test_one_call_that_hangs_among_others_that_return_makes_nobody_wait_in_vain() -> None:
    """The Mirakl is well: what is read of it is bounded as ever, and nothing of it is shed."""
    world = World(specification(products_per_call=1, concurrent_calls=3), policy=Policy(records=400))
    world.fetch([world.record(body(f"r{n}")) for n in range(350)])
    world.wait(0.1)
    hanging = next(iter(world.calls.values()))
    for _ in range(200):
        for call in list(world.calls.values()):
            if call is not hanging:
                world.answer(call)
        world.settle()
        world.wait(0.1)
    assert {"SYNCHRONIZED"} == {world.code(each) for each in world.answered}


@pytest.mark.parametrize("products_per_call", [1, 100])
@pytest.mark.parametrize("deadline", [8.0, 12.0, 300.0])
def test_a_client_that_hangs_costs_its_neighbours_on_the_same_partition_nothing(
    deadline: float, products_per_call: int
) -> None:
    """Whether its calls come back at all is not known yet, and its requests fill its lane at once."""
    hanging = specification(SECOND, products_per_call=products_per_call, concurrent_calls=1)
    world = World(specification(), hanging, policy=Policy(request_deadline=deadline))
    world.fetch([world.record(body(f"hangs-{n}", given=SECOND)) for n in range(50)])
    for n in range(20):
        world.send(f"r{n}", given=FIRST)
        asked_at = world.now
        while not (answerable := [call for call in world.calls.values() if call.specification.id == FIRST]):
            world.live(0.1)
        assert 0.2 >= world.now - asked_at
        world.answer(answerable[0])
        world.live(0.3)

    assert {"SYNCHRONIZED"} == {world.code(f"r{n}") for n in range(20)}


@pytest.mark.parametrize("stalls", [False, True])
def test_a_full_lane_that_hangs_is_read_past_to_see_whether_it_holds_up_others(*, stalls: bool) -> None:
    """None but its requests are known of on the partition, and a neighbour's one stands in the log behind them."""
    hanging = specification(SECOND, products_per_call=1, concurrent_calls=1)
    world = World(specification(), hanging, policy=Policy(request_deadline=40.0))
    if stalls:
        world.send("warm", given=SECOND)
        world.answer()
        world.settle()
    world.fetch([world.record(body(f"hangs-{n}", given=SECOND)) for n in range(300)])
    world.wait(6.0 if stalls else 0.1)
    assert len(world.core._partitions.assignments[0].backlog) > 0
    assert set() == world.paused

    world.send("other", given=FIRST)
    world.wait(0.2)
    assert FIRST in [call.specification.id for call in world.calls.values()]


def test_a_partition_is_not_read_on_beyond_its_window_for_a_lane_that_may_yet_answer() -> None:
    """Its requests cannot be given up yet, so nothing behind them could be taken in."""
    hanging = specification(SECOND, products_per_call=1, concurrent_calls=1)
    world = World(specification(), hanging, policy=Policy(window=100, request_deadline=40.0))
    world.send("hangs", given=SECOND)
    world.wait(0.6)
    world.fetch([world.record(body("behind-a-gap", given=SECOND), offset=200)])
    world.wait(0.1)

    assert {0} == world.paused


def test_no_more_than_some_records_are_fetched_past_a_full_lane_that_hangs() -> None:
    """Each of them has to be kept until there is room."""
    hanging = specification(SECOND, products_per_call=1, concurrent_calls=1)
    world = World(specification(), hanging, policy=Policy(request_deadline=40.0))
    world.fetch([world.record(body(f"hangs-{n}", given=SECOND)) for n in range(Policy().seek_records + 100)])
    world.wait(0.1)

    assert {0} == world.paused


@pytest.mark.parametrize(("seconds", "warm"), [(8.0, 0), (8.0, 10), (20.0, 0)])
def test_a_mirakl_that_is_slow_from_some_moment_on_is_never_called_unavailable(seconds: float, warm: int) -> None:
    """Nobody else is held up, and no request is read that cannot be answered in time."""
    world = World(specification())
    served = Served(world, 0.3)
    for n in range(warm):
        world.send(f"warm-{n}")
        served.live(1.0)
    served.seconds = seconds
    sent = 0
    for _ in range(320):
        while 0 not in world.paused and (room := min(500, world.core.fetch_budget.records)):
            world.fetch([world.record(body(f"r{n}")) for n in range(sent, sent + room)])
            sent += room
        served.live(1.0)

    assert {"SYNCHRONIZED"} == {world.code(name) for name in ("r0", "r99", "r100", "r199")}
    assert not any(isinstance(request.verdict, Failed) for request in world.committed)


class Served:
    """A Mirakl that is well and takes its time for each call."""

    def __init__(self, world: World, seconds: float) -> None:
        self.seconds = seconds
        self._world = world
        self._due: dict[int, float] = {}

    def live(self, seconds: float) -> None:
        world, end = self._world, self._world.now + seconds
        while world.now < end:
            for call_id in world.calls:
                self._due.setdefault(call_id, world.now + self.seconds)
            world.live(0.5)
            for call_id in [call_id for call_id in world.calls if self._due.get(call_id, end + 1) <= world.now]:
                world.answer(world.calls[call_id])


def _queue_until_paused(world: World) -> int:
    world.send("other", given=SECOND)
    world.answer()
    world.send("first", given=FIRST)
    world.wait(1.0)
    world.answer()
    world.settle()
    while not world.paused:
        world.fetch([world.record(body(f"r{world.now}-{n}", given=FIRST)) for n in range(20)])
        world.wait(0.1)
    return next(lane.depth for lane in world.status.lanes if lane.client_specification_id == FIRST)


def _answer_one(world: World) -> None:
    """From then on it is known how long a call takes."""
    world.send("first", given=SECOND)
    world.answer()
    world.settle()


def _with_a_backlog(records: int) -> World:
    """A client whose pace is known has 45 requests more, and one call at a time; so many may be in flight."""
    busy = specification(SECOND, products_per_call=3, concurrent_calls=1)
    world = World(specification(), busy, policy=Policy(records=records, active_records=30))
    _answer_one(world)
    world.fetch([world.record(body(f"r{n}", given=SECOND)) for n in range(45)])
    world.wait(0.1)
    return world
