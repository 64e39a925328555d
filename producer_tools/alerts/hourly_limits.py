"""Limits on the requests that each rule makes in any hour, at one gateway."""

from typing import Final

HOUR_SECONDS: Final = 3_600.0


class HourlyLimits:
    """A sliding window per rule. It survives a reload of the rules, and starts empty with the process."""

    def __init__(self) -> None:
        self._times: dict[str, dict[str, float]] = {}
        """Rule -> request id -> when it was counted, in this order."""

    def take(self, rule: str, request_id: str, most: int, now: float) -> bool:
        """Count a request of ``rule`` at ``now`` (monotonic seconds); false: ``most`` is reached.

        A request that is repeated because it was not acknowledged counts once.
        """
        times = self._times.setdefault(rule, {})
        while times and times[oldest := next(iter(times))] <= now - HOUR_SECONDS:
            del times[oldest]
        if request_id not in times and len(times) >= most:
            return False
        times.setdefault(request_id, now)
        return True

    def give_back(self, rule: str, request_id: str) -> None:
        """Do not count a request that was certainly not written."""
        self._times.get(rule, {}).pop(request_id, None)
