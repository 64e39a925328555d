"""The documents say what is so."""

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click import Command, Context, Group, UsageError

from consumer.cli import commands as consumer_commands
from producer_tools.cli import cli as producer_commands
from schemas.settings import SETTINGS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
DESIGN = (ROOT / "DESIGN.md").read_text()
PROGRAMS: dict[str, Command] = {"mirakl-resync-consumer": consumer_commands, "mirakl-resync": producer_commands}
COMMAND_LINE = re.compile(r"^(?:\.venv/bin/)?(mirakl-resync(?:-consumer)?) ([^#>\n]+)", re.MULTILINE)


def test_the_table_of_settings_is_the_list_of_settings() -> None:
    """Names, defaults and descriptions stand in the README as the programs have them."""
    rows = re.findall(r"^\| `(RESYNC_\w+)` \| (.*?) \| (.*) \|$", README, re.MULTILINE)

    assert [(each.name, each.default, each.description) for each in SETTINGS] == rows


@pytest.mark.parametrize(("program", "arguments"), COMMAND_LINE.findall(README))
def test_each_command_line_in_the_readme_can_be_parsed(program: str, arguments: str) -> None:
    """Nobody copies a line that the program refuses."""
    words = shlex.split(arguments)
    command = PROGRAMS[program]
    while isinstance(command, Group):
        found = command.get_command(Context(command), words.pop(0))
        assert found is not None
        command = found

    with suppress_missing_files():
        command.make_context(program, words)


@contextmanager
def suppress_missing_files() -> Iterator[None]:
    """The files that the examples name are the reader's."""
    try:
        yield
    except UsageError as error:
        if "does not exist" not in error.format_message():
            raise


def test_each_make_target_in_the_readme_exists() -> None:
    """And the two commands are among them."""
    targets = set(re.findall(r"^(\w+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|^)make (\w+)", README + DESIGN, re.MULTILINE))

    assert named <= targets
    assert {"demo", "test"} <= named


def test_each_place_in_the_file_map_exists() -> None:
    """The map of DESIGN.md leads somewhere."""
    file_map = DESIGN.split("## File map", 1)[1].split("```")[1]
    folders: list[str] = []
    places = []
    for line in file_map.strip().splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        for name in (word for word in line.split() if word.endswith((".py", "/"))):
            folders[depth:] = [name]
            places.append("".join(folders))

    assert places
    assert [place for place in places if not (ROOT / place).exists()] == []
