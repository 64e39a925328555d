"""Data on stdout: tables for people, JSON for scripts. Messages and progress on stderr.

Text from elsewhere is shown so that it cannot steer the terminal (`schemas.console.text`).
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, TextIO, TypeAlias, TypeVar

import click

from schemas.console.streams import write_message
from schemas.console.text import json_text, printable

if TYPE_CHECKING:
    from rich.console import Console

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
JsonObject: TypeAlias = Mapping[str, Any]
Cell: TypeAlias = object
"""A string, number, boolean or time; ``None`` and "" show as "-"."""

_STYLES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("OK", "SYNCHRONIZED"), "green"),
    **dict.fromkeys(("WARN", "PARTIALLY_SYNCHRONIZED", "no result"), "yellow"),
    **dict.fromkeys(("FAIL", "FAILED"), "bold red"),
}
_UNBROKEN: Final = frozenset({"id", "request", "status", "at"})
"""Columns whose cells are copied, and therefore not broken over two lines."""
UNBROKEN_UP_TO: Final = 36
"""Characters: a UUID."""
_NARROWEST_TEXT: Final = 32
"""Characters: if less is left for a long last column, its cells are written below their rows."""
_NARROWEST_COLUMN: Final = 12
"""Characters for each column: if less is left, each cell gets a line of its own."""


class Output(StrEnum):
    """Format of the data on stdout. Progress and messages go to stderr in every format."""

    TABLE = "table"
    JSON = "json"
    """One array."""
    JSONL = "jsonl"
    """One object a line, as it comes."""
    IDS = "ids"
    """One request id a line."""


def output_option(*forms: Output) -> Callable[[Decorated], Decorated]:
    """Declare ``--output`` with these forms, of which the first is the default."""
    return click.option(
        "--output",
        "-o",
        type=click.Choice([form.value for form in forms]),
        default=forms[0].value,
        show_default=True,
        help="A table for people, or data for scripts.",
    )


def say(message: str) -> None:
    """Write a message for people to stderr, with control characters escaped: it may repeat somebody else's text."""
    write_message(printable(message, keep="\n"))


def write_json(value: object) -> None:
    """Write one value as indented JSON to stdout, with characters outside ASCII as they are."""
    click.echo(_dumps(value, indent=2))


def show(rows: Sequence[JsonObject], output: Output, *, columns: Mapping[str, str], empty: str = "") -> None:
    """Write rows to stdout: as JSON with all of their fields, or as a table of ``columns`` (field -> heading).

    If there are no rows for a table, ``empty`` is written to stderr.
    """
    if output is not Output.TABLE:
        write_json([{name: _plain(value) for name, value in row.items()} for row in rows])
    elif rows:
        Table(*columns.values()).write([row[field] for field in columns] for row in rows)
    else:
        say(empty)


def _plain(value: object) -> object:
    match value:
        case None | bool() | int() | str():
            return value
        case datetime():
            return value.isoformat()
        case _:  # a row that was written by hand may contain anything
            return str(value)


class Table:
    """Rows under a header. On a terminal it fits the width; elsewhere each row is one line and nothing is cut."""

    def __init__(self, *columns: str, stream: TextIO | None = None) -> None:
        self._columns = columns
        self._stream = stream or sys.stdout
        self._header_due = True
        self._widths = [len(column) for column in columns]

    def write(self, rows: Iterable[Sequence[Cell]]) -> None:
        """Write rows as soon as they are there; the header goes before the first, and widths only grow."""
        cells = [[_text(cell) for cell in row] for row in rows]
        if not cells:
            return
        self._widths = [
            max(width, *map(len, column)) for width, column in zip(self._widths, zip(*cells, strict=True), strict=True)
        ]
        if self._stream.isatty():
            self._write_fitting(cells)
        else:
            self._write_whole(cells)
        self._header_due = False

    def _write_whole(self, rows: list[list[str]]) -> None:
        for line in [self._columns, *rows] if self._header_due else rows:
            padded = (cell.ljust(width) for cell, width in zip(line, self._widths, strict=True))
            click.echo("  ".join(padded).rstrip(), file=self._stream)

    def _write_fitting(self, rows: list[list[str]]) -> None:
        from rich import console, table, text  # noqa: PLC0415 - for terminals only

        terminal = console.Console(file=self._stream, highlight=False)
        others = sum(2 + width for width in self._widths[:-1])
        left = terminal.width - others
        if left < self._widths[-1]:
            if terminal.width < len(self._columns) * (2 + _NARROWEST_COLUMN):
                self._write_cells(rows)
                return
            if 0 <= left < _NARROWEST_TEXT:
                self._write_two_lines(terminal, rows)
                return
        fitting = table.Table(box=None, padding=(0, 2, 0, 0), show_header=self._header_due, header_style="bold")
        for column, width in zip(self._columns, self._widths, strict=True):
            unbroken = column in _UNBROKEN and width <= UNBROKEN_UP_TO
            fitting.add_column(column, overflow="fold", no_wrap=unbroken, min_width=width if unbroken else None)
        for row in rows:
            fitting.add_row(*(text.Text(cell, style=_STYLES.get(cell, "")) for cell in row))
        terminal.print(fitting)

    def _write_two_lines(self, terminal: "Console", rows: list[list[str]]) -> None:
        """Write the last cell of each row below the others."""
        from rich import padding, text  # noqa: PLC0415 - for terminals only

        for line in [self._columns, *rows] if self._header_due else rows:
            bold = "bold" if line is self._columns else ""
            cells = [
                text.Text(f"{cell:<{width}}", bold or _STYLES.get(cell, ""))
                for cell, width in zip(line[:-1], self._widths[:-1], strict=True)
            ]
            terminal.print(text.Text("  ").join(cells))
            terminal.print(padding.Padding(text.Text(line[-1], bold, overflow="fold"), (0, 0, 0, 2)))

    def _write_cells(self, rows: list[list[str]]) -> None:
        """Write one line for each cell, and an empty line between rows."""
        width = max(map(len, self._columns))
        for number, row in enumerate(rows):
            if number or not self._header_due:
                click.echo(file=self._stream)
            for name, cell in zip(self._columns, row, strict=True):
                click.echo(f"{name:<{width}}  {cell}", file=self._stream)


def _text(cell: Cell) -> str:
    match cell:
        case None | "":
            return "-"
        case bool():
            return "yes" if cell else "no"
        case datetime():
            return f"{cell:%Y-%m-%d %H:%M:%S} UTC"
        case _:
            return printable(str(cell))


class Stream:
    """Items to stdout as they come: ``json`` one array, ``jsonl`` and ``ids`` a line each.

    A table is written at the end, since its widths depend on all rows, or with ``flush_rows`` row by row.
    """

    def __init__(
        self, output: Output, table: Table, row: Callable[[JsonObject], Sequence[Cell]], *, flush_rows: bool = False
    ) -> None:
        self._output = output
        self._table = table
        self._row = row
        self._flush_rows = flush_rows
        self._rows: list[Sequence[Cell]] = []
        self._items = 0

    def add(self, item: JsonObject) -> None:
        """Write one item at once, or keep it for the table, whose columns need to know all widths."""
        match self._output:
            case Output.TABLE:
                self._rows.append(self._row(item))
                if self._flush_rows:
                    self._write_rows()
            case Output.JSONL:
                click.echo(_dumps(item))
            case Output.IDS:
                if "requestId" in item:  # a dry run has no ids yet
                    click.echo(printable(item["requestId"]))
            case Output.JSON:
                click.echo(("[\n  " if not self._items else ",\n  ") + _dumps(item), nl=False)
        self._items += 1

    def end(self) -> None:
        """Write what is kept and close what is open. To be called always, also after an interruption."""
        if self._output is Output.TABLE:
            self._write_rows()
        elif self._output is Output.JSON:
            click.echo("\n]" if self._items else "[]")

    def _write_rows(self) -> None:
        self._table.write(self._rows)
        self._rows = []


@contextmanager
def streaming(stream: Stream) -> Iterator[Stream]:
    """End the stream whatever happens, so that a script always reads complete JSON."""
    try:
        yield stream
    finally:
        stream.end()


def _dumps(value: object, *, indent: int | None = None) -> str:
    return json_text(value, indent=indent, encoding=sys.stdout.encoding)


Advance: TypeAlias = Callable[[int], None]
"""Takes how much is done by now."""


@contextmanager
def progress(label: str, total: int | None = None, *, enabled: bool = True) -> Iterator[Advance]:
    """Show the progress of long work on a terminal, and nothing elsewhere.

    ``total``: steps, ``None`` if unknown. The function that is provided takes the number of steps done since the last
    call.
    """
    if not enabled or not sys.stderr.isatty():
        yield lambda _done: None
        return
    from rich import console  # noqa: PLC0415 - for terminals only
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415 - for terminals only

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console.Console(stderr=True), transient=True, redirect_stdout=False) as bar:
        task = bar.add_task(label, total=total)
        yield lambda done: bar.update(task, completed=done)
