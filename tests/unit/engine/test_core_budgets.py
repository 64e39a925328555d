"""Windows, records and bytes in flight: at a bound partitions are paused, and resumed once there is room."""

from consumer.engine.policy import Policy
from tests.support.builders import fetched_record
from tests.unit.engine.world import World, body, specification


def test_a_full_window_pauses_its_partition_alone_and_resumes_with_hysteresis() -> None:
    world = World(policy=Policy(window=20))
    world.assign(1)
    world.fetch([world.record(body(f"r{n}")) for n in range(20)])
    world.jump(0.1)
    assert {0} == world.paused

    for _ in range(20):
        world.answer() if world.calls else None
        world.settle()
    assert not world.paused
    assert 1 == world.pauses


def test_a_window_that_has_hardly_moved_stays_paused() -> None:
    world = World(specification(products_per_call=1, concurrent_calls=1), policy=Policy(window=20))
    world.fetch([world.record(body(f"r{n}")) for n in range(20)])
    world.jump(0.1)
    for _ in range(4):
        world.answer()
        world.settle()
    assert {0} == world.paused
    world.answer()
    world.settle()
    assert not world.paused


def test_bytes_in_flight_are_bounded_headers_and_keys_included() -> None:
    world = World(policy=Policy(record_bytes=100_000))
    for n in range(20):
        plain = world.record(body(f"r{n}"))
        headers = [*(plain.headers or ()), ("padding", b"x" * 30_000)]
        world.fetch([fetched_record(0, plain.offset, plain.timestamp, plain.key, plain.value, headers)])

    assert 4 >= world.status.in_flight_records
    assert 0 == world.core.fetch_budget.records


def test_the_fetch_budget_counts_what_was_fetched_and_not_taken_in() -> None:
    world = World(policy=Policy(records=10, active_records=10))
    assert 10 == world.core.fetch_budget.records
    world.fetch([world.record(body(f"r{n}")) for n in range(4)])
    assert 6 == world.core.fetch_budget.records
    world.fetch([world.record(body(f"s{n}")) for n in range(20)])
    assert 0 == world.core.fetch_budget.records
    world.wait(2.0)
    assert {0} == world.paused
