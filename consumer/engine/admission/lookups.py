"""Writer schemas that records wait for, and when the registry is asked about them.

Anyone can make up ids: so few questions are out at once, and one alone where the registry is in trouble. That it does
not know an id counts once it has said so twice, some time apart: a registry that was just restored may not know yet.
"""

import heapq
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from consumer.engine.requests import Request

RETRY_SECONDS = 2.0
CONFIRM_SECONDS = 30.0
"""An id is unknown for good when the registry has said so twice, this far apart."""
MOST_OUT = 8
"""Questions to the registry that are out. One, where the last answer was a trouble."""
TROUBLES_TOLD = 3


@dataclass(slots=True)
class _Unlearned:
    waiting: list[Request]
    missing_since: float | None = None
    trouble: str | None = None
    asked: bool = False
    """The registry is asked right now."""


class SchemaLookups:
    """Times are monotonic seconds."""

    def __init__(self) -> None:
        self._unlearned: dict[Hashable, _Unlearned] = {}
        self._due: list[tuple[float, int, Hashable]] = []
        """Heap of (when to ask, number, reference): each schema that is not being asked for now."""
        self._number = self._out = 0
        self._in_trouble_until: float | None = None

    def wait_for(self, reference: Hashable, request: Request, now: float) -> None:
        """A record cannot be read before this schema is known."""
        unlearned = self._unlearned.get(reference)
        if unlearned is None:
            unlearned = self._unlearned[reference] = _Unlearned([])
            self._ask(reference, now)
        unlearned.waiting.append(request)

    def due(self, now: float) -> Iterator[Hashable]:
        """Give what to ask the registry now, in the order of being due; what nobody waits for any more is dropped."""
        while self._due and max(self._due[0][0], self._in_trouble_until or 0.0) <= now:
            if self._out >= (MOST_OUT if self._in_trouble_until is None else 1):
                return
            _, _, reference = heapq.heappop(self._due)
            if all(request.dropped for request in self._unlearned[reference].waiting):
                del self._unlearned[reference]
                continue
            self._out += 1
            self._unlearned[reference].asked = True
            yield reference

    def found(self, reference: Hashable) -> Sequence[Request]:
        """The decoder has learnt it: give what has waited for it."""
        self._answered()
        return self._unlearned.pop(reference).waiting

    def missing(self, reference: Hashable, now: float) -> Sequence[Request]:
        """The registry says that it has none: give what has waited for it, once that is for good."""
        self._answered()
        unlearned = self._unlearned[reference]
        unlearned.trouble = None
        if unlearned.missing_since is None:
            unlearned.missing_since = now
        confirm_at = unlearned.missing_since + CONFIRM_SECONDS
        if now < confirm_at:
            self._ask(reference, confirm_at)
            return ()
        del self._unlearned[reference]
        return unlearned.waiting

    def failed(self, reference: Hashable, message: str, now: float) -> None:
        """The registry is in trouble: no answer is no proof."""
        self._out -= 1
        self._unlearned[reference].trouble = message
        self._in_trouble_until = now + RETRY_SECONDS
        self._ask(reference, self._in_trouble_until)

    def forget_ended(self) -> None:
        """Let go of requests whose assignment ended, and of schemas that nobody else waits for."""
        for reference, unlearned in list(self._unlearned.items()):
            unlearned.waiting = [request for request in unlearned.waiting if not request.assignment.ended]
            if not unlearned.waiting and not unlearned.asked:
                del self._unlearned[reference]
        self._due = [each for each in self._due if each[2] in self._unlearned]
        heapq.heapify(self._due)

    def troubles(self) -> Iterable[str]:
        """Tell of a few."""
        return islice((each.trouble for each in self._unlearned.values() if each.trouble), TROUBLES_TOLD)

    def waiting(self) -> list[Request]:
        """Give all that wait for any of them."""
        return [each for unlearned in self._unlearned.values() for each in unlearned.waiting if not each.dropped]

    def _answered(self) -> None:
        self._out -= 1
        self._in_trouble_until = None

    def _ask(self, reference: Hashable, ask_at: float) -> None:
        self._number += 1
        self._unlearned[reference].asked = False
        heapq.heappush(self._due, (ask_at, self._number, reference))
