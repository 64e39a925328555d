"""``mirakl-resync demo`` as a process, where nothing but the package is there."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from producer_tools.sandbox.demo.cases import CASES

DEMO = [sys.executable, "-m", "producer_tools", "demo"]
PATIENCE_SECONDS = 180

SABOTAGED = """
import sys
from dataclasses import replace
from producer_tools.sandbox.demo import cases, performance

given, automatic, several = cases.CASES[:3]
wrong = replace(automatic, expected=replace(automatic.expected, products=3))
sys.exit(performance.perform([given, wrong, several]))
"""
BROKEN_SERVICE = """
import sys
from producer_tools.cli import main
from producer_tools.sandbox.demo import stage

settings = stage._service_settings
stage._service_settings = lambda broker: {**settings(broker), "RESYNC_REQUEST_DEADLINE": "never"}
raise SystemExit(main(["demo"]))
"""

pytestmark = pytest.mark.slow


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """No home, no network, settings that lead to somebody's production, and a place for temporary files to count."""
    (tmp_path / "temporary").mkdir()
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path / "nowhere"),
        "TMPDIR": str(tmp_path / "temporary"),
        "HTTP_PROXY": "http://127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9",
        "RESYNC_KAFKA__BOOTSTRAP_SERVERS": "production.invalid:9092",
        "RESYNC_DATABASE_URL": "postgresql+psycopg://production.invalid/resync",
        "RESYNC_API_KEY": "production",
    }


def played(program: list[str], environ: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        program,
        env=environ,
        cwd=environ["TMPDIR"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def left_behind(environ: dict[str, str]) -> list[str]:
    return [path.name for path in Path(environ["TMPDIR"]).iterdir()]


def children(pid: int) -> Iterator[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    if not listed.exists():
        pytest.skip("Linux: /proc tells the children of a process. Run it there")
    yield from map(int, listed.read_text().split())


def test_each_kind_of_request_gets_the_right_answer_and_nothing_is_left(environ: dict[str, str]) -> None:
    demo = played(DEMO, environ)
    assert "" == demo.stderr
    assert 0 == demo.returncode, demo.stdout
    rows = [line for line in demo.stdout.splitlines() if line.endswith("right")]
    assert [case.title for case in CASES] == [row.split("  ")[0] for row in rows]
    assert f"{len(CASES)} of {len(CASES)} answers were right" in demo.stdout
    assert "at-least-once" in demo.stdout
    assert [] == left_behind(environ)


def test_a_wrong_answer_fails_the_demo_and_is_named(environ: dict[str, str]) -> None:
    demo = played([sys.executable, "-c", SABOTAGED], environ)
    assert 1 == demo.returncode, demo.stderr
    assert "WRONG: automatic: 2 instead of 3 products taken in" in demo.stdout
    assert "2 of 3 answers were right" in demo.stdout


def test_a_service_that_ends_is_told_with_its_last_words(environ: dict[str, str]) -> None:
    demo = played([sys.executable, "-c", BROKEN_SERVICE], environ)
    assert 1 == demo.returncode, demo.stdout
    assert "error: The service ended with exit code 2." in demo.stderr
    assert "RESYNC_REQUEST_DEADLINE" in demo.stderr
    assert "Traceback" not in demo.stderr
    assert [] == left_behind(environ)


def test_an_interruption_leaves_neither_process_nor_file(environ: dict[str, str]) -> None:
    demo = subprocess.Popen(
        [*DEMO, "--verbose"], env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert demo.stdout is not None
    assert any("health and metrics" in line for line in demo.stdout)  # the service's own first line
    begun = list(children(demo.pid))
    demo.send_signal(signal.SIGINT)
    demo.communicate(timeout=PATIENCE_SECONDS)
    assert 130 == demo.returncode
    assert [] != begun
    assert [] == [pid for pid in begun if Path(f"/proc/{pid}").exists()]
    assert [] == left_behind(environ)
