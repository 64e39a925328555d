"""Look-ups of writer schemas in the registry, and the requests that wait for them.

Anyone can make up ids, so few look-ups are in flight at once, and only one while the registry is in trouble. An id
counts as unknown once the registry has said so twice, some time apart: one that was just restored may not know it yet.
"""

import heapq
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

from consumer.engine.policy import Policy
from consumer.engine.requests import Request


@dataclass(slots=True)
class _Unlearned:
    waiting: list[Request]
    missing_since: float | None = None
    trouble: str | None = None
    asked: bool = False
    """The registry is asked right now."""


class SchemaLookups:
    """Writer schemas that the decoder lacks, and the requests that wait for each. Times are monotonic seconds.

    A schema counts as missing only after two answers ``schema_confirmation`` apart: a replica of the registry may lag
    behind.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._unlearned: dict[Hashable, _Unlearned] = {}
        self._due: list[tuple[float, int, Hashable]] = []
        """Heap of (when to ask, number, reference): each schema that is not being asked for now."""
        self._number = self._out = 0
        self._in_trouble_until: float | None = None

    def wait_for(self, reference: Hashable, request: Request, now: float) -> None:
        """Have a request wait for a schema, which is asked for at once if it is the first."""
        unlearned = self._unlearned.get(reference)
        if unlearned is None:
            unlearned = self._unlearned[reference] = _Unlearned([])
            self._ask(reference, now)
        unlearned.waiting.append(request)

    def due(self, now: float) -> Iterator[Hashable]:
        """Yield the schemas to ask the registry for now, in the order of being due; forget those nobody waits for."""
        while self._due and max(self._due[0][0], self._in_trouble_until or 0.0) <= now:
            if self._out >= (self._policy.schema_lookups if self._in_trouble_until is None else 1):
                return
            _, _, reference = heapq.heappop(self._due)
            if not any(request.open for request in self._unlearned[reference].waiting):
                del self._unlearned[reference]
                continue
            self._out += 1
            self._unlearned[reference].asked = True
            yield reference

    def found(self, reference: Hashable) -> Sequence[Request]:
        """Return the requests that waited for a schema that the decoder has learnt, in the order of reading."""
        self._answered()
        return self._unlearned.pop(reference).waiting

    def missing(self, reference: Hashable, now: float) -> Sequence[Request]:
        """Return the requests that waited for a schema that the registry does not have, once that is certain."""
        self._answered()
        unlearned = self._unlearned[reference]
        unlearned.trouble = None
        if unlearned.missing_since is None:
            unlearned.missing_since = now
        confirm_at = unlearned.missing_since + self._policy.schema_confirmation
        if now < confirm_at:
            self._ask(reference, confirm_at)
            return ()
        del self._unlearned[reference]
        return unlearned.waiting

    def failed(self, reference: Hashable, message: str, now: float) -> None:
        """Ask again after ``schema_retry``: the registry did not answer, which proves nothing about the schema."""
        self._out -= 1
        self._unlearned[reference].trouble = message
        self._in_trouble_until = now + self._policy.schema_retry
        self._ask(reference, self._in_trouble_until)

    def forget_ended(self) -> None:
        """Forget requests whose assignment ended, and schemas that nobody else waits for."""
        for reference, unlearned in list(self._unlearned.items()):
            unlearned.waiting = [request for request in unlearned.waiting if not request.assignment.ended]
            if not unlearned.waiting and not unlearned.asked:
                del self._unlearned[reference]
        self._due = [each for each in self._due if each[2] in self._unlearned]
        heapq.heapify(self._due)

    def troubles(self) -> Sequence[str]:
        """Return why look-ups failed, a message for each schema whose last one did."""
        return [each.trouble for each in self._unlearned.values() if each.trouble]

    def waiting(self) -> list[Request]:
        """Return the open requests that wait for any schema, for the bounds on undecided requests."""
        return [each for unlearned in self._unlearned.values() for each in unlearned.waiting if each.open]

    def _answered(self) -> None:
        self._out -= 1
        self._in_trouble_until = None

    def _ask(self, reference: Hashable, ask_at: float) -> None:
        self._number += 1
        self._unlearned[reference].asked = False
        heapq.heappush(self._due, (ask_at, self._number, reference))
