"""``python -m tests.fuzz``: hostile input by the million; a case that breaks a promise can be replayed by its seed."""

import argparse
import resource
import sys
import time
import traceback
from multiprocessing import get_context
from random import Random
from typing import Final, TypeAlias

from tests.fuzz import targets
from tests.fuzz.engine import RECORDS, engine

TARGETS: Final = {
    "body": targets.body,
    "headers": targets.headers,
    "schema": targets.schema,
    "answer": targets.answer,
    "base-url": targets.base_url,
    "progress": targets.progress,
    "registry": targets.registry,
    "engine": engine,
}
SHARES: Final = {
    "body": 0.35,
    "headers": 0.1,
    "schema": 0.05,
    "answer": 0.2,
    "progress": 0.05,
    "base-url": 0.05,
    "registry": 0.1,
    "engine": 0.1,
}
"""Of all cases; a record that goes through the engine is one case."""
LIST: Final = 500
"""Cases that one process tries before it reports."""
SLOW_SECONDS: Final = 5.0
"""Of processor time: no case may take longer."""

Work: TypeAlias = tuple[str, int, int]
"""Target, first seed, how many."""


def main() -> int:
    """Give the exit code: 1 where a promise was broken."""
    options = _options()
    if options.seed is not None:
        TARGETS[options.target](Random(options.seed))
        return 0
    began, bad = time.monotonic(), 0
    work = [each for name in TARGETS for each in _lists(name, options.cases, options.start)]
    with get_context("fork").Pool(options.jobs) as pool:
        for findings in pool.imap_unordered(try_cases, work):
            for finding in findings:
                bad += 1
                print(finding, flush=True)  # noqa: T201 - a program with output for people
    took, memory = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    print(f"{options.cases} cases in {took:.0f} s, {options.cases / took:.0f} a second, {bad} findings, {memory} MB")  # noqa: T201
    return 1 if bad else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000, help="how many")
    parser.add_argument("--from", dest="start", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--target", choices=TARGETS, help="with --seed")
    parser.add_argument("--seed", type=int, help="this case of the target alone")
    return parser.parse_args()


def _lists(name: str, cases: int, start: int) -> list[Work]:
    count = int(SHARES[name] * cases) // (RECORDS if name == "engine" else 1)
    size = LIST // RECORDS if name == "engine" else LIST
    return [(name, first, min(size, start + count - first)) for first in range(start, start + count, size)]


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
