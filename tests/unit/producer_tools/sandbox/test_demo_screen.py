"""The summary, on a terminal and in a pipe."""

from io import StringIO

import pytest
from rich.console import Console

from producer_tools.sandbox.demo.cases import CASES, Observation
from producer_tools.sandbox.demo.screen import RIGHT, WRONG, Screen, _fitting_table

SEEN = [(case, Observation(case.expected, case.least_seconds, case.calls.start)) for case in CASES]
UNANSWERED = [(CASES[0], Observation(None, 20.0, answers=0)), *SEEN[1:]]


def test_a_terminal_of_80_columns_shows_every_code_whole() -> None:
    terminal = Console(file=StringIO(), width=80)
    terminal.print(_fitting_table(SEEN, ()))
    assert isinstance(terminal.file, StringIO)
    shown = terminal.file.getvalue()
    assert [] == [case.title for case in CASES if case.expected.outcome.split()[-1] not in shown]
    assert "…" not in shown


def test_a_pipe_gets_one_line_a_case(capsys: pytest.CaptureFixture[str]) -> None:
    Screen().conclude(SEEN, (), 12.3)
    lines = capsys.readouterr().out.splitlines()
    rows = [line for line in lines if line.endswith(RIGHT)]
    assert [case.title for case in CASES] == [row.split("  ")[0] for row in rows]
    assert "18 of 18 answers were right, in 12 s." in lines


def test_what_was_wrong_is_named_and_not_counted(capsys: pytest.CaptureFixture[str]) -> None:
    Screen().conclude(UNANSWERED, [(CASES[0].title, "no answer within 20 s"), ("all in all", "1 stray call")], 30)
    shown = capsys.readouterr().out
    assert [CASES[0].title] == [line.split("  ")[0] for line in shown.splitlines() if line.endswith(f"  {WRONG}")]
    assert f"{WRONG}: {CASES[0].title}: no answer within 20 s" in shown
    assert f"{WRONG}: all in all: 1 stray call" in shown
    assert "17 of 18 answers were right" in shown
