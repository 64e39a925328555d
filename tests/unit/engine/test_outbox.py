"""When a transaction is cut, and what it takes."""

import pytest

from consumer.engine.commands import TransactionResult
from consumer.engine.limits import Limits
from consumer.engine.outbox import GATHER_SECONDS, MOST
from tests.unit.engine.world import World, body, specification


def outcomes(world: World) -> list[int]:
    """How many outcomes of each partition are in the transaction that is out."""
    return [len(part.outcomes) for part in world.transaction.partitions] if world.transaction else []


def test_after_a_quiet_time_an_outcome_is_committed_at_once() -> None:
    world = World()
    world.send("a")
    world.answer()

    assert [1] == outcomes(world)


def test_right_after_a_transaction_outcomes_gather_for_a_moment_and_the_core_says_when() -> None:
    world = World(specification(products_per_call=1))
    world.fetch([world.record(body(f"r{n}")) for n in range(3)])
    world.answer()
    world.commit()
    world.now += 0.001
    world.send("no", value=b"garbage")
    assert world.transaction is None
    assert pytest.approx(GATHER_SECONDS, abs=0.01) == (world.core.wake_at(world.at) or 0) - world.now

    world.answer()
    world.jump(GATHER_SECONDS)
    assert 2 <= sum(outcomes(world))


def test_a_whole_lot_of_outcomes_waits_for_nothing() -> None:
    world = World(specification(products_per_call=3000))
    world.send("a")
    world.answer()
    world.fetch([world.record(body(f"r{n}")) for n in range(2500)])
    world.answer()
    world.commit()

    assert [2500] == outcomes(world)


def test_a_transaction_is_bounded_and_the_rest_follows() -> None:
    world = World(limits=Limits(records=20_000, brisk_records=20_000))
    world.fetch([world.record(body(f"r{n}"), key=None) for n in range(MOST + 500)])
    world.jump(0.1)
    sizes = []
    while world.transaction:
        sizes += outcomes(world)
        world.commit()
        world.jump(0.1)

    assert MOST + 500 == sum(sizes)
    assert MOST >= max(sizes)
    assert MOST + 500 == len(set(world.answered))


def test_one_transaction_takes_the_outcomes_of_all_partitions() -> None:
    world = World()
    world.assign(1)
    world.fetch([world.record(body("a"), 0), world.record(body("b"), 1)])
    world.answer()

    assert [1, 1] == outcomes(world)


def test_outcomes_of_an_aborted_transaction_stand_before_newer_ones() -> None:
    world = World(specification(products_per_call=1))
    world.fetch([world.record(body(f"r{n}")) for n in range(2)])
    world.answer()
    world.answer()
    world.commit(TransactionResult.ABORTED)
    world.jump(0.1)
    world.commit()

    assert ["r0", "r1"] == world.answered


def test_the_age_of_the_oldest_unanswered_request_ends_with_its_commit() -> None:
    world = World()
    world.send("a")
    world.wait(3.0)
    world.answer()
    assert 3.0 <= world.status.oldest_unanswered_seconds
    world.commit()

    assert 0.0 == world.status.oldest_unanswered_seconds
    assert world.now == world.status.last_commit_at
