"""A partition that is given up waits for answers that are due soon, and for their commit; of a gone log, for all."""

from consumer.engine.events import Fetched, Revoking
from tests.unit.engine.world import World, body, specification


def test_a_partition_is_given_up_when_its_calls_are_answered_and_committed() -> None:
    world = World(specification(products_per_call=1, concurrent_calls=1))
    world.fetch([world.record(body(f"r{n}")) for n in range(3)])
    world.do(Revoking([0], patience=0.25))
    assert [] == world.drained

    world.answer()
    assert [] == world.drained
    assert not world.calls
    world.commit()
    assert [0] == world.drained
    assert ["r0"] == world.answered
    assert (1, "") == world.offsets[0]


def test_a_partition_is_given_up_without_the_answer_of_a_client_that_hangs() -> None:
    world = World(specification(concurrent_calls=1))
    world.send("hangs")
    world.wait(2.0)
    world.do(Revoking([0], patience=0.25))

    assert [0] == world.drained


def test_a_partition_is_given_up_without_an_answer_that_is_not_due_soon() -> None:
    world = World(specification(products_per_call=1, concurrent_calls=1))
    world.answer_calls(2, seconds=1.0)
    world.send("also takes a second")
    world.wait(0.5)
    world.do(Revoking([0], patience=0.25))

    assert [0] == world.drained


def test_a_partition_is_given_up_without_an_answer_that_takes_longer_than_usual() -> None:
    world = World(specification(products_per_call=1, concurrent_calls=2))
    world.answer_calls(5, seconds=0.05)
    world.fetch([world.record(body(f"r{n}")) for n in range(2)])
    slow, quick = world.calls.values()
    world.wait(0.15)
    world.answer(quick)
    world.settle()
    world.do(Revoking([0], patience=0.25))

    assert [0] == world.drained
    assert slow in world.calls.values()


def test_a_log_that_is_gone_is_left_only_with_every_answer() -> None:
    world = World(specification(concurrent_calls=1))
    world.send("hangs")
    world.wait(2.0)
    world.do(Revoking([0], patience=None))
    assert [] == world.drained

    world.answer()
    world.commit()
    assert [0] == world.drained


def test_other_partitions_go_on_while_one_is_given_up() -> None:
    world = World(specification(concurrent_calls=1))
    world.assign(1)
    world.send("a", partition=0)
    world.do(Revoking([0], patience=0.25))
    world.send("b", partition=1)
    world.answer()
    world.settle()
    world.answer()
    world.settle()

    assert [0] == world.drained
    assert ["a", "b"] == world.answered


def test_nothing_of_a_partition_is_taken_in_once_it_is_to_be_given_up() -> None:
    world = World()
    world.do(Revoking([0], patience=0.25))
    world.send("late")

    assert [0] == world.drained
    assert not world.calls


def test_a_gap_that_was_read_in_the_turn_of_the_revocation_is_committed() -> None:
    world = World()
    world.send("a")
    world.answer()
    world.do(Fetched({0: world.read_on(0, 5)}, []), Revoking([0], patience=0.25))
    world.settle()

    assert (5, "") == world.offsets[0]
