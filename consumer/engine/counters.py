"""Counters of the engine's results, for the metrics."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from consumer.domain.outcome import DeadLettered, Failed, Partial, Synchronized, Verdict
from consumer.engine.requests import Request


@dataclass(slots=True)
class Tally:
    """Counts since the start of the process; all of them only grow, as Prometheus expects of counters."""

    answered: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Results by (status, code of the error or the empty string)."""
    dead_letters: Counter[str] = field(default_factory=Counter)
    """By reason."""
    discarded: int = 0
    """Outcomes that were not published, since their assignment had ended."""
    maps_ignored: int = 0
    resets: int = 0
    holes: int = 0
    """Ranges that did not continue what was read before, and were read again."""
    pauses: int = 0
    commits: int = 0
    aborts: int = 0

    def published(self, outcomes: Iterable[Request]) -> None:
        """Count the outcomes of a transaction that has committed."""
        synchronized = 0
        for request in outcomes:
            if isinstance(request.verdict, Synchronized):
                synchronized += 1
            else:
                self._other(request.verdict)
        if synchronized:
            self.answered["SYNCHRONIZED", ""] += synchronized

    def _other(self, verdict: Verdict | None) -> None:
        if isinstance(verdict, DeadLettered):
            self.dead_letters[verdict.reason] += 1
        elif isinstance(verdict, Partial):
            self.answered["PARTIALLY_SYNCHRONIZED", verdict.error.code] += 1
        elif isinstance(verdict, Failed):
            self.answered["FAILED", verdict.error.code] += 1
