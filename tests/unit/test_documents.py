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
DOCUMENTS = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*.md")])
}
DESIGN = DOCUMENTS["DESIGN.md"]
SETTINGS_PAGE = DOCUMENTS["docs/operate/settings.md"]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
PROGRAMS: dict[str, Command] = {"mirakl-resync-consumer": consumer_commands, "mirakl-resync": producer_commands}
COMMAND_LINE = re.compile(r"^(?:\.venv/bin/)?(mirakl-resync(?:-consumer)?) ([^#>\n]+)", re.MULTILINE)


def test_the_table_of_settings_is_the_list_of_settings() -> None:
    """The page has the names, defaults and descriptions that the programs have."""
    rows = re.findall(r"^\| `(RESYNC_\w+)` \| (.*?) \| (.*) \|$", SETTINGS_PAGE, re.MULTILINE)

    assert [(each.name, each.default, each.description) for each in SETTINGS] == rows


@pytest.mark.parametrize(
    ("program", "arguments"), [line for text in DOCUMENTS.values() for line in COMMAND_LINE.findall(text)]
)
def test_each_command_line_in_the_documents_can_be_parsed(program: str, arguments: str) -> None:
    """Nobody copies a line that the program refuses."""
    words = shlex.split(arguments)
    command = PROGRAMS[program]
    while isinstance(command, Group) and words:
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


def test_each_make_target_in_the_documents_exists() -> None:
    """The two commands of the README are among them."""
    targets = set(re.findall(r"^(\w+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|^)make (\w+)", "\n".join(DOCUMENTS.values()), re.MULTILINE))

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


@pytest.mark.parametrize("document", DOCUMENTS)
def test_each_link_leads_somewhere(document: str) -> None:
    """Files exist, and so do the headings that a link names."""
    broken = []
    for link in LINK.findall(DOCUMENTS[document]):
        if "://" in link:
            continue
        path, _, heading = link.partition("#")
        target = ROOT / document if not path else ((ROOT / document).parent / path).resolve()
        headings = (
            {_anchor(line) for line in target.read_text().splitlines()} if target.is_file() and heading else set()
        )
        if not target.exists() or (heading and heading not in headings):
            broken.append(link)

    assert broken == []


def _anchor(line: str) -> str:
    """Return the anchor that a Markdown heading gets on a code host."""
    return re.sub(r"[^\w\- ]", "", line.lstrip("# ").lower()).replace(" ", "-") if line.startswith("#") else ""


def test_each_decision_is_listed_and_has_its_three_parts() -> None:
    """A decision that nobody finds, or that gives no reason, is none."""
    records = {name: text for name, text in DOCUMENTS.items() if re.match(r"docs/decisions/\d{4}-", name)}
    listed = LINK.findall(DOCUMENTS["docs/decisions/README.md"])

    assert sorted(listed) == sorted(Path(name).name for name in records)
    for name, text in records.items():
        assert ["Context", "Decision", "Consequences"] == re.findall(r"^## (.+)$", text, re.MULTILINE), name


def test_the_design_stays_short() -> None:
    """It is for one sitting; details belong to the pages of their readers."""
    assert 12_000 >= len(DESIGN.encode())
