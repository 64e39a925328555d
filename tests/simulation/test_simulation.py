"""Thousands of hostile schedules through the service's own engine and Kafka threads: no law is ever broken."""

import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from random import SystemRandom

import pytest

from tests.simulation.planted import BUGS, Bug, seeds_until_found
from tests.simulation.runs import Finding, history, run_seeds

FIXED = range(2000)
RANDOM = 200
PIECE = 50
PROCESSES = 2
MOST_SEEDS = 500
"""Of the fixed ones: within these every planted bug has to be found."""


def findings(seeds: range) -> list[Finding]:
    pieces = [seeds[start : start + PIECE] for start in range(0, len(seeds), PIECE)]
    with ProcessPoolExecutor(PROCESSES, get_context("spawn")) as processes:
        return [finding for found in processes.map(run_seeds, pieces) for finding in found]


def told(found: list[Finding]) -> str:
    return "\n".join(
        f"{finding.text}\n    replay: python -m tests.simulation --seed {finding.seed} --trace" for finding in found
    )


@pytest.mark.slow
def test_the_laws_hold_in_the_same_schedules_every_time() -> None:
    found = findings(FIXED)
    assert [] == found, told(found)


def test_the_laws_hold_in_schedules_that_nobody_has_seen_before() -> None:
    start = int(os.environ.get("SIMULATION_SEED", SystemRandom().randrange(10**9)))
    print(f"random schedules: python -m tests.simulation --from {start} --seeds {RANDOM}")
    found = findings(range(start, start + RANDOM))
    assert [] == found, told(found)


def test_a_seed_decides_everything() -> None:
    assert history(7) == history(7)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_is_found(bug: Bug, record_property: Callable[[str, object], None]) -> None:
    seeds, finding = seeds_until_found(bug, MOST_SEEDS)
    record_property("schedules until found", seeds)
    assert finding is not None, f"{bug.name}: not found in {seeds} schedules"
