"""The quotas of a replica follow the work of its processes, and are never exceeded on the way."""

from collections import deque
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from consumer.domain.quota_division import QuotaDivision
from consumer.domain.quota_plan import Division, QuotaPlan, QuotaReport
from consumer.domain.share import Share
from tests.unit.engine.world import directory, specification

SHOP, OTHER = "shop", "other"
LIMITS = {SHOP: 8, OTHER: 3}
"""Concurrent calls of two client specifications."""


def report(plan: int, *working: str, exceeding: str = "", settled: bool = True) -> QuotaReport:
    return QuotaReport(plan, frozenset(working), frozenset({exceeding} - {""}), settled)


def running(processes: int) -> QuotaDivision:
    division = QuotaDivision(processes)
    for process in range(processes):
        assert QuotaPlan(1, {}) == division.started(process)
        assert QuotaPlan(1, {}) == division.reported(process, report(1))
    return division


def test_a_change_of_users_is_complete_once_all_former_users_keep_to_it() -> None:
    division = running(2)

    begun = division.reported(0, report(1, SHOP))
    assert QuotaPlan(2, {SHOP: Division((0, 1), following=(0,))}) == begun
    assert begun is division.reported(1, report(2))
    assert QuotaPlan(3, {SHOP: Division((0,))}) == division.reported(0, report(2, SHOP))


def test_a_change_with_another_goal_is_agreed_to_anew() -> None:
    division = running(3)
    division.reported(0, report(1, SHOP))
    division.reported(0, report(2, SHOP))
    division.reported(1, report(2, SHOP))
    division.reported(2, report(2))
    former = division.plan.number

    assert Division((0, 1, 2), following=(0, 1)) == division.plan.divisions[SHOP]
    for process in range(2):
        division.reported(process, report(former, SHOP))
        assert former == division.plan.number
    assert QuotaPlan(former + 1, {SHOP: Division((0, 1))}) == division.reported(2, report(former))


def test_calls_in_flight_beyond_a_part_hold_up_the_others() -> None:
    division = running(2)
    division.reported(0, report(1, SHOP))
    division.reported(0, report(2, SHOP))

    assert 2 == division.reported(1, report(2, exceeding=SHOP)).number
    assert 3 == division.reported(1, report(2)).number


def test_a_process_that_does_not_answer_holds_up_only_what_it_would_lose() -> None:
    division = running(3)
    division.reported(0, report(1, SHOP))
    for process in range(3):
        division.reported(process, report(2, *[SHOP] * (process == 0)))
    assert Division((0,)) == division.plan.divisions[SHOP]

    for number in range(3, 6):  # process 2 is silent from now on
        division.reported(0, report(number, SHOP, OTHER))
        division.reported(1, report(number, SHOP))
    assert Division((0, 1)) == division.plan.divisions[SHOP]
    assert Division((0, 1, 2), following=(0,)) == division.plan.divisions[OTHER]


def test_a_process_that_ends_leaves_its_part_to_the_others() -> None:
    division = running(2)
    division.reported(1, report(1, SHOP))
    division.reported(0, report(1, SHOP))
    division.ended(1)
    division.reported(0, report(division.plan.number, SHOP))

    assert {SHOP: Division((0,))} == division.plan.divisions


def test_a_process_that_starts_again_begins_with_the_newest_plan() -> None:
    division = running(2)
    division.reported(0, report(1, SHOP))
    division.ended(1)
    newest = division.reported(0, report(2, SHOP))

    assert QuotaPlan(3, {SHOP: Division((0,))}) == newest
    begun = division.started(1)
    assert QuotaPlan(4, {SHOP: Division((0,), following=(0, 1))}) == begun
    assert begun is division.reported(1, report(0, settled=False))
    assert QuotaPlan(5, {}) == division.reported(0, report(4, SHOP))


def test_a_process_that_may_get_work_keeps_its_part_until_it_has_settled() -> None:
    division = running(2)
    division.reported(1, report(1, settled=False))
    assert QuotaPlan(1, {}) == division.reported(0, report(1, SHOP))

    assert {SHOP: Division((0, 1), following=(0,))} == division.reported(1, report(1)).divisions


def test_while_no_requests_wait_the_users_stay() -> None:
    division = running(2)
    for number in (1, 2):
        division.reported(1, report(number))
        division.reported(0, report(number, SHOP))
    assert QuotaPlan(3, {SHOP: Division((0,))}) == division.plan

    assert QuotaPlan(3, {SHOP: Division((0,))}) == division.reported(0, report(3))


def test_a_change_is_completed_although_every_process_has_ended_and_started_meanwhile() -> None:
    division = running(2)
    division.reported(0, report(1, SHOP))
    for process in range(2):
        division.ended(process)
    for process in range(2):
        division.started(process)
    for process in (0, 1, 0, 1):
        division.reported(process, report(division.plan.number, settled=False))

    assert all(each.following is None for each in division.plan.divisions.values())


def test_a_change_that_is_no_longer_wanted_is_undone_at_once() -> None:
    division = running(2)
    division.reported(0, report(1, SHOP))
    division.reported(1, report(1, SHOP))

    assert QuotaPlan(3, {}) == division.plan


@dataclass
class Process:
    """A process that takes its time with everything: its connection, its plans, its calls."""

    number: int
    processes: int
    plans: deque[QuotaPlan]
    """On their way to it."""
    sent: QuotaPlan
    """The newest of these."""
    reports: deque[QuotaReport] = field(default_factory=deque)
    """On their way from it."""
    share: Share = field(init=False)
    settled: bool = False
    working: set[str] = field(default_factory=set)
    calls: dict[str, int] = field(default_factory=lambda: dict.fromkeys(LIMITS, 0))

    def __post_init__(self) -> None:
        self.share = Share(self.number, self.processes)

    def part(self, id_: str) -> int:
        whole = directory(specification(id_, concurrent_calls=LIMITS[id_]))
        return self.share.of_directory(whole).specifications[id_].quota.concurrent_calls

    def report(self) -> None:
        plan = self.share.plan
        exceeding = frozenset(id_ for id_, calls in self.calls.items() if calls > self.part(id_))
        self.reports.append(QuotaReport(plan.number if plan else 0, frozenset(self.working), exceeding, self.settled))


NUMBERS = st.integers(0, 2)
WORK = st.sets(st.sampled_from(sorted(LIMITS)))


class Replica(RuleBasedStateMachine):
    """Processes that start, work, report and end whenever they like, and the parent that divides their quotas."""

    @initialize(processes=st.integers(2, 3))
    def begin(self, processes: int) -> None:
        self.count = processes
        self.division = QuotaDivision(processes)
        self.running: dict[int, Process] = {}
        for number in range(processes):
            self.start(number)

    def chosen(self, number: int) -> Process | None:
        return self.running.get(number % self.count)

    @rule(number=NUMBERS)
    def start(self, number: int) -> None:
        number %= self.count
        if number not in self.running:
            plan = self.division.started(number)
            self.running[number] = Process(number, self.count, deque([plan]), plan)

    @rule(number=NUMBERS, ids=WORK)
    def work(self, number: int, ids: set[str]) -> None:
        if process := self.chosen(number):
            process.working = ids

    @rule(number=NUMBERS, settled=st.booleans())
    def settle(self, number: int, *, settled: bool) -> None:
        if process := self.chosen(number):
            process.settled = settled

    @rule(number=NUMBERS)
    def call(self, number: int) -> None:
        """Start as many calls as it may."""
        if process := self.chosen(number):
            process.calls = {id_: max(calls, process.part(id_)) for id_, calls in process.calls.items()}

    @rule(number=NUMBERS, ids=WORK)
    def end_calls(self, number: int, ids: set[str]) -> None:
        if process := self.chosen(number):
            process.calls |= dict.fromkeys(ids, 0)

    @rule(number=NUMBERS)
    def report(self, number: int) -> None:
        if process := self.chosen(number):
            process.report()

    @rule(number=NUMBERS)
    def hear(self, number: int) -> None:
        """The parent reads a report, and answers."""
        process = self.chosen(number)
        if process and process.reports:
            plan = self.division.reported(process.number, process.reports.popleft())
            if plan is not process.sent:
                process.sent = plan
                process.plans.append(plan)

    @rule(number=NUMBERS)
    def apply(self, number: int) -> None:
        process = self.chosen(number)
        if process and process.plans:
            process.share = Share(process.number, self.count, process.plans.popleft())

    @rule(number=NUMBERS)
    def turn(self, number: int) -> None:
        """All of it at once, as it mostly happens."""
        self.call(number)
        self.report(number)
        self.hear(number)
        self.apply(number)

    @precondition(lambda self: len(self.running) > 1)
    @rule(number=NUMBERS)
    def end(self, number: int) -> None:
        number %= self.count
        if self.running.pop(number, None):
            self.division.ended(number)

    @invariant()
    def no_quota_is_exceeded(self) -> None:
        for id_, limit in LIMITS.items():
            reached = sum(max(each.calls[id_], each.part(id_)) for each in self.running.values())
            assert reached <= max(limit, self.count), f"{reached} calls for {id_}, of {limit}"

    def teardown(self) -> None:
        """Once the work is steady, its processes get everything."""
        if not hasattr(self, "running"):
            return
        for _ in range(8):
            for number, process in self.running.items():
                process.settled = True
                process.calls = {id_: min(calls, process.part(id_)) for id_, calls in process.calls.items()}
                while process.reports:
                    self.hear(number)
                while process.plans:
                    self.apply(number)
                self.turn(number)
                self.no_quota_is_exceeded()
        for id_, limit in LIMITS.items():
            users = [each for each in self.running.values() if id_ in each.working]
            if users and limit >= self.count:
                assert limit - (self.count - len(users)) == sum(each.part(id_) for each in users)


Replica.TestCase.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)
TestReplica = Replica.TestCase
