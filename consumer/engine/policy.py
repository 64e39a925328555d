"""Bounds and times of the engine."""

from dataclasses import dataclass

from consumer.domain.progress import WINDOW
from schemas.contract import MAX_PRODUCTS, REQUEST_DEADLINE_SECONDS

CALL_MARGIN_SECONDS = 5.2
"""No call starts for a request with less than 5 s left; the time is looked at once a tick."""
CALL_MARGIN_SHARE = 5 / 6
"""With a deadline too short for that margin: this share of it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Times in seconds."""

    request_deadline: float = REQUEST_DEADLINE_SECONDS
    max_products: int = MAX_PRODUCTS
    window: int = WINDOW
    """Offsets of a partition between its lowest unfinished record and the newest one taken in."""
    records: int = 40_000
    """Records in flight, all partitions."""
    brisk_records: int = 12_000
    """Records in flight of lanes that can call: more would only wait."""
    record_bytes: int = 64 * 1024 * 1024
    """Bytes of the values in flight."""
    event_bytes: int = 512 * 1024
    """Of records that one event decides about. What a byte costs is bounded, up to a second a megabyte, so the loop
    turns, calls go out and revocations are answered whatever stands in the records."""
    calls: int = 256
    """CM21 calls that are out, all lanes."""

    @property
    def shared_calls(self) -> int:
        """Of the calls: for lanes that have one out already; the last quarter is for those that have none."""
        return max(1, self.calls * 3 // 4)

    @property
    def longest_wait(self) -> float:
        """Seconds that a request may be expected to wait in a healthy lane: half of those in which calls may start."""
        return (self.request_deadline - self.call_margin) / 2

    @property
    def call_margin(self) -> float:
        """Seconds that must be left of a deadline for a call to start."""
        return min(CALL_MARGIN_SECONDS, CALL_MARGIN_SHARE * self.request_deadline)
