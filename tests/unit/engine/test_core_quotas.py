"""Parts of quotas: what changes for a client when the part of this process does."""

from dataclasses import replace

from consumer.domain.model import ClientSpecification, QuotaPart
from consumer.domain.retry import Backoff
from consumer.engine.dispatch.capacity import spare_products
from consumer.engine.dispatch.lanes import Lane
from consumer.engine.policy import Policy
from consumer.engine.status import LaneState
from tests.unit.engine.serving import one_each
from tests.unit.engine.world import World, specification


def shop(part: QuotaPart, calls_per_hour: int | None = None) -> ClientSpecification:
    return specification(products_per_call=1, concurrent_calls=8, calls_per_hour=calls_per_hour, part=part)


def calls(concurrent: int) -> QuotaPart:
    return QuotaPart(concurrent, None)


def test_a_part_that_grows_lets_further_calls_start() -> None:
    world = World(shop(calls(1)))
    one_each(world, 10)
    assert 1 == len(world.calls)

    world.change(shop(calls(5)))
    world.live(1.5)
    assert 5 == len(world.calls)


def test_a_part_that_shrinks_ends_no_call_and_starts_none_until_there_is_room() -> None:
    world = World(shop(calls(3)))
    one_each(world, 10)
    world.change(shop(calls(2)))
    world.live(1.5)

    (lane,) = world.status.lanes
    assert (3, 2) == (lane.calls_out, lane.calls_allowed)
    world.answer()
    assert 2 == len(world.calls)
    world.answer()
    assert 2 == len(world.calls)


def test_another_part_is_no_fresh_chance_for_a_sick_lane() -> None:
    world = World(shop(calls(1)))
    world.send("asks")
    world.fail(retry_after=200.0)
    world.change(shop(calls(5)))
    world.live(5.0)

    assert not world.calls
    assert LaneState.SICK is world.status.lanes[0].state


def test_another_part_gives_no_fresh_token() -> None:
    world = World(shop(QuotaPart(1, 60), calls_per_hour=120))
    one_each(world, 5)
    world.answer()
    for concurrent in (2, 3, 4):
        world.change(shop(QuotaPart(concurrent, 60), calls_per_hour=120))
        world.live(3.0)

    assert not world.calls


def test_what_a_lane_reads_ahead_is_in_time_when_all_processes_get_work_for_its_client() -> None:
    """One of four processes has 29 of 32 calls at once; it may have 8 soon."""
    lane = Lane(specification(concurrent_calls=32), 0.0, Policy(), Backoff(), "")
    rooms = []
    for part in (QuotaPart(29, None, processes=4), QuotaPart(8, None, processes=4)):
        lane.update(specification(concurrent_calls=32, part=part), 0.0)
        rooms.append(spare_products(lane, Policy(), 1.0, 256, 0.0))

    assert rooms[1] < rooms[0] <= 2 * rooms[1]


def test_the_status_names_the_plan_that_the_lanes_keep_to() -> None:
    world = World()
    assert 0 == world.status.quota_plan
    world.directory = replace(world.directory, quota_plan=7)
    world.changed = True
    world.live(1.5)
    assert 7 == world.status.quota_plan
