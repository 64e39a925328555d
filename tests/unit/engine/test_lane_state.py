"""What an operator is told of a lane, and when it wants to be asked again."""

import pytest

from consumer.engine.status import LaneState
from tests.unit.engine.world import World, body, specification


@pytest.mark.parametrize(("per_hour", "state"), [(360, LaneState.THROTTLED), (1800, LaneState.HEALTHY)])
def test_a_lane_whose_quota_keeps_it_waiting_for_more_than_some_seconds_is_throttled(
    per_hour: int, state: LaneState
) -> None:
    """The next call comes after 10 s, or after 2 s, which is merely slow."""
    world = World(specification(calls_per_hour=per_hour, products_per_call=1))
    world.fetch([world.record(body(f"r{n}")) for n in range(3)])
    world.answer()

    (lane,) = world.status.lanes
    assert state is lane.state


def test_a_lane_with_queued_requests_wakes_the_loop_at_the_end_of_its_pause() -> None:
    world = World()
    world.send("r0")
    world.fail(retry_after=3.0)
    assert pytest.approx(world.now + 3.0) == world.core.wake_at(world.at)


def test_a_lane_without_requests_wakes_nobody() -> None:
    world = World()
    world.send("r0")
    world.answer()
    world.settle()
    assert world.core.wake_at(world.at) is None
