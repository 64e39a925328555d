"""One lane per client specification: its queue, its calls and its batches.

An idle lane sends at once. While calls are in flight, requests queue; the next call takes all that wait. A further
concurrent call starts when a whole batch waits, or when the newest call takes longer than calls of this lane usually
do.

A batch that is refused for its entries (400, 413, 422) is searched by bisection, which gets a bounded share of the
calls while other requests wait. While refusals repeat, batches are smaller.
"""

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter

from consumer.domain.batching import cut_batch
from consumer.domain.calls import CallFailure
from consumer.domain.model import ClientSpecification, Products
from consumer.domain.retry import Backoff
from consumer.engine.dispatch.bisection import BatchSize, Bisection
from consumer.engine.dispatch.health import LaneHealth
from consumer.engine.policy import Policy
from consumer.engine.requests import Part


@dataclass(slots=True, eq=False)
class Call:
    """One CM21 call in flight."""

    call_id: int
    parts: list[Part]
    products: Products
    started_at: float
    """Monotonic seconds."""


class Lane:
    """The queue and the calls of one client specification. Times are monotonic seconds."""

    def __init__(
        self, specification: ClientSpecification, now: float, policy: Policy, backoff: Backoff, salt: str
    ) -> None:
        self.specification = specification
        self.queue: deque[Part] = deque()
        self.calls: dict[int, Call] = {}
        self.health = LaneHealth(specification, self.calls, policy, backoff, salt, now)
        self.room = 0.0
        """Products that may be queued before the lane is overfull."""
        self.suspect = True
        """It may be unable to call, so no partition that feeds other lanes as well is paused for it. As of the last
        tick."""
        self.shares = False
        """Some partition feeds it and others. As of the last tick."""
        self._policy = policy
        self._in_flight: dict[str, str] = {}
        """The products of all calls in flight."""
        self._repeated: Counter[str] = Counter()
        """Number of calls in flight with an id, beyond the first: exact repeats may be in flight at once."""
        self._bisection = Bisection(policy)
        self._size = BatchSize(policy)
        self._searching = 0
        """Calls in a row that carried requests of refused batches."""
        self._per_call = float(specification.products_per_call)
        """Running mean of the products that an answered call decides about, while refusals repeat."""

    def update(self, specification: ClientSpecification, now: float) -> None:
        """Take a newer row of the directory."""
        former, self.specification = self.specification, specification
        self.health.update(former, specification, now)

    # -- the queue -------------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Whether nothing is queued and nothing in flight."""
        return not (self.queue or self.calls or self._bisection.can_call)

    @property
    def depth(self) -> int:
        """Parts that are queued."""
        return len(self.queue) + self._bisection.depth

    @property
    def load(self) -> int:
        """Parts that are queued or in flight."""
        return self.depth + sum(len(call.parts) for call in self.calls.values())

    @property
    def queued_products(self) -> int:
        """Products of all parts that are queued."""
        return sum(map(len, map(_PRODUCTS, self.queue))) + self._bisection.products

    def queued(self) -> list[Part]:
        """Return all queued parts, those of refused batches first."""
        return self._bisection.queued() + list(self.queue)

    def heads(self) -> Iterable[Part]:
        """Yield the oldest part of each kind that is queued."""
        yield from self._bisection.heads()
        if self.queue:
            yield self.queue[0]

    def take_all(self) -> list[Part]:
        """Empty the queue."""
        parts = self._bisection.take_all() + list(self.queue)
        self.queue.clear()
        return parts

    def drop_unsendable_head(self) -> None:
        """Forget parts at the head of the queue for which no call may start any more."""
        while self.queue and not self.queue[0].sendable:
            self.queue.popleft()
        if not all(part.sendable for part in self._bisection.heads()):
            self._bisection.drop_unsendable()

    def drop_unsendable(self) -> None:
        """Forget such parts wherever they stand: an assignment has ended."""
        self.queue = deque(part for part in self.queue if part.sendable)
        self._bisection.drop_unsendable()

    def restore_order(self) -> None:
        """Put what waits for its first call into the order of reading, which is that of each partition."""
        self.queue = deque(sorted(self.queue, key=_age))

    @property
    def expected_products(self) -> float:
        """Products that a call decides about: while refusals repeat, as many as the last calls did."""
        limit = self.specification.products_per_call
        return min(limit, max(1.0, self._per_call)) if self._refusals_repeat() else limit

    # -- calls that start ------------------------------------------------------------------------------

    def next_call(self, call_id: int, now: float) -> Call | None:
        """Cut the next batch, if a call may start now."""
        if not self._may_start(now):
            return None
        policy = self._policy
        if self._searching < (policy.search_calls if self._whole_batch_waits() else policy.search_calls_most):
            call = self._next_search(call_id, now) or self._next_batch(call_id, now)
        else:
            call = self._next_batch(call_id, now) or self._next_search(call_id, now)
        if call is None:
            return None
        self.calls[call_id] = call
        self._repeated.update(self._in_flight.keys() & call.products)
        self._in_flight.update(call.products)
        self.health.call_started(now)
        return call

    def wake_at(self, now: float) -> float | None:
        """Return when a call may become possible that is not possible now."""
        if not (self.queue or self._bisection.can_call):
            return None
        at = self.health.can_call_at(now)
        if at > now or not self.calls:
            return at
        return self.health.slow_at() if len(self.calls) < self.specification.concurrent_calls else None

    def _may_start(self, now: float) -> bool:
        if not (self.queue or self._bisection.can_call) or self.health.can_call_at(now) > now:
            return False
        if not self.calls:
            return True
        if len(self.calls) >= self.specification.concurrent_calls:
            return False
        if self.health.sick_until is not None:
            return self.health.may_probe()
        return self._bisection.can_call or self._whole_batch_waits() or now >= self.health.slow_at()

    def _whole_batch_waits(self) -> bool:
        wanted, limit = 0, min(self.specification.products_per_call, self._size.most)
        if len(self.queue) >= limit:  # each brings one at least
            return True
        for part in self.queue:
            wanted += len(part.products)
            if wanted >= limit:
                return True
        return False

    def _next_batch(self, call_id: int, now: float) -> Call | None:
        limit = self.specification.products_per_call
        self.drop_unsendable_head()
        if self.queue and len(self.queue[0].products) > limit:
            self.queue.extendleft(reversed(self.queue.popleft().split(limit)))
        limit = min(limit, self._size.most)
        parts, products = cut_batch(self.queue, limit, self._in_flight, self._bisection.ids)
        if not parts:
            return None
        self._searching = 0
        return Call(call_id, parts, products, now)

    def _next_search(self, call_id: int, now: float) -> Call | None:
        found = self._bisection.next_call(call_id, self.specification.products_per_call, self._in_flight)
        if found is None:
            return None
        self._searching += 1
        return Call(call_id, *found, now)

    # -- calls that return -----------------------------------------------------------------------------

    def call_returned(self, call_id: int, now: float) -> Call:
        """Take a call out of those in flight, however it ended."""
        self.health.call_returned(now)
        call = self.calls.pop(call_id)
        repeated = self._repeated.keys() & call.products
        self._repeated -= Counter(repeated)  # which drops those that are no longer
        for id_ in call.products.keys() - repeated:
            del self._in_flight[id_]
        return call

    def failed(self, call: Call, failure: CallFailure, now: float) -> None:
        """Queue the parts of a call that failed where they came from."""
        self.health.failed(call.started_at, failure, now)
        self._put_back(call, may_have_reached=failure.may_have_reached)

    def accepted(self, call: Call) -> None:
        """Mirakl accepted the products of a call."""
        limit = self.specification.products_per_call
        parts, products = len(call.parts), len(call.products)
        if self._bisection.carries(call.call_id):
            self._bisection.accepted(call.call_id, parts, products, limit)
        else:
            self._size.accepted(parts, products, limit)
        self._decided(products)

    def refused(self, call: Call, *, too_large: bool) -> bool:
        """Search the batch of a call of which Mirakl blames an entry; ``False`` if there is only one part to blame.

        Parts for which no further call may start (their partition is being given up) stay unanswered: whether they
        are to blame is not known.
        """
        only = len(call.parts) == 1
        parts = [] if only else [part for part in call.parts if part.sendable]
        if self._bisection.carries(call.call_id):
            self._bisection.refused(call.call_id, parts, len(call.products), too_large=too_large)
        elif not only:
            self._size.refused(len(call.products))
            self._bisection.begin(parts, too_large=too_large)
        self._decided(len(call.products) if only else 0)
        return not only

    def rejected(self, call: Call) -> None:
        """Mirakl answered a call, and not about its entries."""
        if self._bisection.carries(call.call_id):
            self._bisection.returned(call.call_id, [])

    def _refusals_repeat(self) -> bool:
        return self._size.most < self.specification.products_per_call or self._bisection.products > 0

    def _decided(self, products: int) -> None:
        former = self._per_call if self._refusals_repeat() else self.specification.products_per_call
        self._per_call = former + self._policy.throughput_weight * (products - former)

    def _put_back(self, call: Call, *, may_have_reached: bool) -> None:
        parts = [part for part in call.parts if part.sendable]
        for part in parts:
            part.may_have_reached |= may_have_reached
        if self._bisection.carries(call.call_id):
            self._bisection.returned(call.call_id, parts)
        else:
            self.queue.extendleft(reversed(parts))


_PRODUCTS = attrgetter("products")


def _age(part: Part) -> tuple[float, int]:
    return part.request.read_at, part.request.record.offset
