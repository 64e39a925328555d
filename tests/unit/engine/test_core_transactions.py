"""One outcome for each record, in the transaction that moves its partition on; and nobody else's business."""

from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from consumer.domain.calls import Refusal
from consumer.domain.progress import encode_map
from consumer.engine.events import Fetched, Revoking, StopRequested, TransactionResult
from consumer.engine.policy import Policy
from tests.unit.engine.world import SECOND, World, body, specification

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


# -- moving and stopping -------------------------------------------------------------------------------


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
    for _ in range(2):
        world.send("takes a second")
        world.wait(1.0)
        world.answer()
        world.settle()
    world.send("also takes a second")
    world.wait(0.5)
    world.do(Revoking([0], patience=0.25))

    assert [0] == world.drained


def test_a_partition_is_given_up_without_an_answer_that_takes_longer_than_usual() -> None:
    world = World(specification(products_per_call=1, concurrent_calls=2))
    for _ in range(5):
        world.send("takes 50 ms")
        world.wait(0.05)
        world.answer()
        world.settle()
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
    world = World(specification(products_per_call=1, concurrent_calls=1))
    for _ in range(20):
        world.send("takes a second")
        world.wait(1.0)
        world.answer()
        world.settle()
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


# -- bounds --------------------------------------------------------------------------------------------


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
        world.fetch([replace(plain, headers=[*(plain.headers or ()), ("padding", b"x" * 30_000)])])

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
