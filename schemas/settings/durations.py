"""Durations and times as people write them, in settings and in options."""

import re
from datetime import UTC, datetime, timedelta

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_DURATION = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?) ?(?P<unit>ms|s|m|h|d)?")


def parse_duration(text: str) -> float:
    """Return the seconds of ``30s``, ``12h``, ``90d``, ``250ms``, ``5m``, ``1.5h``, or of a bare number of seconds.

    Raises ``ValueError`` with a sentence that says how to write it.
    """
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not a duration: write it like 250ms, 30s, 5m, 12h or 90d")
    return float(found["number"]) * _SECONDS[found["unit"] or "s"]


def format_duration(seconds: float) -> str:
    """Write a duration in the largest exact unit (``72h`` is ``3d``), so that ``parse_duration`` reads it back."""
    if not seconds.is_integer():
        return f"{seconds * 1000:.15g}ms"
    unit = next(unit for unit in ("d", "h", "m", "s") if unit == "s" or (seconds and seconds % _SECONDS[unit] == 0))
    return f"{seconds / _SECONDS[unit]:.0f}{unit}"


def parse_time_or_age(text: str, now: datetime) -> datetime:
    """Return a time in UTC, given in ISO 8601 or as an age before ``now`` such as ``2h``.

    A time without an offset is UTC. A bare number is neither: it could be a year as well as seconds.
    Raises ``ValueError`` with a sentence that says how to write it.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return _ago(text, now)
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:  # within a day of the first or the last time that can be written
        return moment.replace(tzinfo=UTC)


def _ago(text: str, now: datetime) -> datetime:
    try:
        if text.strip()[-1:].isalpha():
            return now.astimezone(UTC) - timedelta(seconds=parse_duration(text))
    except OverflowError:  # older than the calendar
        return datetime.min.replace(tzinfo=UTC)
    except ValueError:
        pass
    raise ValueError(f"{text!r} is neither a time nor an age: write it like 2026-01-31T08:00:00Z or 2h")
