"""Thousands of hostile schedules through the service's own engine and Kafka threads: no law is ever broken."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import SystemRandom

import pytest

from tests.simulation.planted import BUGS, Bug, seeds_until_found
from tests.simulation.replay import replay
from tests.simulation.runs import history, recorded

ROOT = Path(__file__).parents[2]
FIXED, AT_ONCE, RANDOM = 2000, 200, 200


def simulate(start: int, seeds: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.simulation", "--from", str(start), "--seeds", str(seeds), "--jobs", "1"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(0, FIXED, AT_ONCE))
def test_the_laws_hold_in_the_same_schedules_every_time(start: int) -> None:
    done = simulate(start, AT_ONCE)
    assert 0 == done.returncode, done.stdout + done.stderr


def test_the_laws_hold_in_schedules_that_nobody_has_seen_before() -> None:
    start = int(os.environ.get("SIMULATION_SEED", SystemRandom().randrange(10**9)))
    print(f"random schedules: python -m tests.simulation --from {start} --seeds {RANDOM}")
    done = simulate(start, RANDOM)
    assert 0 == done.returncode, done.stdout + done.stderr


def test_a_seed_decides_everything() -> None:
    assert history(7) == history(7)


@pytest.mark.parametrize("seed", [7, 41, 203])
def test_what_the_cores_did_can_be_replayed(seed: int) -> None:
    traces = recorded(seed)
    assert traces
    for lines in traces.values():
        assert len(lines) - 1 == len(list(replay(lines)))


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_is_found(bug: Bug, record_property: Callable[[str, object], None]) -> None:
    seeds, finding = seeds_until_found(bug)
    record_property("schedules until found", seeds)
    assert finding is not None, f"{bug.name}: not found in {seeds} schedules"
