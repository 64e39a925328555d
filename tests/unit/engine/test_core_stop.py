"""A stop finishes what is due soon, waits for nothing else, and takes nothing in."""

from consumer.domain.calls import Refusal
from consumer.engine.events import Revoking, StopRequested
from consumer.engine.policy import Policy
from tests.unit.engine.world import SECOND, World, body, specification


def test_a_stop_does_not_wait_for_a_client_that_hangs() -> None:
    world = World(specification(concurrent_calls=1))
    world.send("answered")
    world.answer()
    world.settle()
    world.send("hangs")
    world.wait(6.0)
    world.do(StopRequested())

    assert world.stopped


def test_a_stop_waits_for_the_first_call_to_a_mirakl_for_a_while_only() -> None:
    world = World(specification(concurrent_calls=1))
    world.send("takes its time")
    world.wait(1.0)
    world.do(StopRequested())
    world.wait(0.8)
    assert not is_over(world)

    world.wait(0.5)
    assert is_over(world)
    assert [] == world.answered


def test_what_waits_behind_a_first_call_that_hangs_delays_no_stop() -> None:
    world = World(specification(products_per_call=1, concurrent_calls=1))
    world.fetch([world.record(body(f"r{n}")) for n in range(3)])
    world.wait(4.0)
    world.do(StopRequested())

    assert is_over(world)


def test_a_stop_does_not_wait_for_a_client_that_hesitates() -> None:
    world = World(specification(products_per_call=1, concurrent_calls=1))
    world.send("answered")
    world.answer()
    world.settle()
    world.fetch([world.record(body(f"r{n}")) for n in range(2)])
    world.wait(0.7)
    world.do(StopRequested())

    assert world.stopped


def test_a_stop_does_not_wait_for_a_call_that_takes_much_longer_than_usual() -> None:
    world = World(specification(products_per_call=1, concurrent_calls=2))
    world.send("usual")
    world.answer()
    world.settle()
    world.send("slow")
    for _ in range(6):
        world.send("usual")
        world.wait(0.1)
        world.answer(world.calls[max(world.calls)])
        world.settle()
    world.do(StopRequested())

    assert world.stopped
    assert 1 == len(world.calls)


def test_a_stop_ends_although_a_slow_client_has_much_to_do() -> None:
    """Nobody serves the partitions meanwhile, those of other clients included."""
    world = with_calls_of_a_second()
    answered = len(world.answered)
    world.fetch([world.record(body(f"r{n}")) for n in range(9)])
    world.do(StopRequested())
    for _ in range(2):
        assert not is_over(world)
        world.wait(1.0)
        world.answer()
        world.settle()

    assert is_over(world)
    assert ["r0", "r1"] == world.answered[answered:]


def test_a_stop_takes_no_longer_because_partitions_are_revoked_meanwhile() -> None:
    world = with_calls_of_a_second()
    world.fetch([world.record(body(f"r{n}")) for n in range(9)])
    began = world.now
    world.do(StopRequested())
    world.wait(0.9)
    world.answer()
    world.settle()
    world.wait(0.9)
    world.answer()
    world.settle()
    world.wait(began + Policy().stop_patience - 0.05 - world.now)
    assert not is_over(world)
    world.do(Revoking([0], patience=0.25))
    world.wait(0.1)

    assert is_over(world)


def test_a_stop_ends_although_a_call_returns_during_each_transaction() -> None:
    """There is no moment without outcomes that wait or travel while calls go on starting."""
    world = World(specification(products_per_call=1, concurrent_calls=2))
    world.send("shows how long a call takes")
    world.wait(0.1)
    world.answer()
    world.settle()
    world.fetch([world.record(body(f"r{n}")) for n in range(1_000)])
    world.do(StopRequested())
    world.answer()
    began = world.now
    while not is_over(world) and world.now < began + 10:
        world.wait(0.1)
        if world.calls:
            world.answer()
        world.commit()

    assert Policy().stop_patience <= world.now - began < Policy().stop_patience + 1


def test_a_stop_does_not_wait_for_a_quota() -> None:
    world = World(specification(products_per_call=1, concurrent_calls=1, calls_per_hour=1800))
    world.fetch([world.record(body(f"r{n}")) for n in range(3)])
    world.answer()
    world.do(StopRequested())
    world.settle()

    assert is_over(world)


def test_a_stop_finishes_what_is_out_and_what_waits_and_takes_nothing_in() -> None:
    world = World(specification(products_per_call=1, concurrent_calls=1))
    world.send("first")
    world.answer()
    world.settle()
    world.fetch([world.record(body(f"r{n}")) for n in range(3)])
    world.do(StopRequested())
    world.send("late")
    assert 0 == world.core.fetch_budget.records
    for _ in range(3):
        world.answer()
    assert ["first"] == world.answered
    assert not world.stopped
    while world.transaction is not None:
        world.commit()

    assert ["first", "r0", "r1", "r2"] == world.answered
    assert is_over(world)


def with_calls_of_a_second() -> World:
    """Return a world whose only client makes one call at a time, for one request, and is known to take a second."""
    world = World(specification(products_per_call=1, concurrent_calls=1))
    world.answer_calls(20, seconds=1.0)
    return world


def is_over(world: World) -> bool:
    return world.stopped


def test_a_stop_waits_for_the_end_of_a_transaction_though_its_partition_was_lost() -> None:
    world = World()
    world.send("a")
    world.answer()
    world.end(0)
    world.do(StopRequested())
    assert not is_over(world)

    world.commit()
    assert is_over(world)


def test_a_stop_does_not_wait_for_a_mirakl_that_is_away() -> None:
    world = World(specification(), specification(SECOND))
    world.send("dead", given=SECOND)
    world.fail()
    world.do(StopRequested())

    assert world.stopped
    assert [] == world.answered


def test_a_stop_while_a_bad_entry_is_searched_for_finishes_the_search() -> None:
    world = World(specification(concurrent_calls=1))
    world.fetch([world.record(body(f"r{n}")) for n in range(4)])
    world.answer(outcome=Refusal(422, "one is bad"))
    world.do(StopRequested())
    while not world.stopped:
        if world.calls:
            world.answer()
        elif world.transaction is not None:
            world.commit()
        else:
            world.wait(0.1)

    assert 4 == len(world.answered)


def test_a_stop_with_nothing_to_do_is_over_at_once() -> None:
    world = World()
    world.do(StopRequested())

    assert world.stopped
