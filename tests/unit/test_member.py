"""One process of several: what it tells its parent, and what it takes from it."""

import os
import signal
import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from consumer.domain.quota_plan import Division, QuotaPlan, QuotaReport
from consumer.domain.share import Share
from consumer.engine.status import LaneState, LaneStatus
from consumer.member import POLICY, Parent, RecentWork
from tests.support.parts import wait_until
from tests.support.policies import adjust
from tests.support.statuses import IDLE

PLAN = QuotaPlan(3, {"shop": Division((0,))})


def lane(id_: str, depth: int = 0, calls: int = 0) -> LaneStatus:
    return LaneStatus(id_, "acme", depth=depth, calls_out=calls, calls_allowed=2, state=LaneState.HEALTHY)


class Tied:
    """A process with a parent, of which the test has the other end of the connection."""

    def __init__(self) -> None:
        self.ours, self.its = socket.socketpair()
        self.ours.settimeout(5)
        self.lines = self.ours.makefile("rb")
        self.parent = Parent(self.its, Share(1, 2))

    def follows(self, plan: QuotaPlan | None) -> bool:
        return plan == self.parent.share().plan


@pytest.fixture
def signals(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The signals that the process sends itself."""
    sent: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append(number) if pid == os.getpid() else None)
    return sent


@pytest.fixture
def tied(signals: list[int], monkeypatch: pytest.MonkeyPatch) -> Iterator[Tied]:
    adjust(monkeypatch, "consumer.member", "POLICY", interval=0.01)
    tied = Tied()
    yield tied
    tied.lines.close()
    tied.ours.close()
    wait_until(lambda: bool(signals), timeout=5, what="the process stops with its parent")
    tied.its.close()


def test_a_process_keeps_to_the_newest_plan_of_its_parent(tied: Tied) -> None:
    assert tied.follows(None)
    tied.ours.sendall(QuotaPlan(2, {}).line() + PLAN.line())
    wait_until(lambda: tied.follows(PLAN), timeout=5, what="the newest plan")


def test_a_plan_that_cannot_be_read_changes_nothing(tied: Tied, signals: list[int]) -> None:
    tied.ours.sendall(PLAN.line() + b"[4,{\n")
    tied.ours.sendall(QuotaPlan(5, {}).line())
    wait_until(lambda: tied.follows(QuotaPlan(5, {})), timeout=5, what="the plan after that")

    assert not signals


def test_a_process_stops_when_its_parent_has_ended(tied: Tied, signals: list[int]) -> None:
    tied.lines.close()
    tied.ours.close()
    wait_until(lambda: bool(signals), timeout=5, what="the signal")

    assert [signal.SIGTERM] == signals


def test_it_reports_its_port_first_and_then_its_work_as_the_engine_sees_it(tied: Tied) -> None:
    status = replace(IDLE, quota_plan=3, lanes=(lane("shop", depth=1),))
    tied.parent.report(9_001, lambda: status, lambda: None)

    assert b"9001\n" == tied.lines.readline()
    first = QuotaReport(3, frozenset({"shop"}), frozenset(), settled=False)
    assert first == QuotaReport.read(tied.lines.readline())
    status = replace(IDLE, quota_plan=4, lanes=())
    wait_until(lambda: QuotaReport.read(tied.lines.readline()).plan == 4, timeout=5, what="a report of the newer plan")


def test_the_engine_takes_a_newer_plan_over_at_once(tied: Tied) -> None:
    renewed: list[Share] = []
    tied.parent.report(9_001, lambda: IDLE, lambda: renewed.append(tied.parent.share()))
    tied.lines.readline()
    tied.ours.sendall(PLAN.line())

    wait_until(lambda: bool(renewed), timeout=5, what="the engine is told")
    assert [Share(1, 2, PLAN)] == renewed


def test_requests_that_wait_count_for_a_while_and_calls_in_flight_do_not() -> None:
    work, began = RecentWork(), IDLE.taken_at
    busy = (lane("queued", depth=1), lane("called", calls=1), lane("idle"))

    assert {"queued"} == work.report(replace(IDLE, lanes=busy)).working
    done = replace(IDLE, lanes=(lane("queued"), lane("called"), lane("idle", depth=1)))
    assert {"queued", "idle"} == work.report(replace(done, taken_at=began + POLICY.remembered)).working
    assert {"idle"} == work.report(replace(done, taken_at=began + POLICY.remembered + 0.1)).working


def test_a_process_has_settled_a_while_after_the_last_change_of_its_partitions() -> None:
    work, began = RecentWork(), IDLE.taken_at

    def settled(seconds: float, *partitions: int, joined: bool = True) -> bool:
        used = dict.fromkeys(partitions, 0.0)
        status = replace(IDLE, taken_at=began + seconds, joined=joined, window_used=used)
        return work.report(status).settled

    assert not settled(0.0, joined=False)
    assert not settled(60.0, joined=False)
    assert not settled(61.0)
    assert not settled(61.5, 0, 1)
    assert not settled(62.25, 0, 1)
    assert settled(62.5, 0, 1)
    assert not settled(63.0, 0)
    assert settled(64.0, 0)


def test_calls_beyond_the_part_are_reported_until_they_have_ended() -> None:
    status = replace(IDLE, lanes=(lane("full", calls=2), lane("beyond", calls=3)))

    assert {"beyond"} == RecentWork().report(status).exceeding
