"""Options that commands of both programs take, and how their values are written."""

from datetime import UTC, datetime

import click

from schemas.settings.durations import parse_duration, parse_time_or_age


def duration(_context: click.Context, _parameter: click.Parameter, value: str | None) -> float | None:
    """Read a duration such as ``30s`` or ``90d``, in seconds; a click callback.

    ``None`` stays ``None``. Raises ``click.BadParameter`` with an example of the right form.
    """
    try:
        return None if value is None else parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from None


def moment(_context: click.Context, _parameter: click.Parameter, value: str | None) -> datetime | None:
    """Read a time (ISO 8601) or an age such as ``2h``; a click callback.

    Return an aware time in UTC. ``None`` stays ``None``. Raises ``click.BadParameter`` with an example of the right
    form.
    """
    try:
        return None if value is None else parse_time_or_age(value, datetime.now(UTC))
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from None
