"""Output of the demo: results as they arrive, and a summary; coloured on a terminal, plain lines in a pipe."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TypeAlias

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from producer_tools.sandbox.demo.cases import Case, Observation

Seen: TypeAlias = tuple[Case, Observation]

RIGHT: Final = "right"
WRONG: Final = "WRONG"

INTRODUCTION: Final = """\
The whole system at work on embedded parts: requests on Kafka become CM21 calls
and one answer each. The embedded broker has no transactions, so the service
runs at-least-once here. On a real Kafka it runs exactly-once: a read_committed
subscriber sees each answer once, also across crashes and restarts.
"""
NEXT: Final = """
Where to go next:
  docker compose up --wait       on a real Kafka and PostgreSQL, with replicas
  README.md                      the guarantees, the settings, operating it
  mirakl-resync send --help      ask for products on a Kafka of your own
  mirakl-resync-consumer --help  the service and its administration\
"""


class Screen:
    """Writes what the demo shows to stdout, from any thread: as a live table on a terminal, as lines elsewhere."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)

    def parts(self, *, broker: str, mirakl: str, folder: str) -> None:
        self.say(f"  Kafka    embedded broker, {broker}")
        self.say(f"  Mirakl   simulated, {mirakl}")
        self.say(f"  stores   SQLite, in {folder}\n")

    def say(self, text: str, style: str = "") -> None:
        self._console.print(Text(text, style))

    def log(self, line: str) -> None:
        """Write a line of somebody else's log, dimmed."""
        self.say(f"  | {line}", "dim")

    @contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """Show the current step; on a terminal, with a spinner."""
        self.say(text)
        if not self._console.is_terminal:
            yield
            return
        with self._console.status(""):
            yield

    def answer(self, title: str, seconds: float, outcome: str, message: str) -> None:
        """Write an answer that has just come, with the seconds that it took."""
        colour = "green" if outcome == "SYNCHRONIZED" else "yellow"
        line = Text.assemble(
            f"{seconds:8.2f} s  ", (f"{title:<16}", "bold"), (outcome, colour), (f"  {message}", "dim")
        )
        self._console.print(line)

    def conclude(self, seen: Sequence[Seen], wrong: Sequence[tuple[str, str]], seconds: float) -> None:
        """Write what each case showed, what was wrong (case or whole, and why), and where to go next."""
        titles = {title for title, _ in wrong}
        self.say("")
        if self._console.is_terminal:
            self._console.print(_fitting_table(seen, titles), soft_wrap=False)
        else:
            self.say(_plain_table([_row(case, observed, _verdict(case, titles)) for case, observed in seen]))
        self.say("")
        for title, complaint in wrong:
            self.say(f"{WRONG}: {title}: {complaint}", "red")
        right = sum(case.title not in titles for case, _ in seen)
        self.say(f"{right} of {len(seen)} answers were right, in {seconds:.0f} s.", "red" if wrong else "green")
        self.say(NEXT)


def _verdict(case: Case, wrong: Collection[str]) -> str:
    return WRONG if case.title in wrong else RIGHT


def _row(case: Case, seen: Observation, verdict: str) -> tuple[str, ...]:
    got = "nothing" if seen.answer is None else seen.answer.outcome
    return case.title, case.shows, case.expected.outcome, got, f"{seen.seconds:.2f} s", str(seen.calls), verdict


def _plain_table(rows: Sequence[tuple[str, ...]]) -> str:
    """One line a case, nothing cut off."""
    lines = [("case", "shows", "expected", "got", "time", "CM21 calls", "answer"), *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def _fitting_table(seen: Sequence[Seen], wrong: Collection[str]) -> Table:
    """The same for a terminal of 80 columns: what was shown above what was expected and, where it differs, got."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("case")
    table.add_column("shows, expected, got", overflow="fold")
    for heading in ("time", "CM21\ncalls", "answer"):
        table.add_column(heading, justify="right")
    for case, observed in seen:
        title, shows, expected, got, seconds, calls, verdict = _row(case, observed, _verdict(case, wrong))
        colour = "green" if verdict == RIGHT else "red"
        answer = expected if got == expected else f"expected {expected}, got {got}"
        table.add_row(
            Text(title, "bold"), Text.assemble(shows, "\n", (answer, colour)), seconds, calls, Text(verdict, colour)
        )
    return table
