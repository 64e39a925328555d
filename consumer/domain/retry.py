"""Retry delays. Pure: the time and the random number are arguments."""

import zlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential back-off with jitter, in seconds: pauses of a sick lane between two probes."""

    first: float = 0.5
    factor: float = 2.0
    ceiling: float = 30.0
    jitter: float = 0.25
    """Share of the delay by which chance may shorten or lengthen it."""
    longest_ordered: float = 300.0
    """Longest pause that the peer may order (``Retry-After``); then one probe is sent. Mirakl counts calls by the hour,
    so twelve probes an hour cost little, and a client that has recovered is not shut out for a day."""

    def delay(self, failures: int, chance: float) -> float:
        """Return the seconds to wait after the ``failures``-th failure in a row (from 1); ``chance`` is in [0, 1)."""
        plain = min(self.ceiling, self.first * self.factor ** min(failures - 1, 32))
        return plain * (1 + self.jitter * (2 * chance - 1))


def chance(*parts: object) -> float:
    """Return a number in [0, 1) that depends on the parts only: the same parts, the same number."""
    return zlib.crc32(repr(parts).encode()) / 2**32


class TokenBucket:
    """Calls per hour, by the contract: capacity a minute's worth (at least 1), one token at the start."""

    __slots__ = ("_at", "_tokens", "capacity", "per_hour", "rate")

    def __init__(self, per_hour: int, now: float) -> None:
        self.per_hour = per_hour
        self.rate = per_hour / 3600
        self.capacity = max(1.0, per_hour / 60)
        self._tokens = 1.0
        self._at = now

    def _refill(self, now: float) -> None:
        self._tokens = min(self.capacity, self._tokens + max(0.0, now - self._at) * self.rate)
        self._at = max(self._at, now)

    def next_at(self, now: float) -> float:
        """Return the monotonic time in seconds at which a call may start, ``now`` at the earliest."""
        self._refill(now)
        return now if self._tokens >= 1 - _ROUNDING else now + (1 - self._tokens) / self.rate

    def take(self, now: float) -> None:
        """Take one token for a call that starts now; the caller has waited for ``next_at``."""
        self._refill(now)
        self._tokens = max(0.0, self._tokens - 1)

    def empty(self, now: float) -> None:
        """Take all tokens: Mirakl reports (429) that the quota is used up, whatever we have counted."""
        self._at = max(self._at, now)
        self._tokens = 0.0


_ROUNDING = 1e-9
"""Tolerance in tokens, so that waiting exactly until ``next_at`` is enough."""
