"""Lanes, one per client specification: the start of their calls, and the effect of each call's end.

An idle lane sends at once. While calls are in flight, requests queue; the next call takes all that wait. A further
concurrent call starts when a whole batch waits, or when the newest call takes longer than calls of this lane usually
do. The lane's queue (``lane_queue``) decides which parts a call carries.
"""

from collections import Counter
from dataclasses import dataclass

from consumer.domain.calls import CallFailure
from consumer.domain.model import ClientSpecification, Products
from consumer.domain.retry import Backoff
from consumer.engine.dispatch.health import LaneHealth
from consumer.engine.dispatch.lane_queue import LaneQueue
from consumer.engine.policy import Policy
from consumer.engine.requests import Part


@dataclass(slots=True, eq=False)
class Call:
    """One CM21 call in flight: its number, the parts that it carries and their distinct products."""

    call_id: int
    parts: list[Part]
    products: Products
    started_at: float
    """Monotonic seconds."""


class Lane:
    """The queue, the calls and the health of one client specification. Times are monotonic seconds.

    ``room`` is the number of products that it may still get; if it is negative, the partitions that feed it are paused
    (``back_pressure``).
    """

    def __init__(
        self, specification: ClientSpecification, now: float, policy: Policy, backoff: Backoff, salt: str
    ) -> None:
        self.specification = specification
        self.quota = specification.quota
        """This process's part of the quotas; calls in flight beyond it are not cancelled."""
        self.queue = LaneQueue(policy)
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
        self._per_call = float(specification.products_per_call)
        """Running mean of the products that an answered call decides about, while refusals repeat."""

    def update(self, specification: ClientSpecification, now: float) -> None:
        """Take a newer row of the directory, or another part: both count from the next call on."""
        former, self.specification = self.specification, specification
        self.quota = specification.quota
        self.health.update(former, specification, now)

    @property
    def idle(self) -> bool:
        return not (self.calls or self.queue.can_call)

    @property
    def load(self) -> int:
        """Parts that are queued or in flight."""
        return self.queue.depth + sum(len(call.parts) for call in self.calls.values())

    @property
    def expected_products(self) -> float:
        """Products that a call decides about: while refusals repeat, as many as the last calls did."""
        limit = self.specification.products_per_call
        return min(limit, max(1.0, self._per_call)) if self.queue.refusals_repeat(limit) else limit

    # -- calls that start ------------------------------------------------------------------------------

    def next_call(self, call_id: int, now: float) -> Call | None:
        """Cut the next batch and count it as in flight, if a call may start now."""
        if not self._may_start(now):
            return None
        cut = self.queue.cut(call_id, self.specification.products_per_call, self._in_flight)
        if cut is None:
            return None
        call = Call(call_id, *cut, now)
        self.calls[call_id] = call
        self._repeated.update(self._in_flight.keys() & call.products)
        self._in_flight.update(call.products)
        self.health.call_started(now)
        return call

    def wake_at(self, now: float) -> float | None:
        """Return when a call may become possible that is not possible now; ``None``: no time is known."""
        if not self.queue.can_call:
            return None
        at = self.health.can_call_at(now)
        if at > now or not self.calls:
            return at
        return self.health.slow_at() if len(self.calls) < self.quota.concurrent_calls else None

    def _may_start(self, now: float) -> bool:
        queue, health = self.queue, self.health
        if not queue.can_call or health.can_call_at(now) > now:
            return False
        if not self.calls:
            return True
        if len(self.calls) >= self.quota.concurrent_calls:
            return False
        if health.sick_until is not None:
            return health.may_probe()
        return (
            queue.bisection.can_call
            or queue.fills_batch(self.specification.products_per_call)
            or now >= health.slow_at()
        )

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
        parts = [part for part in call.parts if part.sendable]
        for part in parts:
            part.may_have_reached |= failure.may_have_reached
        self.queue.put_back(call.call_id, parts)

    def accepted(self, call: Call) -> None:
        """Mirakl accepted the products of a call: the lane may cut larger batches again."""
        products = len(call.products)
        self.queue.accepted(call.call_id, len(call.parts), products, self.specification.products_per_call)
        self._decided(products)

    def refused(self, call: Call, *, too_large: bool) -> bool:
        """Search the batch of a call of which Mirakl blames an entry; ``False`` if there is only one part to blame."""
        searched = self.queue.refused(call.call_id, call.parts, len(call.products), too_large=too_large)
        self._decided(0 if searched else len(call.products))
        return searched

    def rejected(self, call: Call) -> None:
        """Mirakl answered a call, and not about its entries: all its parts get that answer."""
        self.queue.put_back(call.call_id, [])

    def _decided(self, products: int) -> None:
        limit = self.specification.products_per_call
        former = self._per_call if self.queue.refusals_repeat(limit) else limit
        self._per_call = former + self._policy.throughput_weight * (products - former)
