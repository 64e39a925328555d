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
    while queue and len(left_behind) < LOOKAHEAD:
        part = queue[0]
        if not part.sendable:
            queue.popleft()
        elif _conflicts(part.products, products, in_flight, blocked) or (left_behind and len(part.products) > limit):
            left_behind.append(queue.popleft())
            blocked.update(part.products)
        elif parts and not _fits(part.products, products, limit):
            break
        else:
            parts.append(queue.popleft())
            products.update(part.products)
    queue.extendleft(reversed(left_behind))
    return parts, products


def _conflicts(wanted: Products, batch: Products, in_flight: Products, blocked: set[str]) -> bool:
    """Return whether an id is blocked, or present with another SKU. On the hot path."""
    if blocked and not blocked.isdisjoint(wanted):
        return True
    if in_flight.keys().isdisjoint(wanted) and batch.keys().isdisjoint(wanted):
        return False
    return any(batch.get(id_, sku) != sku or in_flight.get(id_, sku) != sku for id_, sku in wanted.items())


def _fits(wanted: Products, batch: Products, limit: int) -> bool:
    if len(batch) + len(wanted) <= limit:
        return True
    return len(batch) + sum(mirakl_id not in batch for mirakl_id in wanted) <= limit
