"""The tables of docs/operate/guarantees.md: the tests and commands that they name exist."""

import ast
import re
import shlex
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import pytest
from click import Command, Context, Group

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operate" / "guarantees.md").read_text()
COLUMNS = ["failure", "what happens", "what a subscriber sees", "how long", "shown by"]
REFERENCE = re.compile(r"`([^`]+)`")
COMMAND = "python -m "


class Row(NamedTuple):
    """One failure."""

    failure: str
    happens: str
    seen: str
    how_long: str
    shown_by: str

    @property
    def references(self) -> list[str]:
        """Tests and commands."""
        return REFERENCE.findall(self.shown_by)


def rows() -> list[Row]:
    """Return the rows of all tables."""
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in PAGE.splitlines()
        if line.startswith("|") and not line.startswith("|---")
    ]
    return [Row(*each) for each in cells if each != COLUMNS]


ROWS = rows()
REFERENCES = sorted({reference for row in ROWS for reference in row.references})


@cache
def defined_in(path: Path) -> frozenset[str]:
    """Names of the test functions of a file."""
    tree = ast.parse(path.read_text())
    return frozenset(
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    )


def test_there_are_rows() -> None:
    """A section that is written otherwise would otherwise pass unread."""
    assert len(ROWS) > 30
    assert len({row.failure for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.failure)
def test_each_guarantee_says_what_happens_and_names_what_shows_it(row: Row) -> None:
    """No failure is only talked about."""
    assert row.happens
    assert row.seen
    assert row.references
    assert "".join(REFERENCE.sub("", row.shown_by).split()) == "," * (len(row.references) - 1)


@pytest.mark.parametrize("reference", [each for each in REFERENCES if not each.startswith(COMMAND)])
def test_each_test_that_is_named_exists(reference: str) -> None:
    """One that is renamed takes its name here along."""
    path, _, name = reference.partition("::")

    assert name in defined_in(ROOT / path)


@pytest.mark.parametrize("reference", [each for each in REFERENCES if each.startswith(COMMAND)])
def test_each_command_that_is_named_can_be_run(reference: str) -> None:
    """Its program exists, and takes these arguments."""
    module, *words = shlex.split(reference.removeprefix(COMMAND))
    command = import_module(f"{module}.__main__").main
    if not isinstance(command, Command):
        assert not words, "its arguments cannot be looked at from here"
        return
    while isinstance(command, Group) and words and not words[0].startswith("-"):
        found = command.get_command(Context(command), words.pop(0))
        assert found is not None
        command = found

    command.make_context(reference, words)
