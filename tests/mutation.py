"""``python -m tests.mutation``: take guards of the engine and the domain away, one at a time, and run the unit tests.

A guard is the test of an ``if``, which is replaced by ``False``, or an operand of ``and`` or ``or``, which is replaced
by what leaves the others to decide. A guard that no test misses is printed: it wants a test, or to be removed.

Each guard is tried with the tests that come past its line, the quickest first, on a copy of the sources.
"""

import argparse
import ast
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from xml.etree import ElementTree as ET

ROOT = Path(__file__).parents[1]
SOURCES = ("consumer/engine", "consumer/domain")
TESTS = ("tests/unit/engine", "tests/unit/domain")
WITHOUT_COST = ("-m", "not cost")
LONGEST_SECONDS = 300.0
"""A mutant whose tests take longer counts as found: something does not end."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """A guard, and what takes its place."""

    file: str
    line: int
    begin: int
    """Of the guard, in bytes of the file."""
    end: int
    guard: str
    replacement: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}  {' '.join(self.guard.split())[:100]} -> {self.replacement}"


def main() -> int:
    """Return the exit code: 1 if a guard is missed by no test."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--most", type=int, help="how many guards, drawn at random; all by default")
    parser.add_argument("--seed", type=int, default=1, help="of the draw")
    parser.add_argument("--skip", type=int, default=0, help="so many of them, which were tried before")
    parser.add_argument("--only", default="", help="guards whose file and line begin like this")
    options = parser.parse_args()
    guards = [each for each in find_guards(ROOT) if f"{each.file}:{each.line}".startswith(options.only)]
    Random(options.seed).shuffle(guards)
    chosen = guards[options.skip : options.most]
    survived = 0
    with TemporaryDirectory(prefix="mutation-") as folder:
        copy = Path(folder)
        _copy_sources(copy)
        tests = _tests_by_line(copy)
        print(f"{len(chosen)} of {len(guards)} guards", flush=True)
        for mutant in chosen:
            began = time.monotonic()
            killed = _is_killed(copy, mutant, tests.get((mutant.file, mutant.line), ()))
            survived += not killed
            print(f"{'killed' if killed else 'SURVIVED':8} {time.monotonic() - began:4.0f} s  {mutant}", flush=True)
    print(f"{len(chosen) - survived} killed, {survived} survived")
    return 1 if survived else 0


def find_guards(root: Path) -> list[Mutant]:
    """Return all guards of the sources below ``root``."""
    files = sorted(file for source in SOURCES for file in (root / source).rglob("*.py"))
    return [mutant for file in files for mutant in _guards_of(file, str(file.relative_to(root)))]


def _guards_of(file: Path, name: str) -> Iterator[Mutant]:
    text = file.read_bytes()
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    for node, replacement in _replaceable(ast.parse(text)):
        begin = starts[node.lineno - 1] + node.col_offset
        end = starts[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)
        yield Mutant(name, node.lineno, begin, end, text[begin:end].decode(), replacement)


def _replaceable(tree: ast.Module) -> Iterator[tuple[ast.expr, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) != "TYPE_CHECKING":
            yield node.test, "False"
        elif isinstance(node, ast.BoolOp):
            neutral = "True" if isinstance(node.op, ast.And) else "False"
            # a constant is a default, whose like would decide nothing
            yield from ((each, neutral) for each in node.values if not isinstance(each, ast.Constant))


def _copy_sources(copy: Path) -> None:
    ignored = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build")
    shutil.copytree(ROOT, copy, ignore=ignored, dirs_exist_ok=True)


def _tests_by_line(copy: Path) -> Mapping[tuple[str, int], Sequence[str]]:
    """Return the tests that come past each line of the sources, the quickest first."""
    sources = [f"--cov={source}" for source in SOURCES]
    options = "--cov-context=test", "--cov-report=", "--junitxml=tests.xml"
    done = _run_tests(copy, "-x", *WITHOUT_COST, *sources, *options, *TESTS)
    if done.returncode != 0:
        raise SystemExit(f"The unit tests fail as they are. Mend them first.\n{done.stdout[-2000:]}")
    subprocess.run(
        [sys.executable, "-m", "coverage", "json", "--show-contexts", "-q", "-o", "lines.json"], cwd=copy, check=True
    )
    seconds = {}
    for case in ET.parse(copy / "tests.xml").iter("testcase"):  # noqa: S314 - written by pytest just now
        file = case.attrib["classname"].replace(".", "/") + ".py"
        seconds[f"{file}::{case.attrib['name']}"] = float(case.attrib["time"])
    found = {}
    for file, covered in json.loads((copy / "lines.json").read_text())["files"].items():
        for line, contexts in covered["contexts"].items():
            names = {context.split("|")[0] for context in contexts}
            found[file, int(line)] = sorted(names - {""}, key=lambda name: seconds.get(name, 1e9))
    return found


def _is_killed(copy: Path, mutant: Mutant, tests: Sequence[str]) -> bool:
    """Return whether a test fails. A guard that no single test comes past is tried with all of them."""
    file = copy / mutant.file
    text = file.read_bytes()
    file.write_bytes(text[: mutant.begin] + f"({mutant.replacement})".encode() + text[mutant.end :])
    try:
        return _run_tests(copy, "-x", *WITHOUT_COST, *(tests or TESTS), timeout=LONGEST_SECONDS).returncode != 0
    except subprocess.TimeoutExpired:
        return True
    finally:
        file.write_bytes(text)


def _run_tests(copy: Path, *arguments: str, timeout: float | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--no-header", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        command, cwd=copy, env=environment, capture_output=True, text=True, timeout=timeout, check=False
    )


if __name__ == "__main__":
    sys.exit(main())
