"""What is over leaves nothing behind: no question, no call, nothing that counts as waiting."""

from consumer.domain.calls import CallFailure, Refusal
from consumer.engine.events import SchemaMissing, SchemaUnavailable
from consumer.engine.policy import Policy
from tests.unit.engine.world import SECOND, World, body, specification

DEADLINE = Policy().request_deadline


def test_a_schema_is_not_asked_for_again_if_its_partition_was_lost_during_the_question() -> None:
    world = World()
    world.send("odd", schema="v9")
    world.end(0)
    world.do(SchemaUnavailable("v9", "The registry does not answer."))
    world.wait(2 * Policy().schema_retry)

    assert ["v9"] == world.lookups
    assert () == world.status.troubles


def test_a_schema_is_not_confirmed_as_missing_if_its_partition_was_lost_meanwhile() -> None:
    world = World()
    world.send("odd", schema="v9")
    world.do(SchemaMissing("v9"))
    world.end(0)
    world.wait(2 * Policy().schema_confirmation)

    assert ["v9"] == world.lookups


def test_requests_of_a_search_that_are_given_up_no_longer_count_as_waiting() -> None:
    """Their Mirakl is away, so that no further call of the search finds out that they are answered."""
    world = World()
    world.fetch([world.record(body(f"r{n}")) for n in range(4)])
    world.answer(outcome=Refusal(422, "one is bad"))
    world.fail(retry_after=60.0)
    (lane,) = world.status.lanes
    assert 4 == lane.depth

    for _ in range(int(DEADLINE)):
        world.live(1.0)
        if world.calls:
            world.fail(retry_after=60.0)
    assert {"CM21_UNAVAILABLE"} == {world.code(f"r{n}") for n in range(4)}
    (lane,) = world.status.lanes
    assert 0 == lane.depth


def test_a_part_that_was_given_up_is_not_called_while_its_request_waits_for_another_part() -> None:
    world = World(specification(products_per_call=1, concurrent_calls=2))
    world.send("large", {"a": "1", "b": "2"})
    first, second = world.calls.values()
    world.wait(DEADLINE - 4.0)
    world.answer(second, CallFailure("connection refused", may_have_reached=False))
    world.live(2.0)
    assert [first] == list(world.calls.values())

    world.answer(first)
    world.settle()
    assert "CM21_UNAVAILABLE" == world.code("large")


def test_records_read_past_a_lane_that_hangs_are_kept_although_they_are_large() -> None:
    """Their partition is read on to look for others' requests, so nothing would have it read again."""
    hanging = specification(SECOND, products_per_call=1, concurrent_calls=1)
    world = World(specification(), hanging, policy=Policy(request_deadline=40.0, record_bytes=150_000))
    world.fetch([world.record(body(f"first-{n}", given=SECOND)) for n in range(5)])
    world.wait(0.1)
    world.fetch([world.record(body(f"large-{n}", {f"p{n}": "s" * 200}, given=SECOND)) for n in range(300)])
    world.wait(0.1)
    (assignment,) = world.core._partitions.assignments.values()
    assert Policy().blocked_share * 150_000 < assignment.backlog_bytes
    assert set() == world.paused

    assert 303 == len(assignment.backlog)
