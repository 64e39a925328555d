"""Selection of the results to retry, with the places of their requests."""

import hashlib
import sys
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple, TypeAlias

from producer_tools.policy import TOOLS
from producer_tools.subscriber import ReceivedResult, ResyncResults, UndecodableResult
from producer_tools.topic_reader import HIGHEST_OFFSET, HIGHEST_PARTITION
from schemas.console.text import decimal
from schemas.contract import (
    REQUEST_OFFSET_HEADER,
    REQUEST_PARTITION_HEADER,
    REQUEST_TOPIC_HEADER,
    canonical_uuid,
)
from schemas.events import ProductReference, ResyncStatus
from schemas.settings import Settings

Place: TypeAlias = tuple[int, int]
"""Partition and offset of a request on the requests topic."""

Claim: TypeAlias = tuple[Place | None, str]
"""A request by its place and its id: anybody's result may name any place."""


_UNFINISHED: Final = frozenset({ResyncStatus.FAILED, ResyncStatus.PARTIALLY_SYNCHRONIZED})


class Group(NamedTuple):
    """Key by which results are counted in the plan: code, client specification and tenant."""

    code: str
    client_specification_id: str | None
    """The one that was used."""
    tenant: str | None


OTHERS: Final = Group("(others)", None, None)


class Missing(NamedTuple):
    """The products that a partial result names as not accepted.

    There may be thousands, so they are not kept: they are read again from the result when they are sent.
    """

    result: Place
    """Partition and offset of the result on the results topic."""
    fingerprint: bytes
    products: int
    """Number of the products."""


@dataclass(slots=True, eq=False)
class Candidate:
    """A result that matches the selection, and the place of its request on the requests topic."""

    request_id: str
    group: Group
    client_specification_id: str | None
    answered_at: datetime
    requested_at: datetime
    """By the requester's clock, as the result repeats it."""
    tenant: str | None
    """The tenant that asked; ``None``: its key was not valid."""
    place: Place | None
    """``None``: the result does not name a place on the configured requests topic."""
    missing: Missing | None
    """``None``: all products of the request."""

    @property
    def claim(self) -> Claim:
        return self.place, self.request_id


@dataclass(frozen=True, slots=True)
class Selection:
    """Results that the caller means. Empty collections exclude nothing; without ``codes``, the retryable ones."""

    since: datetime | None = None
    until: datetime | None = None
    """Excluded, as the time itself."""
    codes: frozenset[str] = frozenset()
    client_specification_ids: frozenset[str] = frozenset()
    """In lower case."""
    request_ids: frozenset[str] = frozenset()

    def matches(self, result: ReceivedResult) -> bool:
        """Return whether this result may be retried, apart from its time.

        Without ``codes``: those that the service calls retryable. ``SYNCHRONIZED`` never matches.
        """
        value = result.value
        if value.error is None or value.status not in _UNFINISHED:
            return False
        chosen = value.error.code in self.codes if self.codes else value.error.retryable
        return chosen and (
            not self.client_specification_ids or value.client_specification_id in self.client_specification_ids
        )


class ResultScan:
    """The results topic from ``selection.since`` on, read once.

    ``unmatched`` has each chosen request id that no result matched, with the newest result that there is, if any.
    """

    def __init__(
        self, settings: Settings, selection: Selection, on_undecodable: Callable[[UndecodableResult], None]
    ) -> None:
        self._settings = settings
        self._selection = selection
        self._on_undecodable = on_undecodable
        self._groups: dict[Group, Group] = {}
        self.unmatched: dict[str, ReceivedResult | None] = dict.fromkeys(selection.request_ids)

    def candidates(self) -> Generator[Candidate, None, None]:
        """Iterate over the results that match, oldest first within each partition; others are only counted."""
        results = ResyncResults(
            self._settings,
            start=self._selection.since or "beginning",
            request_ids=self._selection.request_ids or None,
            on_undecodable=self._on_undecodable,
        )
        until = self._selection.until
        for result in results:
            if until is not None and result.timestamp >= until:
                continue
            if self._selection.matches(result):
                self.unmatched.pop(result.value.request_id, None)
                yield self._candidate(result)
            elif result.value.request_id in self.unmatched:
                self.unmatched[result.value.request_id] = result

    def _candidate(self, result: ReceivedResult) -> Candidate:
        value = result.value
        partial = value.status is ResyncStatus.PARTIALLY_SYNCHRONIZED
        specification = value.client_specification_id and canonical_uuid(value.client_specification_id)
        code = value.error.code if value.error else ""
        group = Group(
            code[: TOOLS.name_characters], specification, (result.tenant or "")[: TOOLS.name_characters] or None
        )
        if group not in self._groups and len(self._groups) >= TOOLS.groups:
            group = OTHERS
        return Candidate(
            value.request_id,
            self._groups.setdefault(group, group),
            specification,
            result.timestamp,
            value.requested_at,
            result.tenant and sys.intern(result.tenant),
            request_place(result, self._settings.topics.requests),
            _missing(result) if partial else None,
        )


def fingerprint(products: Iterable[ProductReference]) -> bytes:
    """Return 16 bytes that stand for a set of products, in whatever order and however often each is named."""
    pairs = sorted({(each.mirakl_product_id, each.product_sku) for each in products})
    return hashlib.blake2b(repr(pairs).encode(), digest_size=16).digest()


def _missing(result: ReceivedResult) -> Missing:
    products = result.value.unsynchronized_products
    return Missing((result.partition, result.offset), fingerprint(products), len(products))


def request_place(result: ReceivedResult, requests_topic: str) -> Place | None:
    """Return where the result says that its request stands; ``None``: not on this topic."""
    if result.header(REQUEST_TOPIC_HEADER) != requests_topic:
        return None
    partition = decimal(result.header(REQUEST_PARTITION_HEADER), HIGHEST_PARTITION)
    offset = decimal(result.header(REQUEST_OFFSET_HEADER), HIGHEST_OFFSET)
    return None if partition is None or offset is None else (partition, offset)
