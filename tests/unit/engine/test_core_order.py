"""The same Mirakl id with different SKUs is pushed in partition order, whatever the older requests wait for."""

import gc
from collections.abc import Callable
from dataclasses import replace

import pytest

from consumer.domain.calls import Refusal
from consumer.engine.events import MembershipChanged, SchemaFound, SchemaMissing, SchemaUnavailable, Tick
from consumer.engine.policy import Policy
from consumer.engine.requests import Request
from tests.support.builders import api_key
from tests.unit.engine.world import FIRST, KEY, SECOND, World, body, specification

DEADLINE = Policy().request_deadline
STRANGER = b"a key that is not known yet"


def learn(world: World, schema: str) -> None:
    world.decoder.learnt.add(schema)
    world.do(SchemaFound(schema))


def finish(world: World) -> None:
    """Let Mirakl and the broker answer until nothing is left."""
    for _ in range(20):
        while world.calls:
            world.answer()
        world.settle()


def pushes(world: World) -> list[dict[str, str]]:
    return [dict(call.products) for call in world.call_log]


# -- behind a writer schema ----------------------------------------------------------------------------


def test_a_request_waits_behind_an_older_one_of_its_id_whose_schema_is_not_known_yet() -> None:
    world = World()
    world.send("old", {"x": "1"}, schema="v9")
    world.send("new", {"x": "2"})
    world.wait(5.0)
    assert [] == pushes(world)

    learn(world, "v9")
    finish(world)
    assert [{"x": "1"}, {"x": "2"}] == pushes(world)


def test_a_request_of_other_ids_does_not_wait_for_the_schema_of_another() -> None:
    world = World()
    world.send("old", {"x": "1", "xx": "1"}, schema="v9")
    world.send("new", {"xxx": "2"})
    world.answer()
    world.settle()
    assert ["new"] == world.answered


def test_a_request_goes_on_once_the_older_one_is_a_dead_letter() -> None:
    world = World()
    world.send("old", {"x": "1"}, schema="v9")
    world.send("new", {"x": "2"})
    world.do(SchemaMissing("v9"))
    world.wait(31.0)
    world.do(SchemaMissing("v9"))
    finish(world)
    assert [{"x": "2"}] == pushes(world)
    assert ["old"] == ["old" for _ in world.dead]


def test_requests_wait_in_a_chain_and_are_pushed_in_partition_order() -> None:
    world = World(specification(concurrent_calls=4))
    world.send("first", {"x": "1"}, schema="v9")
    world.send("second", {"x": "2", "y": "2"}, schema="v8")
    world.send("third", {"x": "3"})
    world.send("fourth", {"y": "4"})
    world.send("fifth", {"x": "5", "y": "5"})
    world.send("other", {"z": "1"})
    learn(world, "v8")
    finish(world)
    assert [{"z": "1"}] == pushes(world)

    learn(world, "v9")
    finish(world)
    for id_, skus in (("x", ["1", "2", "3", "5"]), ("y", ["2", "4", "5"])):
        assert skus == [call[id_] for call in pushes(world) if id_ in call]


def test_time_spent_waiting_behind_another_request_is_not_charged() -> None:
    world = World()
    world.send("old", {"x": "1"}, schema="v9")
    world.send("new", {"x": "2"})
    for _ in range(int(DEADLINE)):
        if world.lookups:
            world.lookups.clear()
            world.do(SchemaUnavailable("v9", "the registry is down"))
        world.wait(2.0)
    learn(world, "v9")
    world.wait(DEADLINE - 30)
    finish(world)
    assert "SYNCHRONIZED" == world.code("old")
    assert "SYNCHRONIZED" == world.code("new")


def test_requests_of_another_partition_do_not_wait() -> None:
    world = World()
    world.assign(1)
    world.send("old", {"x": "1"}, schema="v9")
    world.send("new", {"x": "2"}, partition=1)
    world.answer()
    assert [{"x": "2"}] == pushes(world)


def test_requests_of_another_tenant_do_not_wait() -> None:
    world = World(start=False)
    other = b"another tenant's key"
    world.change(
        specification(), specification(SECOND, tenant="other"), keys={KEY: api_key(), other: api_key(tenant="other")}
    )
    world.do(MembershipChanged(member=True))
    world.assign(0)
    world.wait(1.5)
    world.send("old", {"x": "1"}, schema="v9", key=other)
    world.send("new", {"x": "2"})
    world.answer()
    assert [{"x": "2"}] == pushes(world)


# -- behind the directory ------------------------------------------------------------------------------


def test_a_request_waits_behind_an_older_one_of_its_id_whose_key_may_just_have_been_issued() -> None:
    world = World()
    world.database = False
    world.now += 0.5
    world.send("old", {"x": "1"}, key=STRANGER)
    world.send("new", {"x": "2"})
    world.send("other", {"y": "2"})
    assert [{"y": "2"}] == pushes(world)

    world.change(specification(), keys={KEY: api_key(), STRANGER: api_key(id="key-2")})
    world.database = True
    finish(world)
    assert [{"y": "2"}, {"x": "1"}, {"x": "2"}] == pushes(world)


def test_a_request_of_an_unknown_schema_holds_up_nobody_once_its_sender_is_refused() -> None:
    """The refusal is final: a key that is issued later cannot put the older request behind the newer one."""
    world = World()
    world.now += 0.5
    world.send("old", {"x": "1"}, schema="v9", key=STRANGER)
    world.wait(0.2)
    world.send("new", {"x": "2"})
    finish(world)
    assert ["new"] == world.answered

    world.change(specification(), keys={KEY: api_key(), STRANGER: api_key(id="key-2")})
    world.wait(1.5)
    learn(world, "v9")
    finish(world)
    assert "API_KEY_INVALID" == world.code("old")
    assert [{"x": "2"}] == pushes(world)


def test_a_request_that_is_no_operators_holds_up_nobody() -> None:
    world = World()
    world.send("old", {"x": "1"}, schema="v9", caller=b"SUPPLIER")
    world.wait(0.2)
    world.send("new", {"x": "2"})
    world.answer()
    assert [{"x": "2"}] == pushes(world)


# -- from lane to lane ---------------------------------------------------------------------------------


def test_a_request_that_changes_its_lane_stays_ahead_of_newer_ones_of_its_id() -> None:
    """The tenant's only active specification changes while requests wait."""
    world = World(specification(), specification(SECOND, active=False))
    for id_ in (FIRST, SECOND):
        for _ in range(2):
            world.send("occupies", {f"busy-{id_}-{len(world.call_log)}": "1"}, given=id_)
            world.wait(1.0)
    out = list(world.calls.values())
    world.send("old", {"x": "1"})
    world.send("new", {"x": "2"}, given=SECOND)
    world.change(specification(active=False, suspended=True), specification(SECOND))
    world.wait(1.5)
    assert 4 == len(out)
    for call in out:
        world.answer(call)
    finish(world)
    assert [{"x": "1"}, {"x": "2"}] == [call for call in pushes(world) if "x" in call]
    assert {SECOND} == {call.specification.id for call in world.call_log if "x" in call.products}


# -- cost ----------------------------------------------------------------------------------------------


def test_the_search_for_conflicts_is_part_of_what_one_event_may_cost() -> None:
    world = World(specification(products_per_call=1000))
    for n in range(9):
        world.send(f"unread{n}", {f"p{n}": "s" * 100_000}, schema="v9")
    before = world.status.in_flight_records
    world.fetch([world.record(body(f"r{n}", {f"q{n}": "1"})) for n in range(500)])
    assert before < world.status.in_flight_records < before + 100

    world.wait(5.0)
    assert before + 500 == world.status.in_flight_records


def test_with_too_much_to_search_newer_requests_wait_in_order() -> None:
    world = World()
    for n in range(11):
        world.send(f"unread{n}", {f"p{n}": "s" * 100_000}, schema="v9")
    world.send("new", {"x": "2"})
    world.wait(1.0)
    assert [] == pushes(world)

    learn(world, "v9")
    world.wait(1.0)
    finish(world)
    assert "x" in pushes(world)[-1]


# -- what is kept --------------------------------------------------------------------------------------


def of_ended_assignments() -> set[int]:
    """Return the identities of all requests in this process whose assignment has ended."""
    gc.collect()
    return {id(each) for each in gc.get_objects() if isinstance(each, Request) and each.assignment.ended}


def _unread(world: World) -> None:
    world.send("old", {"x": "1"}, schema="v9")


def _behind(world: World) -> None:
    world.send("old", {"x": "1"}, schema="v9")
    world.send("new", {"x": "2"})


def _unconfirmed(world: World) -> None:
    world.database = False
    world.now += 0.5
    world.send("stranger", key=STRANGER)


def _held_up(world: World) -> None:
    world.send("old", schema="v9")
    learn(world, "v9")
    world.now += 6.0  # the database has not answered for too long
    world.database = False
    world.do(Tick())


def _suspected(world: World) -> None:
    for n in range(4):
        world.send(f"r{n}")
    world.wait(1.0)
    world.answer()
    world.answer(outcome=Refusal(400, "one is wrong"))


def _queued(world: World) -> None:
    world.send("first")
    world.send("second")
    world.answer(outcome=Refusal(400, ""))


@pytest.mark.parametrize("prepare", [_unread, _behind, _unconfirmed, _held_up, _suspected, _queued])
def test_nothing_is_kept_of_an_assignment_that_ended(prepare: Callable[[World], None]) -> None:
    of_other_tests = of_ended_assignments()
    world = World(specification(products_per_call=4, concurrent_calls=1), policy=replace(Policy(), window=100))
    prepare(world)
    world.end(0)
    if world.transaction is not None:
        world.commit()
    while world.calls:
        world.answer()
    world.call_log.clear()  # this world's own: a command names the requests of its call

    assert not of_ended_assignments() - of_other_tests
    assert 0 == world.status.in_flight_records == world.status.in_flight_bytes
