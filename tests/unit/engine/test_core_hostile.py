"""What anyone can send must not keep the loop, the memory or the registry busy for more than it is worth."""

from typing import Any

import pytest

from consumer.engine.events import SchemaFound, SchemaMissing, SchemaUnavailable
from consumer.engine.policy import Policy
from tests.support.builders import fetched_record
from tests.unit.engine.world import World, body

LARGE = b"x" * Policy().turn_bytes
"""Unreadable, and as much as one turn decides about."""


def test_one_turn_decides_about_a_bounded_number_of_bytes_and_the_next_goes_on_at_once() -> None:
    world = World()
    world.fetch([world.record(LARGE) for _ in range(10)])
    assert 1 == world.status.in_flight_records
    assert world.core.wake_at(world.at) == world.now + 0.001

    world.live(2)
    assert 10 == len(world.dead)


def test_records_that_wait_are_looked_at_within_the_same_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whom they are for is worth no more than what one turn may cost."""
    world = World()
    sizes: list[int] = []
    decode = world.decoder.decode

    def counted(value: bytes | None, schema_header: bytes | None) -> Any:  # noqa: ANN401 - passed through
        sizes.append(len(value or b""))
        return decode(value, schema_header)

    monkeypatch.setattr(world.decoder, "decode", counted)
    world.fetch([world.record(LARGE) for _ in range(10)])
    sizes.clear()
    world.jump(0.1)

    assert sum(sizes) <= 2 * Policy().turn_bytes


def test_partitions_take_turns_while_records_are_large() -> None:
    world = World()
    world.assign(1)
    world.fetch([world.record(LARGE, 0) for _ in range(50)])
    world.send("other", partition=1)
    world.live(0.5)

    assert 1 == len(world.calls)


def test_what_was_held_up_is_decided_in_the_same_portions_and_before_what_came_later() -> None:
    """A wrong key: no answer until the database was asked again."""
    world = World()
    world.database = False
    padded = body("padded").ljust(Policy().turn_bytes)
    world.fetch([world.record(padded, key=b"wrong") for _ in range(3)])
    world.wait(0.5)
    assert 3 == world.status.in_flight_records
    world.send("later", key=b"wrong")
    world.database = True
    world.live(1)

    assert ["padded", "padded", "padded", "later"] == world.answered


def test_keys_and_headers_count_among_the_bytes_in_flight() -> None:
    world = World(policy=Policy(record_bytes=10_000))
    world.database = False
    world.fetch([fetched_record(0, 0, 0, b"k" * 6000, None, [("name", b"v" * 6000)])])

    assert 12_004 == world.status.in_flight_bytes
    assert 0 == world.core.fetch_budget.records


def test_what_waits_to_be_taken_in_counts_as_well() -> None:
    world = World(policy=Policy(record_bytes=10_000))
    world.database = False
    world.wait(10)  # closes the intake
    world.fetch([world.record(b"x" * 6000) for _ in range(2)])
    assert 0 == world.status.in_flight_bytes
    world.core._clock.troubles = ()

    assert 0 == world.core.fetch_budget.records


def test_made_up_schemas_are_asked_for_a_few_at_a_time() -> None:
    world = World()
    for number in range(100):
        world.send(f"r{number}", schema=f"made-up-{number}")
    assert Policy().schema_lookups == len(world.lookups)

    world.do(SchemaMissing(world.lookups[0]))
    assert Policy().schema_lookups + 1 == len(world.lookups)


def test_a_registry_in_trouble_is_asked_once_in_a_while_and_told_of_briefly() -> None:
    world = World()
    for number in range(100):
        world.send(f"r{number}", schema=f"made-up-{number}")
    for reference in list(world.lookups):
        world.do(SchemaUnavailable(reference, f"no answer for {reference}"))
    world.lookups.clear()
    world.wait(Policy().schema_retry + 0.2)

    assert 1 == len(world.lookups)
    assert Policy().problems_shown == len(world.status.troubles) < world.status.unavailable_schemas

    world.do(SchemaMissing(world.lookups[0]))
    assert Policy().schema_lookups + 1 == len(world.lookups)


def test_a_schema_that_nobody_waits_for_any_more_is_not_asked_for_again() -> None:
    world = World()
    world.send("odd", schema="v9")
    world.do(SchemaUnavailable("v9", "away"))
    world.end(0)
    assert () == world.status.troubles
    world.lookups.clear()
    world.wait(10)

    assert [] == world.lookups
    assert () == world.status.troubles


def test_records_that_wait_for_schemas_leave_room_for_those_of_other_partitions() -> None:
    world = World(policy=Policy(records=100, active_records=40))
    world.assign(1)
    world.fetch([world.record(body(f"r{number}"), 0, schema=f"v{number}") for number in range(60)])
    world.live(0.5)

    assert {0} == world.paused
    assert 40 == world.core.fetch_budget.records


def test_a_record_that_could_not_be_unpacked_says_why() -> None:
    world = World()
    world.fetch([fetched_record(0, 0, -1, None, None, None, "the batch cannot be unpacked")])
    world.settle()

    assert ["the batch cannot be unpacked"] == [letter.message for letter in world.dead]


# -- records that cannot be decided yet leave the fetch budget to others -------------------------------


def test_what_waits_behind_undecidable_records_leaves_the_fetch_budget_to_others() -> None:
    """Each partition's window is full although it holds one record only, and hundreds wait behind it."""
    world = World(policy=Policy(window=10, records=1000, active_records=100))
    for partition in range(1, 25):
        world.assign(partition)
        records = [world.record(body("odd"), partition, schema="v9")]
        records += [world.record(body(f"p{partition}-{n}"), partition) for n in range(30)]
        world.fetch(records)
        while world.calls:
            world.answer()
        world.settle()
    world.live(3.0)

    assert set(range(1, 25)) == world.paused
    assert 100 == world.core.fetch_budget.records
    world.send("other")
    world.answer()
    world.settle()
    assert "SYNCHRONIZED" == world.code("other")


def test_large_records_that_wait_for_schemas_leave_most_of_the_bytes_to_others() -> None:
    world = World(policy=Policy(record_bytes=20_000))
    world.assign(1)
    for number in range(30):
        if 1 not in world.paused:
            world.send(f"odd{number}", {"p": "s" * 1000}, partition=1, schema="v9")
    world.live(3.0)

    assert {1} == world.paused
    assert 7_000 < world.status.in_flight_bytes < 10_000
    assert 0 < world.core.fetch_budget.records
    world.send("other")
    world.answer()
    world.settle()
    assert "SYNCHRONIZED" == world.code("other")


def test_large_records_that_wait_in_blocked_partitions_are_given_back_and_read_again() -> None:
    world = World(policy=Policy(window=10, record_bytes=100_000))
    for partition in range(1, 9):
        world.assign(partition)
        world.send(f"odd{partition}", partition=partition, schema="v9")
        world.send(f"gap{partition}", partition=partition)
        records = [world.record(body(f"p{partition}-{n}", {"p": "s" * 2000}), partition) for n in range(40)]
        world.fetch(records[:30])
        world.fetch(records[30:])  # fetched before the pause
        while world.calls:
            world.answer()
    world.live(3.0)
    assert 0 < world.core.fetch_budget.records
    assert 50_000 >= sum(each.backlog_bytes for each in world.core._partitions.assignments.values())
    world.send("other")
    while world.calls:
        world.answer()
    world.live(0.5)
    assert "SYNCHRONIZED" == world.code("other")
    assert [] == world.rereads

    world.decoder.learnt.add("v9")
    world.do(SchemaFound("v9"))
    for _ in range(5):
        while world.calls:
            world.answer()
        world.live(0.5)
    again = {each.partition: each.offset for each in world.rereads}
    assert again
    assert {10} == set(again.values())
    assert not again.keys() & world.paused


def test_large_records_behind_a_gap_are_not_read_again_before_the_window_reaches_them() -> None:
    world = World(policy=Policy(window=10, record_bytes=100_000))
    world.send("odd", schema="v9")
    large = [world.record(body(f"r{n}", {"p": "s" * 2000}), offset=50 + n) for n in range(30)]
    world.fetch(large)
    world.live(3.0)
    assert {0} == world.paused
    (assignment,) = world.core._partitions.assignments.values()
    assert 50 == assignment.given_back
    assert [] == world.rereads

    world.decoder.learnt.add("v9")
    world.do(SchemaFound("v9"))
    world.answer()
    world.settle()
    assert [1] == [each.offset for each in world.rereads], "from where the gap begins"


def test_requests_that_wait_behind_undecidable_ones_count_like_these() -> None:
    world = World(policy=Policy(records=100, active_records=40))
    world.assign(1)
    world.send("odd", {"x": "1"}, partition=1, schema="v9")
    world.fetch([world.record(body(f"r{n}", {"x": str(n)}), 1) for n in range(80)])
    world.live(3.0)

    assert {1} == world.paused
    assert 40 <= world.core.fetch_budget.records
    assert 52 > world.status.in_flight_records
