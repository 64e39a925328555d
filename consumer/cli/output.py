# ruff: noqa: PLC0415  heavy imports stand inside: --help answers at once
"""Data on stdout, as a table for people or JSON for scripts; messages on stderr."""

import io
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import click

from schemas.console.streams import write_message
from schemas.console.text import json_text, printable

_NARROWEST = 12
"""Characters: with less for each column, a table on a terminal is only splinters."""
_STYLES = {"OK": "green", "WARN": "yellow", "FAIL": "bold red"}

output_option = click.option(
    "--output",
    "-o",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="A table for people, or JSON for scripts.",
)


def message(text: str) -> None:
    """Tell a person something that is no data; what strangers wrote into it cannot steer the terminal."""
    write_message(printable(text, keep="\n"))


def show_usage_error(error: click.ClickException) -> None:
    """Show how a command is used and what was wrong with it, on stderr."""
    text = io.StringIO()
    error.show(text)
    write_message(text.getvalue().rstrip("\n"))


def show(rows: Sequence[Mapping[str, object]], output: str, *, columns: Mapping[str, str], empty: str = "") -> None:
    """Print rows: as JSON with all of their fields, or as a table.

    ``columns``: field -> heading. Where there are no rows for a table, ``empty`` says so on stderr.
    """
    if output == "json":
        plain = [{name: _plain(value) for name, value in row.items()} for row in rows]
        click.echo(json_text(plain, indent=2, encoding=sys.stdout.encoding))
    elif rows:
        _print_table(rows, columns)
    else:
        message(empty)


def _plain(value: object) -> object:
    match value:
        case None | bool() | int() | str():
            return value
        case datetime():
            return value.isoformat()
        case _:  # a row that was written by hand may hold anything
            return str(value)


def _print_table(rows: Sequence[Mapping[str, object]], columns: Mapping[str, str]) -> None:
    header = list(columns.values())
    cells = [[_cell(row[field]) for field in columns] for row in rows]
    if sys.stdout.isatty():
        _print_fitting(header, cells)
    else:
        _print_whole([header, *cells])


def _print_fitting(header: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=sys.stdout, highlight=False)
    needed = sum(2 + max(map(len, column)) for column in zip(header, *cells, strict=True))
    if needed > console.width and console.width < len(header) * (2 + _NARROWEST):
        _print_blocks(header, cells)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in header:
        table.add_column(name, overflow="fold", no_wrap=name == "id")
    for row in cells:
        table.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
    console.print(table)


def _print_blocks(header: Sequence[str], cells: Iterable[Sequence[str]]) -> None:
    """One line a cell, an empty line between rows."""
    width = max(map(len, header))
    blocks = ("\n".join(f"{name:<{width}}  {cell}" for name, cell in zip(header, row, strict=True)) for row in cells)
    click.echo("\n\n".join(blocks))


def _print_whole(lines: Sequence[Sequence[str]]) -> None:
    """One line a row, nothing cut: in a pipe a script reads it."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: object) -> str:
    match value:
        case None | "":
            return "-"
        case bool():
            return "yes" if value else "no"
        case datetime():
            return f"{value:%Y-%m-%d %H:%M:%S} UTC"
        case _:
            return printable(str(value))
