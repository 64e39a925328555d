"""A short run of faults on a real broker, for every change: no request lost, none answered twice."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from tests.chaos.audit import who_answered
from tests.chaos.faults import ALL
from tests.chaos.load import Stream
from tests.chaos.recovery import kill
from tests.chaos.run import Report, Run
from tests.chaos.scene import under_load
from tests.chaos.stage import Plan, own_broker, prepared
from tests.chaos.workload import Requests, clients
from tests.support.parts import PartMissing

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

PLAN = Plan(4, clients(4), 2, settings={"RESYNC_CALL_TIMEOUT": "5s"})
SHORT = {
    "kill -9": 1.0,
    "SIGTERM": 1.0,
    "zombie": 12.0,
    "freeze": 2.0,
    "broker killed": 0.0,
    "broker stopped": 0.0,
    "database away": 2.0,
    "Mirakl down": 1.0,
    "Mirakl 503": 2.0,
    "Mirakl resets": 1.0,
    "join and leave": 3.0,
}
"""Kinds, and how many seconds each lasts."""


MARKERS_SKIPPED = "Couldn't find leader endpoint for partitions"
"""Line of the broker's log about markers of a transaction that it does not write."""
ATTEMPTS = 3


@pytest.fixture(autouse=True)
def _kafka(tmp_path: Path) -> None:
    """Skip, or fail in CI, where no broker of one's own can be had."""
    try:
        own_broker(tmp_path).remove()
    except PartMissing as missing:
        if os.environ.get("CI"):
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))


def test_every_request_has_one_outcome_whatever_fails(tmp_path: Path) -> None:
    report = _one_outcome_each(tmp_path, _strike_with_each)
    assert report.account.requests > 1000


def _one_outcome_each(tmp_path: Path, strike: Callable[[Path], Report]) -> Report:
    """Return what a run has shown, once each request had one outcome.

    Apache Kafka 4.3.1 can undo a commit that it has confirmed, if it is killed right after it. It logs that it skips
    the markers of that transaction (``docs/develop/measurements.md``). A run in which it did, and requests were lost or
    answered twice, says nothing about this service, and is repeated.
    """
    attempts = [tmp_path / str(number) for number in range(ATTEMPTS)]
    for folder in attempts:
        folder.mkdir()
        report = strike(folder)
        if not report.violations or folder is attempts[-1] or not _markers_were_skipped(folder):
            assert [] == report.violations, "\n".join(who_answered(folder, report.account.offending))
            return report
    raise AssertionError("there is no attempt")


def _strike_with_each(folder: Path) -> Report:
    """Return what a run with each kind of fault in turn has shown."""
    faults = {fault.kind: fault for fault in ALL}
    once_each = [replace(faults[kind], shortest=seconds, longest=seconds) for kind, seconds in SHORT.items()]
    with prepared(PLAN, folder) as stage:
        return Run(stage, once_each, seed=1, rate=200, console=Console()).execute()


def _markers_were_skipped(folder: Path) -> bool:
    log = folder / "broker.log"
    return log.exists() and MARKERS_SKIPPED in log.read_text(errors="replace")


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_replicas_that_outlived_their_sessions_without_a_broker_go_on(tmp_path: Path, protocol: str) -> None:
    """With the classic protocol they give their partitions up; the broker, which was away, knows nothing of that."""
    [away] = [replace(fault, longest=fault.shortest) for fault in ALL if fault.kind == "broker away"]

    def strike(folder: Path) -> Report:
        with prepared(replace(PLAN, protocol=protocol), folder) as stage:
            report = Run(stage, [away], seed=1, rate=100, console=Console()).execute()
        logs = "".join(replica.service.output() for replica in stage.replicas)
        assert protocol == "consumer" or logs.count("partitions lost") == len(stage.replicas)
        return report

    _one_outcome_each(tmp_path, strike)


def test_a_killed_static_member_goes_on_as_soon_as_it_runs_again(tmp_path: Path) -> None:
    """Not after its session of 10 s, and not after the broker has timed its open transaction out."""
    plan = replace(PLAN, static=True, tail="0:0s")
    with prepared(plan, tmp_path) as stage:
        streams = [Stream(client, 50, range(plan.partitions)) for client in plan.clients]
        with under_load(stage, Requests(stage.api_key, 1, mix=False), streams) as scene:
            fall = kill(scene, stage.replicas[0], restart=True, standstill=True)
            assert scene.drain(60)
            assert [] == scene.outcomes.repeated
    assert fall.ready is not None
    assert fall.seconds < fall.ready + 3
