"""The engine's clock, which deadlines are measured by: it stands still in troubles of our own.

While the database, the brokers or the transactions fail us, the intake is closed and no request grows old for it.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple


class Instant(NamedTuple):
    """The time of an event. It is an argument: the core has no clock."""

    mono: float
    """Seconds of the monotonic clock, for all durations and deadlines."""
    wall: float
    """Seconds since the epoch, UTC: for key expiry and ``completedAt`` only."""


class Standstill:
    """Times are monotonic seconds."""

    def __init__(self) -> None:
        self.troubles: tuple[str, ...] = ()
        """What closes the intake now, each saying what to do."""
        self.closings: Counter[str] = Counter()
        """By reason, ever."""
        self._since: float | None = None
        self._stood_still = 0.0

    def watch(self, troubles: Sequence[tuple[str, str]], now: float) -> None:
        """Take note of the troubles there are now, as (reason, message)."""
        if bool(troubles) != bool(self.troubles):
            if troubles:
                self._since = now
            elif self._since is not None:
                self._stood_still += now - self._since
                self._since = None
        for reason, message in troubles:
            if message not in self.troubles:
                self.closings[reason] += 1
        self.troubles = tuple(message for _, message in troubles)

    def clock(self, now: float) -> float:
        """Seconds of the engine's clock."""
        return (self._since if self._since is not None else now) - self._stood_still
