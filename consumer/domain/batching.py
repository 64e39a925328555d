"""Batching: which queued parts the next CM21 call carries.

Natural batching: the next call takes all that are queued, up to the limit of products. Exact repeats are sent once.
One call, or concurrent ones, never carry the same Mirakl id with two SKUs. A part that has to wait for that reason also
holds back every later part that names one of its ids, so the order of a partition is kept.
"""

from collections import deque
from collections.abc import Iterable
from typing import Protocol, TypeVar

from consumer.domain.model import Products

LOOKAHEAD = 256
"""Parts that one cut may leave behind: a queue full of conflicts costs no more than this to look through."""


class Travels(Protocol):
    """A part that can be put into a batch: all that ``cut_batch`` needs to know of it."""

    @property
    def products(self) -> Products: ...

    @property
    def sendable(self) -> bool: ...


PartT = TypeVar("PartT", bound=Travels)


def cut_batch(
    queue: deque[PartT], limit: int, in_flight: Products, held: Iterable[str] = ()
) -> tuple[list[PartT], dict[str, str]]:
    """Take the parts of the next call off the queue; parts that are no longer sendable fall away.

    ``in_flight`` are the products of all calls in flight, ``held`` Mirakl ids that something older waits
    with. A part larger than the limit travels by itself if it is the first one, where the caller can cut it
    up; behind others that have to wait, it waits as well.
    """
    parts: list[PartT] = []
    products: dict[str, str] = {}
    left_behind: list[PartT] = []
    blocked = set(held)
    ids, ids_in_flight = products.keys(), in_flight.keys()
    while queue and len(left_behind) < LOOKAHEAD:
        part = queue[0]
        wanted = part.products
        if not part.sendable:
            queue.popleft()
        elif (
            not blocked.isdisjoint(wanted)
            or not (ids.isdisjoint(wanted) or _agree(wanted, products))
            or not (ids_in_flight.isdisjoint(wanted) or _agree(wanted, in_flight))
            or (left_behind and len(wanted) > limit)
        ):
            left_behind.append(queue.popleft())
            blocked.update(wanted)
        elif parts and (most := len(products) + len(wanted)) > limit and most - len(ids & wanted.keys()) > limit:
            break
        else:
            parts.append(queue.popleft())
            products.update(wanted)
    queue.extendleft(reversed(left_behind))
    return parts, products


def _agree(wanted: Products, others: Products) -> bool:
    """Return whether the ids that are in both have the same SKU in both."""
    return all(others.get(id_, sku) == sku for id_, sku in wanted.items())
