"""Data on stdout: tables that fit, JSON for scripts; and progress on stderr, on a terminal alone."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, TextIO, TypeAlias

import click

from producer_tools.cli.options import Output
from schemas.console.text import json_text, printable

if TYPE_CHECKING:
    from rich.console import Console

JsonObject: TypeAlias = Mapping[str, Any]

_STYLES = {"SYNCHRONIZED": "green", "PARTIALLY_SYNCHRONIZED": "yellow", "FAILED": "red", "no result": "yellow"}
_WHOLE = {"request", "status", "at"}
"""Columns whose cells are copied: not broken over two lines."""
WHOLE_UP_TO = 36
"""Characters: a UUID."""
_NARROWEST_TEXT = 32
"""Characters: a last column that is left with less stands below its row."""


def iso(moment: datetime) -> str:
    """RFC 3339, UTC, milliseconds."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def to_the_second(moment: str) -> str:
    """For people, of what ``iso`` wrote."""
    return moment.partition(".")[0].replace("T", " ") + "Z"


class Table:
    """Rows under a header. On a terminal it fits the width, elsewhere each row is one line, nothing cut off."""

    def __init__(self, *columns: str, stream: TextIO | None = None) -> None:
        self._columns = columns
        self._stream = stream or sys.stdout
        self._header_due = True
        self._widths = [len(column) for column in columns]

    def write(self, rows: Iterable[Sequence[str]]) -> None:
        """Write rows; the header goes before the first."""
        cells = [[printable(cell) for cell in row] for row in rows]
        if not cells:
            return
        self._widths = [
            max(width, *map(len, column)) for width, column in zip(self._widths, zip(*cells, strict=True), strict=True)
        ]
        if self._stream.isatty():
            self._write_fitting(cells)
        else:
            self._write_plain(cells)
        self._header_due = False

    def _write_plain(self, rows: list[list[str]]) -> None:
        lines = [self._columns, *rows] if self._header_due else rows
        for line in lines:
            click.echo(
                "  ".join(cell.ljust(width) for cell, width in zip(line, self._widths, strict=True)).rstrip(),
                file=self._stream,
            )

    def _write_fitting(self, rows: list[list[str]]) -> None:
        from rich import console, table, text  # noqa: PLC0415  for terminals alone

        terminal = console.Console(file=self._stream, highlight=False)
        left = terminal.width - sum(2 + width for width in self._widths[:-1])
        if left < min(self._widths[-1], _NARROWEST_TEXT):
            self._write_two_lines(terminal, rows)
            return
        fitting = table.Table(box=None, padding=(0, 2, 0, 0), show_header=self._header_due, header_style="bold")
        for column, width in zip(self._columns, self._widths, strict=True):
            whole = column in _WHOLE and width <= WHOLE_UP_TO
            fitting.add_column(column, overflow="fold", no_wrap=whole, min_width=width if whole else None)
        for row in rows:
            fitting.add_row(*(text.Text(cell, style=_STYLES.get(cell, "")) for cell in row))
        terminal.print(fitting)

    def _write_two_lines(self, terminal: "Console", rows: list[list[str]]) -> None:
        """The last cell of each row goes below the others."""
        from rich import padding, text  # noqa: PLC0415  for terminals alone

        for line in [self._columns, *rows] if self._header_due else rows:
            bold = "bold" if line is self._columns else ""
            cells = [
                text.Text(f"{cell:<{width}}", bold or _STYLES.get(cell, ""))
                for cell, width in zip(line[:-1], self._widths[:-1], strict=True)
            ]
            terminal.print(text.Text("  ").join(cells))
            terminal.print(padding.Padding(text.Text(line[-1], bold, overflow="fold"), (0, 0, 0, 2)))


class Stream:
    """Items to stdout as they come: ``json`` one array, ``jsonl`` and ``ids`` a line each.

    A table is written at the end, since its widths depend on all rows, or with ``flush_rows`` row by row.
    """

    def __init__(
        self, output: Output, table: Table, row: Callable[[JsonObject], Sequence[str]], *, flush_rows: bool = False
    ) -> None:
        self._output = output
        self._table = table
        self._row = row
        self._flush_rows = flush_rows
        self._rows: list[Sequence[str]] = []
        self._items = 0

    def add(self, item: JsonObject) -> None:
        if self._output is Output.TABLE:
            self._rows.append(self._row(item))
            if self._flush_rows:
                self._write_rows()
        elif self._output is Output.JSONL:
            click.echo(_dumps(item))
        elif self._output is Output.IDS:
            _echo_id(item)
        else:
            click.echo(("[\n  " if not self._items else ",\n  ") + _dumps(item), nl=False)
        self._items += 1

    def end(self) -> None:
        """Close what is open; always to be called, also after an interruption."""
        if self._output is Output.TABLE:
            self._write_rows()
        elif self._output is Output.JSON:
            click.echo("\n]" if self._items else "[]")

    def _write_rows(self) -> None:
        self._table.write(self._rows)
        self._rows = []


@contextmanager
def streaming(stream: Stream) -> Iterator[Stream]:
    """End the stream whatever happens, so that a script always reads whole JSON."""
    try:
        yield stream
    finally:
        stream.end()


def _echo_id(item: JsonObject) -> None:
    """What has no id yet, as in a dry run, is not written."""
    if "requestId" in item:
        click.echo(printable(item["requestId"]))


def write_json(value: object) -> None:
    click.echo(_dumps(value, indent=2))


def _dumps(value: object, *, indent: int | None = None) -> str:
    return json_text(value, indent=indent, encoding=sys.stdout.encoding)


Advance: TypeAlias = Callable[[int], None]
"""Takes how much is done by now."""


@contextmanager
def progress(label: str, total: int | None = None, *, enabled: bool = True) -> Iterator[Advance]:
    """Show how far long work has come, on a terminal; ``total`` of ``None``: nobody knows how much there is."""
    if not enabled or not sys.stderr.isatty():
        yield lambda _done: None
        return
    from rich import console  # noqa: PLC0415  for terminals alone
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415

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
