"""Times of the engine: the time of a turn, and the pausable clock that measures deadlines.

While the database, the brokers or the transactions are in trouble, the intake is closed and the clock stands still: no
request misses its deadline because of a problem of our own.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple


class Instant(NamedTuple):
    """The time of a turn. It is an argument: the core has no clock."""

    mono: float
    """Seconds of the monotonic clock, for all durations and deadlines."""
    wall: float
    """Seconds since the epoch, UTC: for key expiry and ``completedAt`` only."""

    @property
    def millis(self) -> int:
        """Milliseconds since the epoch, UTC, as results hold them."""
        return int(self.wall * 1000)


class PausableClock:
    """Clock that stands still while ``troubles`` close the intake. All times are monotonic seconds."""

    def __init__(self) -> None:
        self.troubles: tuple[str, ...] = ()
        """Reasons that currently close the intake, each with its remedy."""
        self.closings: Counter[str] = Counter()
        """Reason -> times that it closed the intake."""
        self._since: float | None = None
        self._paused = 0.0

    def update(self, troubles: Sequence[tuple[str, str]], now: float) -> None:
        """Stop or go on: ``troubles`` of ours are those of this moment, as (reason, message).

        While there are any, the clock stands still, so that no request grows older for a fault of ours.
        """
        if bool(troubles) != bool(self.troubles):
            if troubles:
                self._since = now
            elif self._since is not None:
                self._paused += now - self._since
                self._since = None
        for reason, message in troubles:
            if message not in self.troubles:
                self.closings[reason] += 1
        self.troubles = tuple(message for _, message in troubles)

    def read(self, now: float) -> float:
        """Return this clock's time in seconds: ``now`` (monotonic) less all the time that it stood still."""
        return (self._since if self._since is not None else now) - self._paused
