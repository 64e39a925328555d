"""One lane per client specification: its queue, its calls, its limits, its health.

A lane sends at once when it is idle. While calls are out, requests queue; the next call takes all that wait.
A further concurrent call starts when a whole batch waits, or when the calls that are out take longer than
calls of this lane usually do.

A batch refused for its entries (400, 413, 422) is searched by bisection, which gets a bounded share of the calls while
other requests wait. While refusals repeat, batches are smaller.
"""

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from operator import attrgetter

from consumer.domain.batching import cut_batch
from consumer.domain.calls import CallFailure
from consumer.domain.model import ClientSpecification, Products
from consumer.domain.retry import Backoff, TokenBucket, chance
from consumer.engine.dispatch.bisection import BatchSize, Bisection
from consumer.engine.requests import Part
from consumer.engine.status import LaneState

STALL_SECONDS = 5.0
"""With no call back for longer than this, and four times the usual one, a lane counts as stalled."""
HESITATION_SECONDS = 0.5
"""With no call back for this long, and four times the usual one, others need not share what little a lane may hold."""
STALL_FACTOR = 4.0
TAIL_FACTOR = 2.0
"""A call that takes this many times longer than usual no longer keeps the next batch waiting."""
OWN_TROUBLE_RETRY_SECONDS = 1.0
"""Until the next probe after a call that failed for lack of our own resources."""
TAIL_SECONDS = 0.1
"""No call counts as slow before this."""
THROTTLED_SECONDS = 5.0
"""A lane whose next call is further away than this has spent its quota; up to there it is merely slow."""
SEARCH_CALLS, SEARCH_CALLS_AT_MOST = 1, 3
"""Calls in a row that may carry requests of refused batches: half of all while a whole batch of others waits, and three
quarters while fewer wait, which fill up meanwhile."""
TYPICAL_WEIGHT = 0.2
"""Weight of the newest call in the running mean of call durations."""
CAUTION_SECONDS = 5.0
"""No call is expected to take less, as long as few have come back. Shrinks with each by ``LONGEST_KEPT``."""
CAUTION_SHARE = 0.5
"""Of the longest wait: what a call is expected to take before the first one has come back, and never more than that
while few have: one batch waits for each call in flight, and both meet any deadline that the first one meets."""
READ_AHEAD_SECONDS = 4.0
"""Work that a lane may have queued where its partitions feed no other lane: there a pause costs nobody anything, and
what is not read yet cannot miss a deadline when Mirakl becomes slower."""
READ_AHEAD_CALLS = 3.0
"""The same in calls one after the other, for slow ones."""
THROUGHPUT_WEIGHT = 0.05
"""Weight of the newest call in the running mean of products decided per call."""
LONGEST_KEPT = 0.9
"""Of the longest duration of a call that is remembered: what the next call leaves of it."""
SHORTEST_SECONDS = 0.001
"""No call is taken to last less."""


@dataclass(slots=True, eq=False)
class Call:
    """One CM21 call that is out."""

    call_id: int
    parts: list[Part]
    products: Products
    started_at: float


class Lane:
    """The queue of one client specification. Times are monotonic seconds."""

    def __init__(self, specification: ClientSpecification, now: float, backoff: Backoff, salt: str) -> None:
        self.specification = specification
        self.queue: deque[Part] = deque()
        self.calls: dict[int, Call] = {}
        self._in_flight: dict[str, str] = {}
        """The products of all calls that are out."""
        self._repeated: Counter[str] = Counter()
        """How many calls beyond one carry an id: exact repeats may be out at once."""
        self.typical: float | None = None
        self._longest = 0.0
        """Decaying maximum of recent call durations: what is promised to all that wait must hold for slow calls."""
        self._answers = 0
        """Calls that were answered."""
        self._heard_at = float("-inf")
        """When a call came back last."""
        self.room = 0.0
        """Products that may be queued before the lane is overfull."""
        self.gives_way = True
        """It may be unable to call, so no partition that feeds others as well is paused for it. As of the last tick."""
        self.shares = False
        """Some partition feeds it and others. As of the last tick."""
        self.sick_until: float | None = None
        self.trouble: str | None = None
        """How the last call failed, for people; ``None`` once one was answered."""
        self._failures = 0
        self._failed_at = 0.0
        self._ordered_until = 0.0
        self._backoff = backoff
        self._salt = salt
        self._bisection = Bisection()
        self._size = BatchSize()
        self._searching = 0
        """Calls in a row that carried requests of refused batches."""
        self._per_call = float(specification.products_per_call)
        """Running mean of the products that an answered call decides about, while refusals repeat."""
        self._bucket = _bucket(specification, now)

    def update(self, specification: ClientSpecification, now: float) -> None:
        """Take a newer row of the directory; one that was changed gets a fresh chance at once."""
        former, self.specification = self.specification, specification
        if former.calls_per_hour != specification.calls_per_hour:
            self._bucket = _bucket(specification, now)
        if former != specification:
            self._recover()

    # -- what waits ------------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Nothing waits and nothing is out."""
        return not (self.queue or self.calls or self._bisection.can_call)

    @property
    def depth(self) -> int:
        """Parts that wait for a call."""
        return len(self.queue) + self._bisection.depth

    @property
    def load(self) -> int:
        """Parts that wait or travel."""
        return self.depth + sum(len(call.parts) for call in self.calls.values())

    def waiting(self) -> list[Part]:
        """All parts that wait, those of refused batches first."""
        return self._bisection.waiting() + list(self.queue)

    def heads(self) -> Iterable[Part]:
        """Return the oldest part of each kind that waits."""
        yield from self._bisection.heads()
        if self.queue:
            yield self.queue[0]

    def take_all(self) -> list[Part]:
        """Empty the lane of all that waits."""
        parts = self._bisection.take_all() + list(self.queue)
        self.queue.clear()
        return parts

    def drop_withdrawn_head(self) -> None:
        """Forget parts that nobody waits for any more."""
        while self.queue and self.queue[0].withdrawn:
            self.queue.popleft()
        if any(part.withdrawn for part in self._bisection.heads()):
            self._bisection.drop_withdrawn()

    def drop_withdrawn(self) -> None:
        """Forget them wherever they stand: an assignment has ended."""
        self.queue = deque(part for part in self.queue if not part.withdrawn)
        self._bisection.drop_withdrawn()

    def restore_order(self) -> None:
        """Put what waits for its first call into the order of reading, which is that of each partition."""
        self.queue = deque(sorted(self.queue, key=_age))

    # -- health ----------------------------------------------------------------------------------------

    def can_call_at(self, now: float) -> float:
        """The earliest time known at which a call may start."""
        at = max(now, self.sick_until or now)
        return max(at, self._bucket.next_at(now)) if self._bucket else at

    def stalled(self, now: float) -> bool:
        """Tell whether no call has come back for so long that waiting would be waiting for a dead peer.

        A Mirakl that has neither answered nor failed yet may be slow: only the call's own timeout judges it.
        """
        if self.unheard and self.sick_until is None:
            return False
        return self._silent(now) > self._longer_than_usual(STALL_SECONDS)

    @property
    def unheard(self) -> bool:
        """Whether no call has ever been answered: how long they take is not known."""
        return self.typical is None

    def hesitates(self, now: float) -> bool:
        """Tell whether no call has come back for so long that the peer may be dead, which nobody knows yet."""
        return self._silent(now) > self._longer_than_usual(HESITATION_SECONDS)

    def is_due(self, call: Call, end: float, now: float) -> bool:
        """Return whether the answer of a call in flight is likely to come before ``end`` (monotonic seconds)."""
        expected = call.started_at + (self.typical or 0.0)
        return max(now, expected) <= end and self.state(now) is LaneState.HEALTHY and not self.hesitates(now)

    def _silent(self, now: float) -> float:
        """For how long calls have been out without one coming back: one that hangs among others says little."""
        return now - max(next(iter(self.calls.values())).started_at, self._heard_at) if self.calls else 0.0

    def _longer_than_usual(self, seconds: float) -> float:
        return max(seconds, STALL_FACTOR * (self.typical or 0.0))

    def state(self, now: float) -> LaneState:
        """How the lane stands towards its Mirakl."""
        if self.sick_until is not None:
            return LaneState.SICK
        if self.stalled(now):
            return LaneState.STALLED
        if self._bucket and self._bucket.next_at(now) > now + THROTTLED_SECONDS:
            return LaneState.THROTTLED
        return LaneState.HEALTHY

    def spare(self, longest_wait: float, ease: float, slots: int, now: float) -> float:
        """Return the products that may still be queued without any of them waiting for too long, as far as is known.

        ``longest_wait``: seconds that a request may be expected to wait; ``ease``: share of that which counts;
        ``slots``: calls that may be in flight at once, if the specification allows as many.
        """
        at_once = min(self.specification.concurrent_calls, slots)
        took = max(self._longest, self._silent(now), SHORTEST_SECONDS)
        rounds = longest_wait / max(took, self._caution(longest_wait))
        if not self.shares:
            rounds = min(rounds, max(READ_AHEAD_SECONDS / took, READ_AHEAD_CALLS))
        calls = (ease * rounds - 1) * at_once
        if self._bucket:
            calls = min(calls, ease * longest_wait * self._bucket.rate)
        queued = sum(map(len, map(_PRODUCTS, self.queue))) + self._bisection.products
        return calls * self._expected_products() - queued

    def _caution(self, longest_wait: float) -> float:
        """Return the seconds that a call is expected to take at least, as long as few have come back."""
        share = CAUTION_SHARE * longest_wait
        return share if self.unheard else min(share, CAUTION_SECONDS * LONGEST_KEPT**self._answers)

    def _expected_products(self) -> float:
        """Return the products that a call decides about: while refusals repeat, what the last calls did."""
        limit = self.specification.products_per_call
        return min(limit, max(1.0, self._per_call)) if self._refusals_repeat() else limit

    def _refusals_repeat(self) -> bool:
        return self._size.most < self.specification.products_per_call or self._bisection.products > 0

    # -- calls -----------------------------------------------------------------------------------------

    def next_call(self, call_id: int, now: float) -> Call | None:
        """Cut the next batch, if a call may start now."""
        if not self._may_start(now):
            return None
        if self._searching < (SEARCH_CALLS if self._whole_batch_waits() else SEARCH_CALLS_AT_MOST):
            call = self._next_search(call_id, now) or self._next_batch(call_id, now)
        else:
            call = self._next_batch(call_id, now) or self._next_search(call_id, now)
        if call is None:
            return None
        self.calls[call_id] = call
        self._repeated.update(self._in_flight.keys() & call.products)
        self._in_flight.update(call.products)
        if self._bucket:
            self._bucket.take(now)
        return call

    def wake_at(self, now: float) -> float | None:
        """When a call may become possible that is not possible now."""
        if not (self.queue or self._bisection.can_call):
            return None
        at = self.can_call_at(now)
        if at > now or not self.calls:
            return at
        return self._tail_at() if len(self.calls) < self.specification.concurrent_calls else None

    def finished(self, call_id: int, now: float) -> Call:
        """A call came back."""
        self._heard_at = now
        call = self.calls.pop(call_id)
        repeated = self._repeated.keys() & call.products
        self._repeated -= Counter(repeated)  # which drops those that are no longer
        for id_ in call.products.keys() - repeated:
            del self._in_flight[id_]
        return call

    def answered(self, call: Call, now: float) -> None:
        """Mirakl answered, whatever it said: the lane is well, unless Mirakl asked for a pause since."""
        self.trouble = None
        took = now - call.started_at
        self._longest = max(took, LONGEST_KEPT * self._longest)
        self._answers += 1
        self.typical = took if self.typical is None else self.typical + TYPICAL_WEIGHT * (took - self.typical)
        if now >= self._ordered_until:
            self._recover()

    def failed(self, call: Call, failure: CallFailure, now: float) -> None:
        """Put the parts back where they came from and fall sick, or stay so for longer."""
        if failure.ours is not None:  # which says nothing about Mirakl: a single probe soon
            self._failed_at = now
            self.sick_until = max(self.sick_until or now, now + OWN_TROUBLE_RETRY_SECONDS)
            self.trouble = failure.reason
            self._put_back(call, may_have_reached=failure.may_have_reached)
            return
        if failure.status == HTTPStatus.TOO_MANY_REQUESTS and self._bucket:
            self._bucket.empty(now)
        if call.started_at >= self._failed_at or self.sick_until is None:
            self._failures += 1
            self._failed_at = now
            delay = self._backoff.delay(self._failures, chance(self._salt, self.specification.id, self._failures))
            self.sick_until = max(self.sick_until or now, now + delay)
        self.trouble = failure.reason
        if failure.retry_after is not None:
            ordered = min(failure.retry_after, self._backoff.longest_ordered)
            self._ordered_until = max(self._ordered_until, now + ordered)
            self.sick_until = max(self.sick_until or now, self._ordered_until)
        self._put_back(call, may_have_reached=failure.may_have_reached)

    def accepted(self, call: Call) -> None:
        """Mirakl took the products of a call in."""
        limit = self.specification.products_per_call
        parts, products = len(call.parts), len(call.products)
        if self._bisection.carries(call.call_id):
            self._bisection.accepted(call.call_id, parts, products, limit)
        else:
            self._size.accepted(parts, products, limit)
        self._decided(products)

    def refused(self, call: Call, *, too_large: bool) -> bool:
        """Mirakl blames an entry of the batch: search for it. ``False`` where there is only one part to blame.

        Parts that no further call may start for (their partition is being given up) stay unanswered: whether they
        are to blame is not known.
        """
        only = len(call.parts) == 1
        parts = [] if only else [part for part in call.parts if not part.withdrawn]
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

    # -- inside ----------------------------------------------------------------------------------------

    def _may_start(self, now: float) -> bool:
        if not (self.queue or self._bisection.can_call) or self.can_call_at(now) > now:
            return False
        if not self.calls:
            return True
        if len(self.calls) >= self.specification.concurrent_calls:
            return False
        if self.sick_until is not None:  # a single probe, beside what went out before the failure
            return all(call.started_at < self._failed_at for call in self.calls.values())
        return self._bisection.can_call or self._whole_batch_waits() or now >= self._tail_at()

    def _decided(self, products: int) -> None:
        former = self._per_call if self._refusals_repeat() else self.specification.products_per_call
        self._per_call = former + THROUGHPUT_WEIGHT * (products - former)

    def _whole_batch_waits(self) -> bool:
        wanted, limit = 0, min(self.specification.products_per_call, self._size.most)
        if len(self.queue) >= limit:  # each brings one at least
            return True
        for part in self.queue:
            wanted += len(part.products)
            if wanted >= limit:
                return True
        return False

    def _tail_at(self) -> float:
        """When the call that went out last counts as slow."""
        newest = next(reversed(self.calls.values()))
        return newest.started_at + max(TAIL_SECONDS, TAIL_FACTOR * (self.typical or 0.0))

    def _next_batch(self, call_id: int, now: float) -> Call | None:
        self._split_head()
        limit = min(self.specification.products_per_call, self._size.most)
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

    def _split_head(self) -> None:
        limit = self.specification.products_per_call
        self.drop_withdrawn_head()
        if self.queue and len(self.queue[0].products) > limit:
            self.queue.extendleft(reversed(self.queue.popleft().split(limit)))

    def _put_back(self, call: Call, *, may_have_reached: bool) -> None:
        parts = [part for part in call.parts if not part.withdrawn]
        for part in parts:
            part.may_have_reached |= may_have_reached
            part.request.may_have_reached |= may_have_reached
        if self._bisection.carries(call.call_id):
            self._bisection.returned(call.call_id, parts)
        else:
            self.queue.extendleft(reversed(parts))

    def _recover(self) -> None:
        self._failures = 0
        self._ordered_until = 0.0
        self.sick_until = None


_PRODUCTS = attrgetter("products")


def _age(part: Part) -> tuple[float, int]:
    return part.request.read_at, part.request.record.offset


def _bucket(specification: ClientSpecification, now: float) -> TokenBucket | None:
    return None if specification.calls_per_hour is None else TokenBucket(specification.calls_per_hour, now)
