"""Difference between the service's clock and this gateway's, as results show it.

A result of a request that was made here has the time of the request by our clock, and the time of its completion by the
service's. Completion lies between the request and the arrival of the result. If it appears to lie outside, the clocks
differ by at least that much; a smaller difference cannot be seen.
"""

import logging
import time
from collections.abc import Callable
from typing import Final

from schemas.contract import SIGNATURE_MAX_AHEAD_SECONDS
from schemas.events import ProductResyncResult

TOLERATED_SECONDS: Final = 10.0
"""Difference that is not worth a line of the log."""
LOG_EVERY_SECONDS: Final = 60.0

_log = logging.getLogger(__name__)


class ServiceClock:
    """Lower bound of the difference. ``wall`` returns seconds since the epoch, ``monotonic`` monotonic seconds."""

    def __init__(
        self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic, *, signs: bool
    ) -> None:
        """``signs``: requests carry signatures, which the service refuses by their time."""
        self._signs = signs
        self._wall = wall
        self._monotonic = monotonic
        self._log_from = monotonic()
        self.ahead = 0.0
        """Seconds by which our clock is ahead of the service's at least, by the newest result; negative: behind."""

    @property
    def explains_refusals(self) -> bool:
        """Whether the service may refuse what is signed here for its ``requestedAt``, whatever the key."""
        return self._signs and self.ahead > SIGNATURE_MAX_AHEAD_SECONDS / 2  # which is a lower bound

    def note(self, result: ProductResyncResult) -> None:
        """Look at the result of a request that was made here and has just arrived."""
        completed = result.completed_at.timestamp()
        self.ahead = max(0.0, result.requested_at.timestamp() - completed) + min(0.0, self._wall() - completed)
        if abs(self.ahead) > TOLERATED_SECONDS and self._monotonic() >= self._log_from:
            self._log_from = self._monotonic() + LOG_EVERY_SECONDS
            _log.warning(
                "The clock of this gateway is at least %.0f s %s that of the service. Synchronize both (NTP): signed "
                "requests are refused from %.0f s ahead on.",
                abs(self.ahead),
                "ahead of" if self.ahead > 0 else "behind",
                SIGNATURE_MAX_AHEAD_SECONDS,
            )
