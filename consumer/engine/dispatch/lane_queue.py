"""Queue of a lane: the parts that wait for a call, and the batch that the next call carries.

New parts wait in the order of reading, and the next call takes all that fit. The parts of a batch that Mirakl refused
for its entries (400, 413, 422) wait separately, in a bisection, which gets a bounded share of the calls while new parts
wait. While refusals repeat, batches are smaller. The queue knows nothing of time: its lane decides when a call starts.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from operator import attrgetter

from consumer.domain.batching import cut_batch
from consumer.domain.model import Products
from consumer.engine.dispatch.bisection import BatchSize, Bisection, Cut
from consumer.engine.policy import Policy
from consumer.engine.requests import Part

_PRODUCTS = attrgetter("products")


class LaneQueue:
    """Parts of one lane that no call in flight carries. ``limit`` is always in products per call."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.waiting: deque[Part] = deque()
        """Parts that wait for their first call, or for another one after a failure, oldest first."""
        self._waiting_products = 0
        """Products of all parts in ``waiting``."""
        self.bisection = Bisection(policy)
        self._size = BatchSize(policy)
        self._searching = 0
        """Calls in a row that carried requests of refused batches."""

    # -- what waits ------------------------------------------------------------------------------------

    @property
    def can_call(self) -> bool:
        return bool(self.waiting) or self.bisection.can_call

    @property
    def depth(self) -> int:
        """Number of parts, the other halves of groups in flight included."""
        return len(self.waiting) + self.bisection.depth

    @property
    def products(self) -> int:
        """Number of products of all parts."""
        return self._waiting_products + self.bisection.products

    def parts(self) -> list[Part]:
        return self.bisection.queued() + list(self.waiting)

    def heads(self) -> Iterable[Part]:
        """Yield the oldest part of each kind, which have the earliest deadlines."""
        yield from self.bisection.heads()
        if self.waiting:
            yield self.waiting[0]

    def append(self, part: Part) -> None:
        """Queue a new part. On the hot path."""
        self.waiting.append(part)
        self._waiting_products += len(part.products)

    def take_all(self) -> list[Part]:
        """Remove and return all parts: their client specification can no longer be called."""
        parts = self.bisection.take_all() + list(self.waiting)
        self.waiting.clear()
        self._waiting_products = 0
        return parts

    def drop_unsendable_head(self) -> None:
        """Forget parts at the head for which no call may start any more; of a bisection, all such parts."""
        while self.waiting and not self.waiting[0].sendable:
            self._waiting_products -= len(self.waiting.popleft().products)
        if not all(part.sendable for part in self.bisection.heads()):
            self.bisection.drop_unsendable()

    def drop_unsendable(self) -> None:
        """Forget such parts wherever they stand: an assignment has ended."""
        self.waiting = deque(part for part in self.waiting if part.sendable)
        self._waiting_products = _products_of(self.waiting)
        self.bisection.drop_unsendable()

    def restore_order(self) -> None:
        """Sort the waiting parts into the order of reading, which is that of each partition."""
        self.waiting = deque(sorted(self.waiting, key=lambda part: (part.request.read_at, part.request.record.offset)))

    # -- the next call ---------------------------------------------------------------------------------

    def fills_batch(self, limit: int) -> bool:
        """Return whether the waiting parts fill a whole batch, so that a further concurrent call is worth it."""
        return self._waiting_products >= min(limit, self._size.most)

    def cut(self, call_id: int, limit: int, in_flight: Products) -> Cut | None:
        """Take off the parts of the next call; ``None`` if all that wait conflict with calls in flight.

        ``in_flight`` are the products of all calls of the lane in flight.
        """
        policy = self._policy
        if self._searching < (policy.search_calls if self.fills_batch(limit) else policy.search_calls_most):
            return self._cut_search(call_id, limit, in_flight) or self._cut_batch(limit, in_flight)
        return self._cut_batch(limit, in_flight) or self._cut_search(call_id, limit, in_flight)

    def _cut_batch(self, limit: int, in_flight: Products) -> Cut | None:
        self.drop_unsendable_head()
        if self.waiting and len(self.waiting[0].products) > limit:
            self.waiting.extendleft(reversed(self.waiting.popleft().split(limit)))
        waited = len(self.waiting)
        cut = cut_batch(self.waiting, min(limit, self._size.most), in_flight, self.bisection.ids)
        if waited - len(self.waiting) == len(cut[0]):
            self._waiting_products -= _products_of(cut[0])
        else:  # some were no longer sendable
            self._waiting_products = _products_of(self.waiting)
        if not cut[0]:
            return None
        self._searching = 0
        return cut

    def _cut_search(self, call_id: int, limit: int, in_flight: Products) -> Cut | None:
        cut = self.bisection.next_call(call_id, limit, in_flight)
        if cut is not None:
            self._searching += 1
        return cut

    # -- calls that return -----------------------------------------------------------------------------

    def refusals_repeat(self, limit: int) -> bool:
        """Return whether refused batches are being searched, or made batches smaller than ``limit``."""
        return self._size.most < limit or self.bisection.products > 0

    def accepted(self, call_id: int, parts: int, products: int, limit: int) -> None:
        """Mirakl accepted a call with this many parts and products: batches may grow, or the search goes on."""
        if self.bisection.carries(call_id):
            self.bisection.accepted(call_id, parts, products, limit)
        else:
            self._size.accepted(parts, products, limit)

    def refused(self, call_id: int, carried: Sequence[Part], products: int, *, too_large: bool) -> bool:
        """Search the batch of a call of which Mirakl blames an entry; ``False`` if there is only one part to blame.

        ``products``: how many the call carried; ``too_large``: it was refused for its size. Parts for which no further
        call may start (their partition is being given up) stay unanswered: whether they are to blame is not known.
        """
        only = len(carried) == 1
        parts = [] if only else [part for part in carried if part.sendable]
        if self.bisection.carries(call_id):
            self.bisection.refused(call_id, parts, products, too_large=too_large)
        elif not only:
            self._size.refused(products)
            self.bisection.begin(parts, too_large=too_large)
        return not only

    def put_back(self, call_id: int, parts: Sequence[Part]) -> None:
        """Queue parts of a call where they came from: it failed, or its answer says nothing about its entries."""
        if self.bisection.carries(call_id):
            self.bisection.returned(call_id, list(parts))
        else:
            self.waiting.extendleft(reversed(parts))
            self._waiting_products += _products_of(parts)


def _products_of(parts: Iterable[Part]) -> int:
    return sum(map(len, map(_PRODUCTS, parts)))
