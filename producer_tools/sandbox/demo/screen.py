"""What the demo shows: answers as they come, and a summary; in colour on a terminal, plain lines in a pipe."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.text import Text

from producer_tools.cli.presentation import Table, printable
from producer_tools.sandbox.demo.cases import Case, Observation

RIGHT: Final = "right"
WRONG: Final = "WRONG"

INTRODUCTION: Final = """\
The whole system at work on embedded parts: requests on Kafka become CM21 calls and one answer each.
The embedded broker has no transactions, so the service runs at-least-once here. On a real Kafka it runs
exactly-once: a read_committed subscriber sees each answer once, also across crashes and restarts.
"""
NEXT: Final = """
Where to go next:
  docker compose up --wait         the same on a real Kafka and PostgreSQL, with two replicas of the service
  README.md                        the guarantees, the settings, operating it
  mirakl-resync send --help        ask for products on a Kafka of your own
  mirakl-resync-consumer --help    the service and its administration\
"""


class Screen:
    """Writes to stdout, from any thread."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)

    def introduce(self) -> None:
        self.say(INTRODUCTION)

    def parts(self, *, broker: str, mirakl: str, folder: str) -> None:
        """Say where the embedded parts are."""
        self.say(f"  Kafka    embedded broker, {broker}")
        self.say(f"  Mirakl   simulated, {mirakl}")
        self.say(f"  stores   SQLite, in {folder}\n")

    def say(self, text: str, style: str = "") -> None:
        """Write a line."""
        self._console.print(Text(printable_lines(text), style))

    def log(self, line: str) -> None:
        """Write a line of somebody's log."""
        self.say(f"  | {line}", "dim")

    @contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """Say what is under way; on a terminal, show that it goes on."""
        if not self._console.is_terminal:
            self.say(f"{text} ...")
            yield
            return
        with self._console.status(text):
            yield

    def answer(self, title: str, seconds: float, outcome: str, message: str) -> None:
        """Write what has just come."""
        colour = "green" if outcome == "SYNCHRONIZED" else "yellow"
        line = Text.assemble(
            f"{seconds:8.2f} s  ", (f"{title:<16}", "bold"), (outcome, colour), (f"  {printable(message)}", "dim")
        )
        self._console.print(line)

    def conclude(
        self, seen: Sequence[tuple[Case, Observation]], wrong: Sequence[tuple[str, str]], seconds: float
    ) -> None:
        """Write what each case showed, what was wrong, and where to go next."""
        self.say("")
        table = Table("case", "shows", "expected", "got", "time", "CM21 calls", "answer")
        table.write(_row(case, observed, {title for title, _ in wrong}) for case, observed in seen)
        self.say("")
        for title, complaint in wrong:
            self.say(f"{WRONG}: {title}: {complaint}", "red")
        good = len({case.title for case, _ in seen} - {title for title, _ in wrong})
        self.say(f"{good} of {len(seen)} answers were right, in {seconds:.0f} s.", "red" if wrong else "green")
        self.say(NEXT)


def printable_lines(text: str) -> str:
    """Other people's text, line by line fit for a terminal."""
    return "\n".join(map(printable, text.split("\n")))


def _row(case: Case, seen: Observation, wrong: set[str]) -> tuple[str, ...]:
    expected = case.expected.outcome
    got = "nothing" if seen.answer is None else seen.answer.outcome
    return (
        case.title,
        case.shows,
        expected,
        "the same" if got == expected else got,
        f"{seen.seconds:.2f} s",
        str(seen.calls),
        WRONG if case.title in wrong else RIGHT,
    )
