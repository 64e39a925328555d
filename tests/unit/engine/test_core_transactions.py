"""One outcome for each record, in the transaction that moves its partition on; and nobody else's business."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from consumer.domain.progress import encode_map
from consumer.engine.commands import ReportIgnoredMap
from consumer.engine.events import Fetched, TransactionResult
from consumer.engine.policy import Policy
from tests.unit.engine.world import World, body, specification

ABORTED, UNKNOWN = TransactionResult.ABORTED, TransactionResult.UNKNOWN
PARTITIONS = st.integers(0, 1)


def test_outcome_offset_and_map_go_together() -> None:
    world = World(specification(products_per_call=1))
    world.fetch([world.record(body(f"r{n}")) for n in range(2)])
    first, second = world.calls.values()
    world.answer(second)
    world.commit()
    assert ["r1"] == world.answered
    assert 0 == world.offsets[0][0]
    assert encode_map(0, b"\x02") == world.offsets[0][1]

    world.answer(first)
    world.settle()
    assert (2, "") == world.offsets[0]


def test_records_that_the_map_calls_done_are_skipped() -> None:
    world = World()
    world.assign(0, 10, encode_map(10, b"\x05"))
    world.fetch([world.record(body(f"r{n}")) for n in range(4)])
    world.answer()
    world.settle()

    assert ["r1", "r3"] == world.answered
    assert (14, "") == world.offsets[0]


def test_a_map_of_somebody_else_is_ignored_and_counted() -> None:
    world = World()
    world.assign(0, 10, "somebody else's words")
    world.send("r")
    world.answer()
    world.settle()

    assert ["r"] == world.answered
    assert 1 == world.status.progress_maps_ignored
    assert [ReportIgnoredMap(0, 10, "not base85")] == world.ignored_maps


def test_a_partition_that_begins_is_resumed() -> None:
    world = World()
    world.assign(1)
    assert not world.paused
    world.end(1)
    world.assign(1)
    assert not world.paused


@pytest.mark.parametrize("result", list(TransactionResult))
def test_a_transaction_of_an_older_assignment_changes_nothing_of_the_newer_one(result: TransactionResult) -> None:
    world = World()
    world.send("older")
    world.answer()
    world.end(0)
    world.assign(0)
    world.send("newer")
    world.commit(result, kept=frozenset({0}))
    assert 1 == world.status.in_flight_records
    assert not world.reloads
    world.answer()
    world.settle()
    assert "newer" == world.answered[-1]
    assert (1, "") == world.offsets[0]
    assert world.answered.count("older") <= 1


def test_outcomes_of_an_aborted_transaction_come_again_and_are_counted_once() -> None:
    world = World()
    world.fetch([world.record(body(f"r{n}")) for n in range(3)])
    world.answer()
    for _ in range(3):
        world.commit(ABORTED)
        world.wait(0.2)
    world.settle()

    assert ["r0", "r1", "r2"] == world.answered
    assert {("SYNCHRONIZED", ""): 3} == world.status.answered
    assert 3 == world.status.aborts
    assert 1 == world.status.commits
    assert 0 == world.status.in_flight_records


def test_what_finishes_during_a_transaction_goes_into_the_next() -> None:
    world = World()
    world.send("a")
    world.answer()
    world.send("b")
    world.answer()
    assert ["a"] == [request.request_id for request in (world.transaction or world.commit()).partitions[0].outcomes]
    world.settle()

    assert ["a", "b"] == world.answered


def test_after_a_transaction_of_unknown_outcome_the_partitions_are_read_anew() -> None:
    """Neither repeated nor counted here: only the broker's committed offsets can tell."""
    world = World()
    world.assign(1)
    world.send("a", partition=0)
    world.answer()
    world.send("b", partition=1)
    world.commit(UNKNOWN)
    assert [0] == list(world.reloads)
    world.settle()
    assert [] == world.answered

    world.assign(0, 1)
    world.answer()
    world.settle()
    assert ["b"] == world.answered
    assert {("SYNCHRONIZED", ""): 1} == world.status.answered


def test_what_finishes_after_its_assignment_ended_is_thrown_away() -> None:
    world = World()
    world.send("old")
    world.end(0)
    world.assign(0)
    world.answer()
    world.wait(1.0)
    assert world.transaction is None

    world.send("old")
    world.answer()
    world.settle()
    assert ["old"] == world.answered


def test_an_answered_request_of_an_ended_assignment_is_thrown_away_and_counted() -> None:
    world = World()
    world.send("first")
    world.answer()
    world.send("second")
    world.answer()
    world.end(0)
    world.commit(ABORTED, frozenset())
    world.wait(1.0)

    assert world.transaction is None
    assert 2 == world.status.discarded
    assert 0 == world.status.in_flight_records


def test_records_of_an_earlier_assignment_that_come_late_are_not_taken_in() -> None:
    world = World()
    record = world.record(body("late"))
    stale = world.read_on(0, 1)
    world.assign(0)
    world.do(Fetched({0: stale}, [record]))

    assert not world.calls
    assert 0 == world.status.in_flight_records


def test_a_partition_that_is_no_longer_ours_is_left_out_and_the_others_are_not() -> None:
    world = World()
    world.assign(1)
    world.fetch([world.record(body("a"), 0), world.record(body("b"), 1)])
    world.answer()
    world.commit(kept=frozenset({1}))

    assert ["b"] == world.answered
    assert {("SYNCHRONIZED", ""): 1} == world.status.answered
    world.end(0)
    world.settle()
    assert ["b"] == world.answered


def test_an_idle_log_that_moved_on_is_committed_up_to_its_end() -> None:
    """Transaction markers must not leave a lag of one for ever."""
    world = World()
    world.send("a")
    world.answer()
    world.settle()
    world.reach(0, 2)
    world.settle()

    assert (2, "") == world.offsets[0]
    world.wait(1.0)
    assert world.transaction is None


def test_the_logs_end_is_not_committed_while_something_before_it_is_unfinished() -> None:
    world = World()
    world.send("a")
    world.reach(0, 5)
    world.wait(1.0)

    assert world.transaction is None


class Deliveries(RuleBasedStateMachine):
    """Calls come back in any order or fail; transactions commit, abort or are lost; partitions move and come back."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(specification(products_per_call=3), policy=Policy(window=16, records=30))
        self.world.assign(1)
        self.log: dict[int, list[bytes]] = {0: [], 1: []}

    @rule(partition=PARTITIONS, count=st.integers(1, 6))
    def send(self, partition: int, count: int) -> None:
        log = self.log[partition]
        values = [body(f"{partition}/{len(log) + n}") for n in range(count)]
        log += values
        self.world.fetch([self.world.record(value, partition) for value in values])

    @precondition(lambda self: self.world.calls)
    @rule(which=st.integers(0, 10))
    def answer(self, which: int) -> None:
        calls = list(self.world.calls.values())
        self.world.answer(calls[which % len(calls)])

    @precondition(lambda self: self.world.calls)
    @rule(reached=st.booleans())
    def fail(self, *, reached: bool) -> None:
        self.world.fail(reached=reached)

    @rule()
    def wait(self) -> None:
        self.world.wait(0.5)

    @precondition(lambda self: self.world.transaction)
    @rule()
    def commit(self) -> None:
        self.world.commit()

    @precondition(lambda self: self.world.transaction)
    @rule()
    def abort(self) -> None:
        self.world.commit(ABORTED)

    @precondition(lambda self: self.world.transaction)
    @rule(committed=st.booleans())
    def lose_the_producer(self, *, committed: bool) -> None:
        """Nobody tells us whether the transaction committed, but the broker knows."""
        commit, world = self.world.transaction, self.world
        for part in commit.partitions if commit is not None and committed else ():
            if part.epoch == world.epochs.get(part.partition):
                world.committed += part.outcomes
                world.offsets[part.partition] = (part.offset, part.metadata)
        world.commit(UNKNOWN)
        reloads, world.reloads = world.reloads, {}
        for partition in reloads:
            self.read_again(partition)

    @rule(partition=PARTITIONS)
    def lose_the_partition(self, partition: int) -> None:
        self.world.end(partition)
        self.read_again(partition)

    def read_again(self, partition: int) -> None:
        """The partition is ours again, from what was committed on."""
        offset, metadata = self.world.offsets.get(partition, (0, ""))
        self.world.assign(partition, offset, metadata)
        self.world.fetch([self.world.record(value, partition) for value in self.log[partition][offset:]])

    @invariant()
    def nothing_is_answered_twice(self) -> None:
        assert len(set(self.world.answered)) == len(self.world.answered)

    def teardown(self) -> None:
        """Once the world is well again, everything is answered, and nothing is kept."""
        world, expected = self.world, sum(map(len, self.log.values()))
        for _ in range(200):
            if world.transaction is not None:
                world.commit()
            elif world.calls:
                world.answer()
            elif len(world.answered) < expected:
                world.wait(0.5)
        assert {f"{partition}/{n}" for partition, values in self.log.items() for n in range(len(values))} == set(
            world.answered
        )
        assert all(world.offsets.get(partition, (0,))[0] == len(values) for partition, values in self.log.items())
        assert 0 == world.status.in_flight_records
        assert 0 == world.status.in_flight_bytes


TestDeliveries = Deliveries.TestCase
TestDeliveries.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
