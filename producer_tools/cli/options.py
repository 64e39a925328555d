"""Options that several commands take, and how their values are written."""

from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar

import click

from schemas.console.text import decimal

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class Output(StrEnum):
    """How data is written to stdout."""

    TABLE = "table"
    JSON = "json"
    """One array."""
    JSONL = "jsonl"
    """One object a line, as it comes."""
    IDS = "ids"
    """One request id a line."""


def seconds(_context: click.Context, _option: click.Parameter, given: str) -> float:
    """``30s``, ``12h``, ``90d``, or a number of seconds."""
    from schemas.settings import parse_duration  # noqa: PLC0415  not for --help

    try:
        return parse_duration(given)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def moment(_context: click.Context, _option: click.Parameter, given: str | None) -> datetime | None:
    """A time (ISO 8601) or an age (``2h``)."""
    from schemas.settings import parse_time_or_age  # noqa: PLC0415  not for --help

    try:
        return None if given is None else parse_time_or_age(given, datetime.now(UTC))
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def coordinates(text: str) -> tuple[int, int]:
    """``PARTITION:OFFSET``."""
    written, _, place = text.partition(":")
    partition, offset = decimal(written), decimal(place)
    if partition is None or offset is None:
        raise click.BadParameter(
            f"{text!r} is not PARTITION:OFFSET, such as 0:17; `mirakl-resync dlq list` shows them."
        )
    return partition, offset


def output_option(*forms: Output) -> Callable[[Decorated], Decorated]:
    """``--output``, of these forms."""
    return click.option(
        "--output",
        "-o",
        type=click.Choice([form.value for form in forms]),
        default=Output.TABLE.value,
        show_default=True,
        help="How the data is written to stdout.",
    )


since_option = click.option(
    "--since",
    callback=moment,
    metavar="T",
    help="Only what is younger: a time (ISO 8601, UTC where it says no offset) or an age (2h).",
)
limit_option = click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Stop after N.")
api_key_option = click.option(
    "--api-key-file",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="File with the API key, instead of RESYNC_API_KEY.",
)
yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask for confirmation.")
