"""When a transaction is cut, and what it takes."""

from collections.abc import Callable
from random import Random

import pytest

from consumer.domain.progress import decode_map
from consumer.engine.commands import Commit
from consumer.engine.events import BrokerTrouble, PublishingTrouble, TransactionResult, TransactionTrouble
from consumer.engine.policy import Policy
from consumer.engine.requests import Request
from tests.unit.engine.world import KEY, World, body, specification

ABORTED, UNKNOWN = TransactionResult.ABORTED, TransactionResult.UNKNOWN
NO_RIGHT = TransactionTrouble("no right: grant it")


def outcomes(world: World) -> list[int]:
    """How many outcomes of each partition are in the transaction that is out."""
    return [len(part.outcomes) for part in world.transaction.partitions] if world.transaction else []


def test_after_a_quiet_time_an_outcome_is_committed_at_once() -> None:
    world = World()
    world.send("a")
    world.answer()

    assert [1] == outcomes(world)


@pytest.mark.parametrize(
    ("took", "gathers"), [(0.0, Policy().gather), (0.04, Policy().gather_share * 0.04), (3.0, Policy().gather_most)]
)
def test_after_a_transaction_outcomes_gather_for_part_of_the_time_that_it_took(took: float, gathers: float) -> None:
    """A busy broker gets fewer transactions, an idle one keeps nobody waiting; the core says when the next is due."""
    world = World(specification(products_per_call=1))
    world.fetch([world.record(body(f"r{n}")) for n in range(3)])
    world.answer()
    world.now += took
    world.commit()
    world.send("no", value=b"garbage")
    assert world.transaction is None
    assert pytest.approx(gathers) == (world.core.wake_at(world.at) or 0) - world.now

    world.answer()
    world.jump(gathers)
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
    world = World(policy=Policy(records=20_000, active_records=20_000))
    world.fetch([world.record(body(f"r{n}"), key=None) for n in range(Policy().transaction_most + 500)])
    world.jump(0.1)
    sizes = []
    while world.transaction:
        sizes += outcomes(world)
        world.commit()
        world.jump(0.1)

    assert Policy().transaction_most + 500 == sum(sizes)
    assert Policy().transaction_most >= max(sizes)
    assert Policy().transaction_most + 500 == len(set(world.answered))


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


# -- outcomes that cannot be published -----------------------------------------------------------------


class RefusingBroker:
    """Commits what it does not refuse, as time passes."""

    def __init__(
        self, world: World, refuses: Callable[[Request], bool], trouble: TransactionTrouble = NO_RIGHT
    ) -> None:
        self.world, self.refuses, self.trouble = world, refuses, trouble
        self.attempts: list[float] = []

    def live(self, seconds: float) -> None:
        end = self.world.now + seconds
        while self.world.now < end:
            self.world.wait(0.1)
            if self.world.transaction is not None:
                self._answer(self.world.transaction)

    def _answer(self, commit: Commit) -> None:
        self.attempts.append(self.world.now)
        if any(self.refuses(request) for part in commit.partitions for request in part.outcomes):
            self.world.commit(ABORTED, trouble=self.trouble)
        else:
            self.world.commit()


def is_dead(request: Request) -> bool:
    return not request.request_id


def test_no_call_starts_while_results_cannot_be_published_and_none_is_made_again() -> None:
    world = World(specification(products_per_call=1))
    broker = RefusingBroker(world, lambda _: True)
    world.fetch([world.record(body(f"r{n}")) for n in range(5)])
    while world.calls:
        world.answer()
        broker.live(0.1)
    started = len(world.call_log)
    world.fetch([world.record(body(f"later{n}")) for n in range(5)])
    broker.live(600.0)

    assert started == len(world.call_log)
    assert ("no right: grant it",) == world.status.troubles
    assert 1 == world.status.intake_closed["publishing"]
    assert 0 == world.core.fetch_budget.records
    assert 3 < world.status.publishing_failures["results"]
    assert [] == world.answered
    assert 600 / Policy().attempt_pause_most - 10 < len(broker.attempts) < 600 / Policy().attempt_pause_most + 20

    broker.refuses = lambda _: False
    broker.live(Policy().attempt_pause_most + 1.0)
    while world.calls:
        world.answer()
        broker.live(0.1)
    assert {f"r{n}" for n in range(5)} | {f"later{n}" for n in range(5)} == set(world.answered)
    assert {"SYNCHRONIZED"} == {world.code(name) for name in world.answered}
    assert 10 == len(world.answered) == len(world.call_log)
    assert not world.status.troubles


def test_no_call_starts_while_no_transaction_can_begin() -> None:
    world = World()
    world.do(PublishingTrouble("no coordinator: add brokers"))
    world.send("a")
    world.wait(400.0)
    assert not world.call_log
    assert ("no coordinator: add brokers",) == world.status.troubles

    world.do(PublishingTrouble(None))
    world.answer()
    world.settle()
    assert "SYNCHRONIZED" == world.code("a")


def test_no_call_starts_while_no_broker_answers() -> None:
    """Nothing waits to be published yet, and what a call came to could not be."""
    world = World()
    world.send("a")
    world.fail()
    world.do(BrokerTrouble("no Kafka broker answers: look at the brokers"))
    world.wait(400.0)
    assert 1 == len(world.call_log)

    world.do(BrokerTrouble(None))
    world.answer()
    world.settle()
    assert "SYNCHRONIZED" == world.code("a")


def test_after_a_single_failed_transaction_no_call_starts_before_one_has_committed() -> None:
    world = World()
    world.send("a")
    world.answer()
    world.commit(ABORTED, trouble=NO_RIGHT)
    world.send("b")
    assert 1 == len(world.call_log)
    world.settle()
    assert 2 == len(world.call_log)
    assert 0 == world.status.intake_closed.get("publishing", 0)


def test_after_transactions_of_unknown_end_progress_is_committed_before_any_call_is_made_again() -> None:
    """Nothing is left to publish then, and each reading anew would have all calls made again."""
    world = World()
    world.send("a")
    world.answer()
    world.commit(UNKNOWN)
    world.assign(0)
    world.send("a")
    assert 1 == len(world.call_log)
    world.wait(0.1)
    assert [0] == outcomes(world)
    world.commit(UNKNOWN)
    world.assign(0)
    world.send("a")
    world.wait(0.1)
    assert 1 == len(world.call_log)
    world.commit()
    world.wait(0.1)
    assert 2 == len(world.call_log)


def test_a_dead_letter_that_hung_and_failed_starts_no_call_while_results_have_waited_for_too_long() -> None:
    """That one outlet has failed says nothing of the other, which has not been tried for as long."""
    world = World(specification(products_per_call=1))
    world.send("r0")
    world.send("", value=b"garbage")
    assert [1] == outcomes(world)
    world.answer()
    world.jump(6.0)
    world.send("r1")
    world.commit(ABORTED, trouble=NO_RIGHT)
    assert 1 == len(world.call_log)

    world.settle()
    assert "r0" in world.answered
    assert 2 == len(world.call_log)


def test_a_commit_of_progress_alone_that_hangs_is_noticed_while_dead_letters_wait() -> None:
    world = World()
    world.assign(1)
    world.send("", value=b"garbage")
    while outcomes(world) != [0]:
        if world.transaction is not None:
            world.commit(ABORTED, trouble=NO_RIGHT)
        world.reach(1, 10)
        world.wait(0.1)
    world.fetch([world.record(body("a"), 1, offset=10)])
    world.answer()
    world.wait(5.2)
    world.fetch([world.record(body("b"), 1)])

    assert 1 == len(world.call_log)
    assert 1 == world.status.intake_closed["broker"]


def test_a_refused_dead_letter_topic_keeps_no_result_from_being_published() -> None:
    world = World(specification(products_per_call=1))
    broker = RefusingBroker(world, is_dead)
    for n in range(20):
        world.send(f"r{n}")
        world.send("", value=b"garbage")
        while world.calls:
            world.answer()
        broker.live(2.0)

    assert [f"r{n}" for n in range(20)] == world.answered
    assert ("The dead letters wait. no right: grant it",) == world.status.troubles
    assert world.status.intake_open
    assert 0 == world.status.intake_closed.get("publishing", 0)
    assert 0 == world.status.publishing_failures["results"]

    broker.refuses = lambda _: False
    broker.live(Policy().attempt_pause_most + 2.0)
    assert 20 == len(world.dead)
    assert not world.status.troubles


@pytest.mark.parametrize("poison", [0, 7, 63])
@pytest.mark.parametrize("partitions", [1, 3])
def test_one_record_that_a_broker_refuses_holds_up_no_other(poison: int, partitions: int) -> None:
    world = World()
    for partition in range(1, partitions):
        world.assign(partition)
    refused = (poison % partitions, poison // partitions)
    broker = RefusingBroker(world, lambda request: (request.record.partition, request.record.offset) == refused)
    world.fetch([world.record(b"garbage", n % partitions) for n in range(64)])
    broker.live(120.0)
    assert 63 == len(world.dead)
    assert 1 == world.status.in_flight_records

    world.send("new", value=b"garbage")
    broker.live(3 * Policy().attempt_pause_most)
    assert 64 == len(world.dead)


def test_a_map_that_the_brokers_refuse_is_cut_short_and_the_base_is_committed_all_the_same() -> None:
    world = World(specification(products_per_call=1), policy=Policy(records=20_000, active_records=20_000))
    limit = 200
    world.send("slow")
    random = Random(7)
    world.fetch([world.record(body(f"r{n}"), key=random.choice((KEY, None))) for n in range(4000)])
    for _ in range(300):
        world.wait(0.1)
        commit = world.transaction
        if commit is not None:
            too_large = any(len(part.metadata) > limit for part in commit.partitions)
            trouble = TransactionTrouble("", metadata_too_large=True)
            world.commit(*(ABORTED, None, trouble) if too_large else ())

    done = {request.record.offset for request in world.committed}
    assert 1500 < len(done)
    offset, metadata = world.offsets[0]
    assert 0 == offset
    assert limit / 4 < len(metadata) <= limit
    bits = int.from_bytes(decode_map(0, metadata), "little")
    told = {place for place in range(bits.bit_length()) if bits >> place & 1}
    assert told
    assert told == {place for place in done if place <= max(told)}
    assert 0 < world.status.progress_maps_cut
    assert not world.status.troubles


def test_brokers_that_take_no_map_at_all_get_none() -> None:
    world = World(specification(products_per_call=1))
    world.send("slow")
    world.fetch([world.record(body(f"r{n}"), key=None) for n in range(50)])
    for _ in range(100):
        world.wait(0.1)
        if world.transaction is not None:
            with_map = any(part.metadata for part in world.transaction.partitions)
            world.commit(*(ABORTED, None, TransactionTrouble("", metadata_too_large=True)) if with_map else ())

    assert 50 == len(world.answered)
    assert (0, "") == world.offsets[0]


def test_one_failure_after_a_long_transaction_closes_no_intake_yet() -> None:
    """The brokers have answered: from then on their failures tell, not how long results have waited."""
    world = World()
    world.send("a")
    world.answer()
    world.wait(Policy().broker_patience - 0.2)
    world.commit(ABORTED, trouble=NO_RIGHT)
    world.wait(0.5)

    assert () == world.status.troubles
    assert 0 < world.core.fetch_budget.records
