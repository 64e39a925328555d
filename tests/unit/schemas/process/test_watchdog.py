import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from schemas.process.watchdog import EXIT_STUCK, Heartbeat, Watchdog, thread_stacks


class Turns:
    """A watchdog turned by hand, one second a look, over one heartbeat; what it reported and how it left."""

    def __init__(self, limit_seconds: float) -> None:
        self.progress: float | None = 0.0
        self.reports: list[str] = []
        self.exits: list[int] = []
        self._watchdog = Watchdog(
            [Heartbeat("core", lambda: self.progress, limit_seconds)],
            interval=1.0,
            report=self.reports.append,
            exit_process=self.exits.append,
        )

    def look(self, times: int = 1) -> None:
        for _ in range(times):
            self._watchdog.look()


def test_a_heartbeat_that_stands_still_longer_than_its_limit_ends_the_process_with_its_own_code() -> None:
    turns = Turns(limit_seconds=30)
    turns.look(31)
    assert turns.exits == []

    turns.look()

    assert turns.exits == [70]
    assert "core: no progress for 31 s (limit 30 s)" in turns.reports[0]


def test_any_progress_starts_the_account_anew() -> None:
    turns = Turns(limit_seconds=30)
    for second in range(5):
        turns.progress = float(second)
        turns.look(30)

    assert turns.exits == []


def test_nothing_under_way_is_never_too_long() -> None:
    """A producer call that lasts counts from its own start, and idleness between two calls is no silence."""
    turns = Turns(limit_seconds=120)
    turns.progress = 5.0
    turns.look(100)
    turns.progress = None
    turns.look(500)
    turns.progress = 700.0
    turns.look(100)

    assert turns.exits == []


def test_a_jump_of_the_clock_between_two_looks_is_no_breach() -> None:
    """A suspended machine makes no progress, and the watchdog did not look meanwhile either."""
    turns = Turns(limit_seconds=30)
    turns.progress = 1_000.0
    turns.look()
    turns.progress = 1_001.0
    turns.look()
    turns.progress = 90_000.0
    turns.look(30)

    assert turns.exits == []


def test_the_process_leaves_even_when_the_report_cannot_be_made() -> None:
    exits: list[int] = []

    def report(_text: str) -> None:
        raise OSError("stderr is gone")

    watchdog = Watchdog([Heartbeat("core", lambda: 0.0, 1.0)], report=report, exit_process=exits.append)
    watchdog.look()
    watchdog.look()
    with pytest.raises(OSError, match="stderr is gone"):
        watchdog.look()

    assert exits == [EXIT_STUCK]


def test_stacks_name_every_thread_and_show_where_it_stands() -> None:
    release = threading.Event()
    thread = threading.Thread(target=_waits_for_the_release, args=(release,), name="owner")
    thread.start()
    try:
        stacks = thread_stacks()
    finally:
        release.set()
        thread.join()

    assert "Thread owner (" in stacks
    assert "_waits_for_the_release" in stacks
    assert "Thread MainThread (" in stacks


def _waits_for_the_release(release: threading.Event) -> None:
    release.wait(10)


STUCK_PROGRAM = textwrap.dedent("""
    import threading, time
    from schemas.process.watchdog import Heartbeat, Watchdog
    def owner_loop():
        threading.Event().wait()
    threading.Thread(target=owner_loop, name="owner", daemon=True).start()
    Watchdog([Heartbeat("owner loop", lambda: 1.0, {limit})], interval=0.1).start()
    print("watching", flush=True)
    time.sleep(30)
""")


def stuck_program(limit: float) -> "subprocess.Popen[str]":
    program = subprocess.Popen(
        [sys.executable, "-c", STUCK_PROGRAM.format(limit=limit)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert program.stdout is not None
    assert program.stdout.readline() == "watching\n"
    return program


def test_a_stuck_process_leaves_with_the_stacks_on_stderr() -> None:
    with stuck_program(limit=0.3) as program:
        _, stderr = program.communicate(timeout=20)

    assert program.returncode == EXIT_STUCK
    assert "watchdog: owner loop: no progress" in stderr
    assert "in owner_loop" in stderr


def fill(pipe: int) -> None:
    os.set_blocking(pipe, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(pipe, b"x" * 4096)
    os.set_blocking(pipe, True)


def test_a_stuck_process_leaves_although_nobody_reads_its_stderr() -> None:
    """A full pipe makes every write to stderr wait for ever."""
    reader, writer = os.pipe()
    fill(writer)
    hurried = "import schemas.process.watchdog as w; w.PROCESS = type(w.PROCESS)(report_seconds=0.2)\n"
    program_text = hurried + STUCK_PROGRAM.format(limit=0.2)
    try:
        program = subprocess.run(
            [sys.executable, "-c", program_text], stdout=subprocess.DEVNULL, stderr=writer, timeout=20, check=False
        )
    finally:
        os.close(reader)
        os.close(writer)

    assert program.returncode == EXIT_STUCK


def test_a_process_that_was_stopped_and_continued_is_not_stuck() -> None:
    program_text = STUCK_PROGRAM.format(limit=1.5).replace("lambda: 1.0", "lambda: beat[0]").replace(
        'print("watching"',
        "beat = [0.0]\n"
        "def beats():\n"
        "    while True:\n"
        "        time.sleep(0.8); beat[0] += 1\n"
        "threading.Thread(target=beats, daemon=True).start()\n"
        'print("watching"',
    )  # fmt: skip
    with subprocess.Popen([sys.executable, "-c", program_text], stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "watching\n"
        try:
            program.send_signal(signal.SIGSTOP)
            time.sleep(2.5)
            program.send_signal(signal.SIGCONT)
            time.sleep(0.7)
            assert program.poll() is None
        finally:
            program.kill()
