"""Round robin over the lanes that may start a call, one call per turn."""

from consumer.engine.dispatch.lanes import Lane
from consumer.engine.policy import Policy


class RoundRobin:
    """Lanes that may be able to start a call, in the order of their turns.

    A lane keeps its place until its turn comes. Lanes without a call in flight have their own ring: only they may use
    the last quarter of the global slots, and no other lane has to be skipped to find them.
    """

    def __init__(self, policy: Policy) -> None:
        self._calls, self._shared_calls = policy.calls, policy.shared_calls
        self._without_call: dict[str, Lane] = {}
        self._with_calls: dict[str, Lane] = {}

    def add(self, lane: Lane) -> None:
        """Put a lane at the end of its ring, unless it waits for a turn already. On the hot path."""
        ring = self._with_calls if lane.calls else self._without_call
        ring[lane.specification.id] = lane

    def call_ended(self, lane: Lane) -> None:
        """Put a lane at the end of the ring that it belongs to now: it has one call less in flight."""
        if not lane.calls:
            self._with_calls.pop(lane.specification.id, None)
        self.add(lane)

    def next(self, calls_in_flight: int) -> Lane | None:
        """Return the lane whose turn it is, if the global slots allow it a call; it leaves the ring."""
        for ring, slots in ((self._without_call, self._calls), (self._with_calls, self._shared_calls)):
            if ring and calls_in_flight < slots:
                return ring.pop(next(iter(ring)))
        return None
