"""Clocks of others, compared with this machine's.

A clock is read between two readings of ours, so half of the time in between is uncertain. Only a difference beyond that
is reported. Deadlines do not depend on clocks, but expiry of API keys, signatures and the times in results do.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Final

from consumer.adapters.finding import Finding, Level

TOLERATED_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class ClockReading:
    """A clock of others against ours, with the uncertainty of the way there and back. Times in seconds."""

    whose: str
    """``the database``."""
    ahead: float
    """Seconds that it is ahead of ours; negative: behind."""
    uncertainty: float = 0.0
    """Seconds by which ``ahead`` may be wrong in either direction."""

    @property
    def certain(self) -> float:
        """Seconds by which the clocks differ at least, whatever the answer's way took."""
        return max(0.0, abs(self.ahead) - self.uncertainty)


def reading(whose: str, theirs: float, before: float, after: float, resolution: float = 0.0) -> ClockReading:
    """Return what a clock shows that was read between two readings of ours; all in seconds since the epoch.

    ``resolution``: seconds that ``theirs`` was rounded down to.
    """
    uncertainty = (after - before) / 2 + resolution / 2
    return ClockReading(whose, theirs + resolution / 2 - (before + after) / 2, uncertainty)


def http_date(value: str | None) -> datetime | None:
    """Read the header ``Date`` (RFC 9110, 6.6.1), which has whole seconds; ``None``: absent or not a date."""
    try:
        return parsedate_to_datetime(value or "")
    except ValueError:
        return None


def check_clocks(readings: Iterable[ClockReading]) -> Iterator[Finding]:
    """Warn of each clock that certainly differs by more than a second from ours, and name those that agree."""
    agreeing = []
    for each in readings:
        if each.certain <= TOLERATED_SECONDS:
            agreeing.append(each.whose)
            continue
        side = "ahead of" if each.ahead > 0 else "behind"
        yield Finding(
            Level.WARN,
            "clocks",
            f"The clock of {each.whose} is at least {each.certain:.1f} s {side} this machine's.",
            "Synchronize both (NTP): expiry of API keys, signatures and times in results depend on them.",
        )
    if agreeing:
        yield Finding(Level.OK, "clocks", f"This machine's agrees to within a second with {' and '.join(agreeing)}.")
