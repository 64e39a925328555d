"""Order of one Mirakl id within a partition while older requests are undecided.

The contract promises that the same Mirakl id with different SKUs is pushed in partition order. Lanes keep that order
for the requests that they hold. A request that still waits (for its writer schema, for a confirmed directory, or
behind another request) is in no lane, so a newer one that may name one of its ids waits behind it.

The ids of a request without a known writer schema are not known, but every Avro encoding contains a string as its UTF-8
bytes. So a newer request can only be in conflict if the encoding of one of its ids occurs in the older value: there may
be false alarms, but no conflict is missed. Requests of different tenants use different client
specifications and cannot be in conflict; a request whose key is not known yet may belong to any tenant.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from consumer.domain.model import Products
from consumer.engine.policy import Policy
from consumer.engine.records import Record

Encodings: TypeAlias = Callable[[str], Sequence[bytes]]
"""Return byte strings of which at least one is part of every value in which this string occurs."""


_DEFAULT = Policy()


def plain_encodings(text: str) -> Sequence[bytes]:
    """Return the UTF-8 bytes: part of every value, whatever the format adds around them."""
    return (text.encode(),)


class Ordered(Protocol):
    """A request with a place (offset) in the order of its partition, as far as ``Precedence`` looks at it."""

    @property
    def record(self) -> Record: ...

    @property
    def tenant(self) -> str | None: ...

    @property
    def products(self) -> Products: ...


OrderedT = TypeVar("OrderedT", bound=Ordered)


@dataclass(slots=True, eq=False)
class _Entry(Generic[OrderedT]):
    request: OrderedT
    tenant: str | None
    ids: Iterable[str]
    """Mirakl ids as far as they are known; empty: only the value tells."""
    followers: list[tuple[OrderedT, float]] = field(default_factory=list)
    """Requests that wait behind this one, and since when."""


class _Group:
    """Undecided requests of one tenant, or of keys that are not known yet. All lists of offsets are sorted."""

    __slots__ = ("_named", "_policy", "_stale", "_unread", "_unread_bytes", "_values", "offsets")

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.offsets: list[int] = []
        self._named: dict[str, list[int]] = {}
        self._unread: list[int] = []
        self._unread_bytes = 0
        self._values = bytearray()
        """All unread values, for one fast search that mostly finds nothing."""
        self._stale = False

    def add(self, entry: _Entry[Any]) -> None:
        offset = entry.request.record.offset
        insort(self.offsets, offset)
        for id_ in entry.ids:
            insort(self._named.setdefault(id_, []), offset)
        if not entry.ids:
            insort(self._unread, offset)
            value = entry.request.record.value or b""
            self._unread_bytes += len(value)
            self._values += value

    def remove(self, entry: _Entry[Any]) -> None:
        offset = entry.request.record.offset
        _take_out(self.offsets, offset)
        for id_ in entry.ids:
            offsets = self._named[id_]
            _take_out(offsets, offset)
            if not offsets:
                del self._named[id_]
        if not entry.ids:
            _take_out(self._unread, offset)
            self._unread_bytes -= len(entry.request.record.value or b"")
            self._stale = True

    def newest_conflict(
        self, request: Ordered, needles: Sequence[bytes], entries: Mapping[int, _Entry[Any]]
    ) -> tuple[int, int]:
        """Return the newest older offset that may name one of the ids (-1: none), and the bytes searched."""
        offset = request.record.offset
        older = bisect_left(self.offsets, offset)
        if not older:
            return -1, 0
        newest = max((self._newest_named(id_, offset) for id_ in request.products if id_ in self._named), default=-1)
        unread = bisect_left(self._unread, offset)
        if not unread or self._unread[unread - 1] < newest:
            return newest, 0
        wanted = self._unread_bytes * len(needles)
        if self._unread_bytes > self._policy.unread_bytes or wanted > self._policy.searched_bytes:
            return self.offsets[older - 1], 0
        if self._stale:
            self._values = bytearray().join(entries[each].request.record.value or b"" for each in self._unread)
            self._stale = False
        values = self._values
        if not any(needle in values for needle in needles):
            return newest, wanted
        for each in reversed(self._unread[:unread]):
            value = entries[each].request.record.value or b""
            if each < newest:
                break
            if any(needle in value for needle in needles):
                newest = each
                break
        return newest, 2 * wanted

    def _newest_named(self, id_: str, offset: int) -> int:
        offsets = self._named[id_]
        at = bisect_left(offsets, offset)
        return offsets[at - 1] if at else -1


class Precedence(Generic[OrderedT]):
    """The undecided requests of one assignment, and the requests that wait behind each.

    A newer request waits behind an undecided one that may name one of its Mirakl ids, so that the partition's order is
    kept.
    """

    __slots__ = ("_encodings", "_groups", "_policy", "searched", "undecided")

    def __init__(self, encodings: Encodings = plain_encodings, policy: Policy = _DEFAULT) -> None:
        self._encodings = encodings
        self._policy = policy
        self._groups: dict[str | None, _Group] = {}
        self.undecided: dict[int, _Entry[OrderedT]] = {}
        """By offset."""
        self.searched = 0
        """Bytes searched in all."""

    def add(self, request: OrderedT) -> None:
        """Add a request that is undecided, or still is; the requests behind it stay there."""
        former = self.undecided.get(request.record.offset)
        entry = _Entry(request, request.tenant, tuple(request.products))
        if former is not None:
            self._leave_group(former)
            entry.followers = former.followers
        self.undecided[request.record.offset] = entry
        self._groups.setdefault(entry.tenant, _Group(self._policy)).add(entry)

    def remove(self, request: OrderedT) -> Sequence[tuple[OrderedT, float]]:
        """Remove a request that is decided, or in conflict with none; return who waited behind it, and since when."""
        entry = self.undecided.pop(request.record.offset, None)
        if entry is None:
            return ()
        self._leave_group(entry)
        return entry.followers

    def conflict(self, request: OrderedT) -> OrderedT | None:
        """Return the newest undecided request that is older and may name one of the ids of this one; ``None``: none."""
        needles: list[bytes] = []
        newest = -1
        for tenant in (request.tenant, None):
            group = self._groups.get(tenant)
            if group is not None:
                needles = needles or [each for id_ in request.products for each in self._encodings(id_)]
                found, searched = group.newest_conflict(request, needles, self.undecided)
                newest = max(newest, found)
                self.searched += searched
        return self.undecided[newest].request if newest >= 0 else None

    def wait_behind(self, older: OrderedT, request: OrderedT, clock: float) -> None:
        """Have ``request`` wait until ``older`` is decided; ``clock``: the pausable clock's time, in seconds."""
        self.add(request)
        self.undecided[older.record.offset].followers.append((request, clock))

    def behind(self) -> Iterator[OrderedT]:
        return (follower for entry in self.undecided.values() for follower, _ in entry.followers)

    def _leave_group(self, entry: _Entry[OrderedT]) -> None:
        group = self._groups[entry.tenant]
        group.remove(entry)
        if not group.offsets:
            del self._groups[entry.tenant]


def _take_out(offsets: list[int], offset: int) -> None:
    del offsets[bisect_left(offsets, offset)]
