"""``python -m tests.simulation``: hostile schedules through the engine, each reproducible from its seed."""

import argparse
import sys
import time
from multiprocessing import get_context
from pathlib import Path
from tempfile import mkdtemp

from tests.simulation.planted import BUGS, seeds_until_found
from tests.simulation.replay import ReplayError, replay
from tests.simulation.runs import Finding, recorded, run_seeds, shrink, story

LIST = 25
"""Seeds that one process runs before it reports."""
TOLD = 80
"""Lines of a trace that are printed of their own accord."""


def main() -> int:
    """Return the exit code: 1 if a law was broken."""
    options = _options()
    if options.planted is not None:
        return _planted(options.planted)
    if options.replay is not None:
        return _replay(options.replay)
    if options.seed is not None and options.record is not None:
        return _record(options.seed, options.record)
    if options.seed is not None:
        return _tell(shrink(options.seed) if options.shrink else story(options.seed), options.seed, whole=options.trace)
    return _many(options.start, options.seeds, options.seconds, options.jobs)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many schedules")
    parser.add_argument("--from", dest="start", type=int, default=0, help="the first of them")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="no new schedules after this time")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--seed", type=int, help="this schedule alone, told")
    parser.add_argument("--trace", action="store_true", help="with --seed: the whole of its trace")
    parser.add_argument("--shrink", action="store_true", help="with --seed: with as few records and faults as it takes")
    parser.add_argument("--record", type=Path, metavar="DIR", help="with --seed: keep what each process's core did")
    parser.add_argument(
        "--replay", type=Path, metavar="FILE", help="run a trace through the core again; 1 if it does something else"
    )
    parser.add_argument(
        "--planted",
        nargs="?",
        const="",
        metavar="TEXT",
        help="plant bugs, those with this text in their names, and tell after how many schedules each is found",
    )
    return parser.parse_args()


def _many(start: int, count: int, seconds: float, jobs: int) -> int:
    began = time.monotonic()
    done, bad = 0, 0

    lists = (
        (range(first, min(first + LIST, start + count)), began + seconds) for first in range(start, start + count, LIST)
    )
    with get_context("fork").Pool(jobs) as pool:
        for number, found in pool.imap(_run_list, lists):
            done += number
            for finding in found:
                bad += 1
                print(f"seed {finding.seed}: {finding.text}")
                print(f"    replay: python -m tests.simulation --seed {finding.seed} --trace", flush=True)
                if bad == 1:
                    _tell(story(finding.seed), finding.seed, whole=False)
                    _record(finding.seed, Path(mkdtemp(prefix="simulation-")))
    took = time.monotonic() - began
    print(
        f"{done} schedules from seed {start} on in {took:.0f} s: {done / took:.1f} a second, {bad} of them broke a law"
    )
    return 1 if bad else 0


def _run_list(task: tuple[range, float]) -> tuple[int, list[Finding]]:
    """Run a list of seeds, unless its time is over: the pool takes all lists from the start."""
    seeds, latest = task
    if time.monotonic() > latest:
        return 0, []
    return len(seeds), run_seeds(seeds)


def _tell(finding: Finding | None, seed: int, *, whole: bool) -> int:
    if finding is None:
        print(f"seed {seed}: all laws hold")
        return 0
    told = finding.told if whole else finding.told[-TOLD:]
    if len(told) < len(finding.told):
        print(f"... {len(finding.told) - len(told)} lines before")
    print("\n".join(told))
    print(f"seed {seed}: {finding.text}")
    return 1


def _record(seed: int, directory: Path) -> int:
    """Keep the traces of a seed's processes, and see whether each leads to the same commands again."""
    directory.mkdir(parents=True, exist_ok=True)
    codes = []
    for process, lines in recorded(seed).items():
        file = directory / f"{seed}-{process}.trace"
        file.write_text("".join(lines))
        print(f"    replay: python -m tests.simulation --replay {file}", flush=True)
        codes.append(_replay(file, quiet=True))
    return max(codes, default=0)


def _replay(file: Path, *, quiet: bool = False) -> int:
    events = commands = 0
    with file.open() as lines:
        try:
            for step in replay(lines):
                events, commands = events + 1, commands + len(step.commands)
                if not quiet and step.commands:
                    print(step)
        except ReplayError as difference:
            print(difference)
            return 1
    print(f"{events} events led to the same {commands} commands")
    return 0


def _planted(text: str) -> int:
    missed = 0
    for bug in (each for each in BUGS if text in each.name):
        seeds, finding = seeds_until_found(bug)
        missed += finding is None
        what = finding.text.strip().splitlines()[-1] if finding is not None else "NOT FOUND"
        print(f"{bug.name:56} {seeds:4}  {what[:110]}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
