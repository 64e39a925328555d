"""Bisection: finds the requests that made Mirakl refuse a batch (400, 413, 422).

The first half of a refused batch is sent by itself. If that is accepted, the second half holds a bad request and is
split at once. If it is refused, the search continues in the first half, and nothing is known about the second: its
requests join the *leftovers*, which travel in batches of their own, first in, first out. So one bad request among ``n``
is found with at most ``ceil(log2 n) + 1`` calls, and its leftovers cost at most as many. A batch refused for its size
(413) says nothing about either half: both are sent.

Batch sizes follow the refusals, by additive increase and multiplicative decrease.
"""

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from consumer.domain.batching import LOOKAHEAD, cut_batch
from consumer.domain.model import Products
from consumer.engine.policy import Policy
from consumer.engine.requests import Part

UNLIMITED = 1 << 60

Cut = tuple[list[Part], dict[str, str]]
"""The parts of a call, and their products."""


class BatchSize:
    """Products per batch while refusals repeat: additive increase, multiplicative decrease."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.most = UNLIMITED

    def refused(self, products: int) -> None:
        """Make batches smaller, by the policy's ``batch_decrease``: one of so many products was refused."""
        self.most = max(1, int(self._policy.batch_decrease * min(products, self.most)))

    def accepted(self, parts: int, products: int, limit: int) -> None:
        """Make batches larger by some requests of the size of these; from ``limit`` products on there is no bound."""
        self.most += self._policy.batch_increase * -(-products // max(1, parts))
        if self.most >= limit:
            self.most = UNLIMITED


@dataclass(slots=True)
class Group:
    """Parts of a refused batch that are sent together, and with no others."""

    parts: list[Part]
    rest: list[Part] = field(default_factory=list)
    """The other half: refused for certain if ``parts`` are accepted, leftovers otherwise."""


class Bisection:
    """All bisections of one lane. Each of its calls carries a group or leftovers."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.ids: Counter[str] = Counter()
        """Mirakl ids of all parts that wait here: nothing newer may overtake them."""
        self.products = 0
        """Products of all parts that wait here."""
        self.size = BatchSize(policy)
        """Of the batches of leftovers."""
        self._groups: deque[Group] = deque()
        self._leftovers: deque[Part] = deque()
        self._in_flight: dict[int, Group | None] = {}
        """Call number -> the group in flight, whose rest waits here; ``None``: leftovers."""
        self._groups_in_a_row = 0

    # -- what waits ------------------------------------------------------------------------------------

    @property
    def can_call(self) -> bool:
        return bool(self._groups or self._leftovers)

    @property
    def depth(self) -> int:
        """Number of parts that wait here, the other halves of groups in flight included."""
        if not (self._groups or self._in_flight):
            return len(self._leftovers)
        return len(self._leftovers) + sum(len(group.parts) for group in self._groups) + sum(map(len, self._rests()))

    def queued(self) -> list[Part]:
        parts = [part for group in self._groups for part in (*group.parts, *group.rest)]
        parts += [part for group in self._in_flight.values() if group is not None for part in group.rest]
        return parts + list(self._leftovers)

    def heads(self) -> Iterable[Part]:
        """Yield the oldest group's first part and the first leftover, which have the earliest deadlines."""
        if self._groups:
            yield self._groups[0].parts[0]
        if self._leftovers:
            yield self._leftovers[0]

    def take_all(self) -> list[Part]:
        """Remove and return all parts; calls in flight are not affected."""
        parts = self.queued()
        self._groups.clear()
        self._leftovers.clear()
        for call_id in self._in_flight:
            self._in_flight[call_id] = None
        self.ids.clear()
        self.products = 0
        return parts

    def drop_unsendable(self) -> None:
        """Forget parts for which no call may start any more; what is left of their groups goes on."""
        for part in [part for part in self.queued() if not part.sendable]:
            self._left(part)
        for group in [*self._groups, *filter(None, self._in_flight.values())]:
            group.rest = [part for part in group.rest if part.sendable]
        for group in self._groups:
            group.parts = [part for part in group.parts if part.sendable]
        for group in [group for group in self._groups if not group.parts]:
            self._leftovers.extend(group.rest)
        self._groups = deque(group for group in self._groups if group.parts)
        self._leftovers = deque(part for part in self._leftovers if part.sendable)

    # -- calls -----------------------------------------------------------------------------------------

    def begin(self, parts: list[Part], *, too_large: bool) -> None:
        """Begin with a refused batch; ``too_large``: refused for its size, so that either half may be accepted."""
        for part in parts:
            self._entered(part)
        self._split(parts, first=False, too_large=too_large)

    def next_call(self, call_id: int, limit: int, in_flight: Products) -> Cut | None:
        """Cut the next call of at most ``limit`` products, groups first, unless leftovers fill one."""
        if len(self._leftovers) >= min(limit, self.size.most) or self._groups_in_a_row >= self._policy.groups_in_a_row:
            found = self._next_leftovers(call_id, limit, in_flight) or self._next_group(call_id, limit, in_flight)
        else:
            found = self._next_group(call_id, limit, in_flight) or self._next_leftovers(call_id, limit, in_flight)
        if found is not None:
            self._groups_in_a_row = 0 if self._in_flight[call_id] is None else self._groups_in_a_row + 1
        return found

    def carries(self, call_id: int) -> bool:
        """Return whether a call in flight is one of a bisection, so that its end has to be told here."""
        return call_id in self._in_flight

    def accepted(self, call_id: int, parts: int, products: int, limit: int) -> None:
        """Mirakl accepted a call: the bad request of the group's batch is in its other half."""
        group = self._in_flight.pop(call_id)
        if group is None:
            self.size.accepted(parts, products, limit)
        elif group.rest:
            self._split(group.rest, first=True, too_large=False)

    def refused(self, call_id: int, parts: list[Part], products: int, *, too_large: bool) -> None:
        """Mirakl refused a call; ``parts``: those to be split further, none if the call carried only one."""
        group = self._in_flight.pop(call_id)
        for part in parts:
            self._entered(part)
        if group is None:
            self.size.refused(products)
        else:
            self._leftovers.extend(group.rest)
        self._split(parts, first=group is not None, too_large=too_large)

    def returned(self, call_id: int, parts: list[Part]) -> None:
        """A call failed, or its answer says nothing about its entries: ``parts`` are to be sent again."""
        group = self._in_flight.pop(call_id)
        for part in parts:
            self._entered(part)
        if group is None or not parts:
            self._leftovers.extendleft(reversed(parts))
            self._leftovers.extend(group.rest if group is not None else ())
        else:
            self._groups.appendleft(Group(parts, group.rest))

    # -- inside ----------------------------------------------------------------------------------------

    def _rests(self) -> Iterable[list[Part]]:
        yield from (group.rest for group in self._groups)
        yield from (group.rest for group in self._in_flight.values() if group is not None)

    def _split(self, parts: list[Part], *, first: bool, too_large: bool) -> None:
        """Split parts that wait here already; ``first``: before all other groups, since they are older."""
        parts = self._sendable(parts)
        if not parts:
            return
        half = (len(parts) + 1) // 2
        groups = [Group(parts[:half], parts[half:])]
        if too_large:
            groups = [Group(each) for each in (parts[:half], parts[half:]) if each]
        if first:
            self._groups.extendleft(reversed(groups))
        else:
            self._groups.extend(groups)

    def _next_group(self, call_id: int, limit: int, in_flight: Products) -> Cut | None:
        while self._groups:
            group = self._groups[0]
            parts = group.parts = self._sendable(group.parts)
            products = {id_: sku for part in parts for id_, sku in part.products.items()}
            if not parts or len(products) > limit:  # a call could carry more when it was made
                self._leftovers.extend([*parts, *group.rest])
                self._groups.popleft()
                continue
            if any(in_flight.get(id_, sku) != sku for id_, sku in products.items()):
                return None
            self._groups.popleft()
            self._in_flight[call_id] = Group([], group.rest)
            for part in parts:
                self._left(part)
            return parts, products
        return None

    def _next_leftovers(self, call_id: int, limit: int, in_flight: Products) -> Cut | None:
        head: deque[Part] = deque()
        while self._leftovers and len(head) < limit + LOOKAHEAD:
            head.extend(self._sendable([self._leftovers.popleft()]))
        if head and len(head[0].products) > limit:
            head.extendleft(reversed(head.popleft().split(limit)))
        parts, products = cut_batch(head, min(limit, self.size.most), in_flight)
        self._leftovers.extendleft(reversed(head))
        if not parts:
            return None
        self._in_flight[call_id] = None
        for part in parts:
            self._left(part)
        return parts, products

    def _sendable(self, parts: Iterable[Part]) -> list[Part]:
        sendable = []
        for part in parts:
            if part.sendable:
                sendable.append(part)
            else:
                self._left(part)
        return sendable

    def _entered(self, part: Part) -> None:
        self.products += len(part.products)
        self.ids.update(part.products.keys())

    def _left(self, part: Part) -> None:
        self.products -= len(part.products)
        self.ids.subtract(part.products.keys())
        for id_ in part.products:
            if not self.ids[id_]:
                del self.ids[id_]
