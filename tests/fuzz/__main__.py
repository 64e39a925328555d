"""``python -m tests.fuzz``: hostile input by the million; a case that breaks a promise can be replayed by its seed."""

import argparse
import resource
import sys
import time
import traceback
from collections import Counter
from multiprocessing import get_context
from random import Random
from typing import Final, TypeAlias

from tests.fuzz import alerts, decisions, targets
from tests.fuzz.cost import cost
from tests.fuzz.engine import RECORDS, engine
from tests.fuzz.resolution import resolution

TARGETS: Final = {
    "body": targets.body,
    "headers": targets.headers,
    "schema": targets.schema,
    "answer": targets.answer,
    "base-url": targets.base_url,
    "progress": targets.progress,
    "registry": targets.registry,
    "engine": engine,
    "resolution": resolution,
    "schema-cost": cost,
    "intake": decisions.intake,
    "lanes": decisions.lanes,
    "batches": decisions.batches,
    "notification": alerts.notification,
    "alert-rules": alerts.rules,
}
SHARES: Final = {
    "body": 0.25,
    "headers": 0.1,
    "schema": 0.05,
    "answer": 0.15,
    "progress": 0.05,
    "base-url": 0.05,
    "registry": 0.0995,
    "schema-cost": 0.0005,
    "engine": 0.09,
    "resolution": 0.01,
    "intake": 0.04,
    "lanes": 0.03,
    "batches": 0.03,
    "notification": 0.045,
    "alert-rules": 0.005,
}
"""Of all cases."""
STEPS: Final = {"engine": RECORDS, "intake": decisions.STEPS, "lanes": decisions.STEPS}
"""Cases that one seed of a target tries, where it is more than one: a record through the engine is a case."""
LIST: Final = 500
"""Cases that one process tries before it reports."""
SLOW_SECONDS: Final = 5.0
"""Of processor time: no seed may take longer."""

Work: TypeAlias = tuple[str, int, int]
"""Target, first seed, how many."""


def main() -> int:
    """Give the exit code: 1 where a promise was broken."""
    options = _options()
    if options.seed is not None:
        TARGETS[options.target](Random(options.seed))
        return 0
    began, bad = time.monotonic(), 0
    cases, seconds = Counter[str](), dict.fromkeys(TARGETS, 0.0)
    work = [each for name in TARGETS for each in _lists(name, options.cases, options.start)]
    with get_context("fork").Pool(options.jobs) as pool:
        for (name, _, seeds), took, findings in pool.imap_unordered(_timed, work):
            cases[name] += seeds * STEPS.get(name, 1)
            seconds[name] += took
            bad += len(findings)
            for finding in findings:
                _say(finding)
    for name in TARGETS:
        _say(f"{name:>12} {cases[name]:>10} cases, {cases[name] / (seconds[name] or 1):>7.0f} a second of processor")
    lasted, memory = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    total = cases.total()
    _say(f"{total} cases in {lasted:.0f} s, {total / lasted:.0f} a second, {bad} findings, {memory} MB")
    return 1 if bad else 0


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - a program with output for people


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000, help="how many")
    parser.add_argument("--from", dest="start", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--target", choices=TARGETS, help="with --seed")
    parser.add_argument("--seed", type=int, help="this case of the target alone")
    return parser.parse_args()


def _lists(name: str, cases: int, start: int) -> list[Work]:
    steps = STEPS.get(name, 1)
    end, size = start + int(SHARES[name] * cases) // steps, max(1, LIST // steps)
    return [(name, first, min(size, end - first)) for first in range(start, end, size)]


def _timed(work: Work) -> tuple[Work, float, list[str]]:
    began = time.process_time()
    findings = try_cases(work)
    return work, time.process_time() - began, findings


def try_cases(work: Work) -> list[str]:
    """Try some seeds of a target; what was found."""
    name, first, count = work
    findings = []
    for seed in range(first, first + count):
        began = time.process_time()
        try:
            TARGETS[name](Random(seed))
        except Exception as problem:  # noqa: BLE001 - whatever it is, it is what is looked for
            where = traceback.extract_tb(problem.__traceback__)[-1]
            findings.append(f"--target {name} --seed {seed}: {problem!r} at {where.filename}:{where.lineno}"[:1000])
        if (took := time.process_time() - began) > SLOW_SECONDS:
            findings.append(f"--target {name} --seed {seed}: took {took:.1f} s")
    return findings


if __name__ == "__main__":
    sys.exit(main())
