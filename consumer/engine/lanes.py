"""One lane per client specification: its queue, its calls, its limits, its health.

A lane sends at once when it is idle. While calls are out, requests queue; the next call takes all that wait.
A further concurrent call starts when a whole batch waits, or when the calls that are out take longer than
calls of this lane usually do.

A batch refused for its entries (400, 413, 422) is searched by halves within a budget of extra calls; what is
left when the budget is spent travels in small groups, then alone, in turn with what else waits.
"""

from collections import Counter, deque
from dataclasses import dataclass
from http import HTTPStatus
from operator import attrgetter

from consumer.domain.batching import cut_batch
from consumer.domain.calls import CallFailure
from consumer.domain.model import ClientSpecification, Products
from consumer.domain.retry import Backoff, TokenBucket, chance
from consumer.engine.status import LaneState
from consumer.engine.work import Part

STALL_SECONDS = 5.0
"""With no call back for longer than this, and four times the usual one, a lane counts as stalled."""
HESITATION_SECONDS = 0.5
"""With no call back for this long, and four times the usual one, others need not share what little a lane may hold."""
STALL_FACTOR = 4.0
TAIL_FACTOR = 2.0
"""A call that takes this many times longer than usual no longer keeps the next batch waiting."""
TAIL_SECONDS = 0.1
"""No call counts as slow before this."""
THROTTLED_SECONDS = 5.0
"""A lane whose next call is further away than this has spent its quota; up to there it is merely slow."""
HALVES = 2
"""A refused batch is sent again in so many pieces."""
SMALL_GROUP = 8
"""Parts that travel together when the budget of a search is spent."""
TYPICAL_WEIGHT = 0.2
"""Weight of the newest call in the running mean of call durations."""
UNKNOWN_SECONDS = 5.0
"""What a call is taken to last as long as nothing is known."""
LONGEST_KEPT = 0.9
"""Of the longest duration of a call that is remembered: what the next call leaves of it."""
SHORTEST_SECONDS = 0.001
"""No call is taken to last less."""


@dataclass(slots=True)
class Search:
    """The search for the entries that made Mirakl refuse a batch."""

    budget: int
    """Extra calls left."""


@dataclass(slots=True)
class Group:
    """Parts that travel together and with nobody else, since one of them is suspected."""

    parts: list[Part]
    search: Search


@dataclass(slots=True, eq=False)
class Call:
    """One CM21 call that is out."""

    call_id: int
    parts: list[Part]
    products: Products
    started_at: float
    search: Search | None = None


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
        self._longest = UNKNOWN_SECONDS
        """What the slower ones of the newest calls took: what is promised to all that wait must hold for those."""
        self._heard_at = float("-inf")
        """When a call came back last."""
        self.room = 0.0
        """Products that may be queued before the lane is overfull."""
        self.sick_until: float | None = None
        self.trouble: str | None = None
        """How the last call failed, for people; ``None`` once one was answered."""
        self._failures = 0
        self._failed_at = 0.0
        self._ordered_until = 0.0
        self._backoff = backoff
        self._salt = salt
        self._suspects: deque[Group] = deque()
        self._suspect_ids: Counter[str] = Counter()
        self._suspects_turn = False
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
        return not (self.queue or self.calls or self._suspects)

    @property
    def depth(self) -> int:
        """Parts that wait for a call."""
        return len(self.queue) + sum(len(group.parts) for group in self._suspects)

    @property
    def load(self) -> int:
        """Parts that wait or travel."""
        return self.depth + sum(len(call.parts) for call in self.calls.values())

    def waiting(self) -> list[Part]:
        """All parts that wait, the oldest first."""
        return [part for group in self._suspects for part in group.parts] + list(self.queue)

    def take_all(self) -> list[Part]:
        """Empty the lane of all that waits."""
        parts = self.waiting()
        self.queue.clear()
        self._suspects.clear()
        self._suspect_ids.clear()
        return parts

    def drop_withdrawn_head(self) -> None:
        """Forget parts that nobody waits for any more."""
        while self.queue and self.queue[0].withdrawn:
            self.queue.popleft()

    def drop_withdrawn(self) -> None:
        """Forget them wherever they stand in the queue: an assignment has ended."""
        self.queue = deque(part for part in self.queue if not part.withdrawn)
        groups = [Group([part for part in group.parts if not part.withdrawn], group.search) for group in self._suspects]
        self._suspects = deque(group for group in groups if group.parts)
        self._suspect_ids = Counter(id_ for group in self._suspects for part in group.parts for id_ in part.products)

    def restore_order(self) -> None:
        """Put what waits for its first call into the order of reading, which is that of each partition."""
        self.queue = deque(sorted(self.queue, key=_age))

    # -- health ----------------------------------------------------------------------------------------

    def can_call_at(self, now: float) -> float:
        """The earliest time known at which a call may start."""
        at = max(now, self.sick_until or now)
        return max(at, self._bucket.next_at(now)) if self._bucket else at

    def stalled(self, now: float) -> bool:
        """Tell whether no call has come back for so long that waiting would be waiting for a dead peer."""
        return self._silent(now) > self._longer_than_usual(STALL_SECONDS)

    def hesitates(self, now: float) -> bool:
        """Tell whether no call has come back for so long that the peer may be dead, which nobody knows yet."""
        return self._silent(now) > self._longer_than_usual(HESITATION_SECONDS)

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

    def spare(self, seconds: float, slots: int) -> float:
        """Products that may still be queued without any of them waiting for longer, as far as the past tells.

        ``slots``: calls that may be out at once, if the specification allows as many.
        """
        at_once = min(self.specification.concurrent_calls, slots)
        calls = (seconds / max(self._longest, SHORTEST_SECONDS) - 1) * at_once
        if self._bucket:
            calls = min(calls, seconds * self._bucket.rate)
        return calls * self.specification.products_per_call - sum(map(len, map(_PRODUCTS, self.queue)))

    # -- calls -----------------------------------------------------------------------------------------

    def next_call(self, call_id: int, now: float) -> Call | None:
        """Cut the next batch, if a call may start now."""
        if not self._may_start(now):
            return None
        call = self._next_group(call_id, now) or self._next_batch(call_id, now) or self._next_group(call_id, now)
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
        if not (self.queue or self._suspects):
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
        self.typical = took if self.typical is None else self.typical + TYPICAL_WEIGHT * (took - self.typical)
        if now >= self._ordered_until:
            self._recover()

    def failed(self, call: Call, failure: CallFailure, now: float) -> None:
        """Put the parts back where they came from and fall sick, or stay so for longer."""
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

    def refused(self, call: Call) -> bool:
        """Mirakl blames an entry of the batch: search for it. ``False`` where there is only one part to blame.

        Parts that no further call may start for (their partition is being given up) stay unanswered: whether they
        are to blame is not known.
        """
        parts = [part for part in call.parts if not part.withdrawn]
        if len(call.parts) == 1:
            return False
        if not parts:
            return True
        search = call.search or Search(2 * (len(parts) - 1).bit_length() + 2)
        size = (len(parts) + 1) // HALVES
        if search.budget < HALVES:
            size = min(size, SMALL_GROUP) if len(parts) > SMALL_GROUP else 1
        else:
            search.budget -= HALVES
        groups = [Group(parts[start : start + size], search) for start in range(0, len(parts), size)]
        for group in reversed(groups):
            self._suspect(group)
        return True

    # -- inside ----------------------------------------------------------------------------------------

    def _may_start(self, now: float) -> bool:
        if not (self.queue or self._suspects) or self.can_call_at(now) > now:
            return False
        if not self.calls:
            return True
        if len(self.calls) >= self.specification.concurrent_calls:
            return False
        if self.sick_until is not None:  # a single probe, beside what went out before the failure
            return all(call.started_at < self._failed_at for call in self.calls.values())
        return bool(self._suspects) or self._whole_batch_waits() or now >= self._tail_at()

    def _whole_batch_waits(self) -> bool:
        wanted, limit = 0, self.specification.products_per_call
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
        limit = self.specification.products_per_call
        parts, products = cut_batch(self.queue, limit, self._in_flight, self._suspect_ids)
        self._suspects_turn = True
        return Call(call_id, parts, products, now) if parts else None

    def _split_head(self) -> None:
        limit = self.specification.products_per_call
        self.drop_withdrawn_head()
        if self.queue and len(self.queue[0].products) > limit:
            self.queue.extendleft(reversed(self.queue.popleft().split(limit)))

    def _next_group(self, call_id: int, now: float) -> Call | None:
        """The oldest group of suspects that conflicts with no call that is out."""
        while self._suspects and self._suspects_turn:
            group = self._suspects.popleft()
            self._suspect_ids -= Counter(id_ for part in group.parts for id_ in part.products)
            parts, products = cut_batch(deque(group.parts), _NO_LIMIT, self._in_flight)
            alive = [part for part in group.parts if not part.withdrawn]
            if alive and len(parts) < len(alive):
                self._suspect(group)
                return None
            if len(products) > self.specification.products_per_call:
                for smaller in self._cut_again(group):
                    self._suspect(smaller)
                continue
            if parts:
                self._suspects_turn = group.search.budget > 0
                return Call(call_id, parts, products, now, group.search)
        return None

    def _cut_again(self, group: Group) -> list[Group]:
        """Cut a group that was made when a call could carry more; the last piece comes first."""
        limit = self.specification.products_per_call
        pieces = deque(
            piece for part in group.parts for piece in (part.split(limit) if len(part.products) > limit else [part])
        )
        groups: list[Group] = []
        while pieces:
            parts, _ = cut_batch(pieces, limit, {})
            groups.insert(0, Group(parts, group.search))
        return groups

    def _suspect(self, group: Group) -> None:
        self._suspects.appendleft(group)
        self._suspects_turn = True
        self._suspect_ids.update(id_ for part in group.parts for id_ in part.products)

    def _put_back(self, call: Call, *, may_have_reached: bool) -> None:
        parts = [part for part in call.parts if not part.withdrawn]
        for part in parts:
            part.may_have_reached |= may_have_reached
            part.request.may_have_reached |= may_have_reached
        if call.search is not None:
            if parts:
                self._suspect(Group(parts, call.search))
        else:
            self.queue.extendleft(reversed(parts))

    def _recover(self) -> None:
        self._failures = 0
        self._ordered_until = 0.0
        self.sick_until = None


_NO_LIMIT = 1 << 60
_PRODUCTS = attrgetter("products")


def _age(part: Part) -> tuple[float, int]:
    return part.request.read_at, part.request.record.offset


def _bucket(specification: ClientSpecification, now: float) -> TokenBucket | None:
    return None if specification.calls_per_hour is None else TokenBucket(specification.calls_per_hour, now)
