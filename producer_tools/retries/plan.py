"""Plan of a retry: a decision about each matching result, made before anything is sent.

Memory is bounded: results are judged in portions, and a plan holds a bounded number of requests, each as its bytes.
What a plan has no room for is left to the next one, which finds those of this one retried.
"""

import hashlib
import hmac
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from itertools import chain, islice
from typing import Final, TypeAlias

from confluent_kafka import Message

from producer_tools.connection import Connection
from producer_tools.errors import InvalidRequestError
from producer_tools.publisher import encoded, new_request
from producer_tools.registry_access import RequestReader, ResultReader
from producer_tools.retries.history import Answers, Repetition, Retries, retry_reason
from producer_tools.retries.places import batches, records_at
from producer_tools.retries.selection import Candidate, Group, Place, ResultScan, Selection, fingerprint
from producer_tools.subscriber import ReceivedResult, ResyncResults, UndecodableResult
from producer_tools.topic_reader import Headers, TopicReader, headers_of
from schemas.avro.codec import RequestDecoder, RequestEncoder
from schemas.contract import (
    API_KEY_HEADER,
    CORRELATION_HEADER,
    KAFKA_CORRELATION_HEADER,
    SIGNATURE_HEADER,
    canonical_uuid,
)
from schemas.events import ProductReference, ProductResyncRequested
from schemas.settings import Settings
from schemas.signature import Signature, signer

Products: TypeAlias = tuple[ProductReference, ...]

CLOCK_MARGIN: Final = timedelta(minutes=5)
"""Most seconds by which clocks may differ: the search for later records begins that long before a result."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_CORRELATION: Final = frozenset({CORRELATION_HEADER.lower(), KAFKA_CORRELATION_HEADER.lower()})


@dataclass(frozen=True, slots=True)
class RetryLimits:
    """Bounds of one plan, so that memory and time stay bounded whatever the results topic holds."""

    portion: int = 100_000
    """Results that are judged together: some 50 MB. Each portion reads both topics from its oldest request on."""
    products: int = 100_000
    """Unsynchronized products of partial results that are read again together: some 50 MB."""
    requests: int = 100_000
    """Requests to send."""
    request_bytes: int = 64 << 20
    """Bytes of these requests together."""
    correlation_bytes: int = 1024
    """Bytes of a correlation header that a retry repeats; a longer one is left out."""


class Fate(Enum):
    """Decision about a matching result: its request is sent again, or why it is not."""

    SENT = "to send"
    LATER = "left to the next run"
    SYNCHRONIZED = "synchronized since"
    RETRIED = "retried before"
    EXPIRED = "expired"
    ELSEWHERE = "from elsewhere"
    ANOTHER = "not the request of the result"
    UNREADABLE = "unreadable"
    INVALID = "not valid"


OBSTACLES: Final = (Fate.EXPIRED, Fate.ELSEWHERE, Fate.ANOTHER, Fate.UNREADABLE, Fate.INVALID)
"""Results whose requests cannot be repeated."""


@dataclass(frozen=True, slots=True)
class Retry:
    """A request to send again, with a new id, and the result that it is for."""

    of: Candidate
    request_id: str
    client_specification_id: str | None
    template: bytes = field(repr=False)
    """The new request, encoded; the time is set when it is sent."""
    products: int
    fingerprint: bytes = field(repr=False)
    """That of the products, by which a repetition of somebody else is recognized."""
    correlation: Headers = field(repr=False)
    """The original's correlation headers, which its requester waits for."""


@dataclass(slots=True)
class RetryPlan:
    """All that was decided: the requests to send, and how many results met which fate."""

    limits: RetryLimits
    unmatched: dict[str, ReceivedResult | None]
    """Chosen request ids without a matching result, and the newest result there is."""
    retries: list[Retry] = field(default_factory=list)
    fates: dict[Group, Counter[Fate]] = field(default_factory=dict)
    read_to: dict[int, int] = field(default_factory=dict)
    """Partition of the requests topic -> offset up to which retries were searched."""
    request_bytes: int = 0
    cut: bool = False
    """There were more retries or later successes than are remembered: some requests may be planned once more."""

    @property
    def totals(self) -> Counter[Fate]:
        return sum(self.fates.values(), Counter())

    @property
    def products(self) -> int:
        return sum(retry.products for retry in self.retries)

    def has_room(self, more_bytes: int = 0) -> bool:
        return len(self.retries) < self.limits.requests and self.request_bytes + more_bytes <= self.limits.request_bytes

    def count(self, candidate: Candidate, fate: Fate) -> None:
        self.fates.setdefault(candidate.group, Counter())[fate] += 1

    def add(self, retry: Retry) -> None:
        self.retries.append(retry)
        self.request_bytes += len(retry.template)
        self.count(retry.of, Fate.SENT)


class RetryPlanner:
    """Plans retries. ``api_key`` is the caller's; ``again``: also what was retried or synchronized since."""

    def __init__(
        self,
        settings: Settings,
        *,
        again: bool,
        requested_by: str,
        api_key: str | None = None,
        limits: RetryLimits | None = None,
    ) -> None:
        self._settings = settings
        self._again = again
        self._requested_by = requested_by
        self._api_key = (api_key or "").encode()
        self._limits = limits or RetryLimits()
        self._requests = RequestReader(settings.schema_registry, settings.max_request_bytes, settings.topics.requests)
        self._results = ResultReader(settings.schema_registry)
        self._encoder = RequestEncoder()
        self._decoder = RequestDecoder(registry=False, max_bytes=settings.max_request_bytes)

    def plan(self, selection: Selection, on_undecodable: Callable[[UndecodableResult], None]) -> RetryPlan:
        """Decide about each result that matches; sends nothing.

        Raises ``UnreachableError`` or ``MisconfiguredError``.
        """
        scan = ResultScan(self._settings, selection, on_undecodable)
        plan = RetryPlan(self._limits, scan.unmatched)
        with closing(scan.candidates()) as candidates:
            for first in candidates:
                if plan.has_room():
                    self._judge(plan, list(islice(chain((first,), candidates), self._limits.portion)))
                else:
                    plan.count(first, Fate.LATER)
        return plan

    def retried_since(self, plan: RetryPlan, retries: Sequence[Retry]) -> set[str]:
        """Return the ids of those of a plan's retries whose requests somebody has retried since the last look.

        Raises ``UnreachableError`` or ``MisconfiguredError``.
        """
        if self._again or not retries:
            return set()
        made = Retries([retry.of for retry in retries])
        plan.read_to |= self._read_open(made, plan.read_to)
        repeated = {(each.of, each.products) for each in made.found}
        return {retry.request_id for retry in retries if (retry.of.claim, retry.fingerprint) in repeated}

    def request(self, retry: Retry) -> ProductResyncRequested:
        """Return the request to send now: as found on the topic, with a new id and the current time."""
        record = self._decoder.decode(retry.template)
        assert isinstance(record, dict)  # noqa: S101 - written by our own encoder
        return ProductResyncRequested.from_record(record).model_copy(update={"requested_at": datetime.now(UTC)})

    def _judge(self, plan: RetryPlan, portion: list[Candidate]) -> None:
        fates = dict.fromkeys(portion, Fate.SENT)
        # at least once, a request may have two results
        planned = {retry.of.claim for retry in plan.retries}
        latest = {candidate.claim: candidate for candidate in portion}
        for candidate in portion:
            if candidate.place is None:
                fates[candidate] = Fate.ELSEWHERE
            elif candidate.claim in planned or latest[candidate.claim] is not candidate:
                del fates[candidate]
        placed = [candidate for candidate, fate in fates.items() if fate is Fate.SENT]
        if placed:
            fates |= self._history(plan, placed)
            fates |= self._take(plan, [candidate for candidate in placed if fates[candidate] is Fate.SENT])
        for candidate, fate in fates.items():
            if fate is not Fate.SENT:
                plan.count(candidate, fate)

    def _history(self, plan: RetryPlan, candidates: list[Candidate]) -> dict[Candidate, Fate]:
        """Return the fates of those that are no longer on the topic, or that need no retry any more."""
        retries = Retries(candidates)
        lowest: dict[int, int] = {}
        for partition, offset in map(_place, candidates):
            lowest[partition] = min(offset, lowest.get(partition, offset))
        topic, start = self._settings.topics.requests, _before(candidates)
        with closing(TopicReader(Connection(self._settings.kafka), topic, start, earlier=lowest)) as reader:
            bounds = reader.bounds
            retries.read(reader, self._requests)
        ends = {partition: end for partition, (_, end) in bounds.items()}
        self._read_open(retries, ends)
        for partition, end in ends.items():
            plan.read_to.setdefault(partition, end)
        answers = self._answers(candidates, retries.found)
        plan.cut |= retries.cut or answers.cut
        fates = {candidate: fate for candidate in candidates if (fate := _out_of_bounds(candidate, bounds))}
        asked = {candidate.claim for candidate in candidates}
        for candidate in candidates:
            repetitions = answers.repetitions(candidate)
            if self._again:  # of a chain, only the latest is sent again
                repetitions = [each for each in repetitions if each.claim in asked]
            if repetitions:
                fates[candidate] = Fate.RETRIED
            if not self._again and answers.synchronized(candidate):
                fates[candidate] = Fate.SYNCHRONIZED
        return fates

    def _read_open(self, retries: Retries, ends: dict[int, int]) -> dict[int, int]:
        """Read what stands behind the first open transaction of each partition; return up to where.

        Only there: an aborted record is never answered, and would count for ever.
        """
        topic = self._settings.topics.requests
        reader = TopicReader(Connection(self._settings.kafka), topic, "end", read_committed=False, earlier=ends)
        with closing(reader):
            retries.read(reader, self._requests)
        return {partition: end for partition, (_, end) in reader.bounds.items()}

    def _answers(self, candidates: list[Candidate], repetitions: list[Repetition]) -> Answers:
        """Return what was answered later under the same ids, and to the repetitions."""
        answers = Answers(candidates, repetitions)
        results = ResyncResults(
            self._settings,
            start=_asked_before(candidates),
            request_ids=answers.request_ids,
            on_undecodable=lambda _undecodable: None,
        )
        answers.read(results, self._settings.topics.requests)
        for place, message in records_at(
            self._settings.kafka, self._settings.topics.requests, answers.places(candidates)
        ):
            request = self._requests.read(message.value(), headers_of(message) or ())
            if not isinstance(request, str):
                answers.learn(place, request.request_id, request.products)
        return answers

    def _take(self, plan: RetryPlan, candidates: list[Candidate]) -> dict[Candidate, Fate]:
        """Read the requests of candidates and add their retries to the plan; return the fates of the others.

        In order of time: so each batch reads a stretch of both topics that follows that of the batch before.
        """
        fates: dict[Candidate, Fate] = {}
        for batch in batches(sorted(candidates, key=lambda each: each.answered_at), self._limits.products):
            if not plan.has_room():
                fates |= dict.fromkeys(batch, Fate.LATER)
                continue
            fates |= dict.fromkeys(batch, Fate.EXPIRED)
            missing = self._read_missing(batch)
            wanted: dict[Place, list[Candidate]] = {}
            for candidate in batch:
                if candidate.missing is None or candidate in missing:
                    wanted.setdefault(_place(candidate), []).append(candidate)
            for place, message in records_at(self._settings.kafka, self._settings.topics.requests, wanted):
                fates |= self._take_from(plan, wanted[place], missing, message)
        return fates

    def _read_missing(self, candidates: Collection[Candidate]) -> dict[Candidate, Products]:
        """Read the products of partial results again; those whose result is gone are left out."""
        wanted = {each.missing.result: each for each in candidates if each.missing}
        found: dict[Candidate, Products] = {}
        for place, message in records_at(self._settings.kafka, self._settings.topics.results, wanted):
            result, candidate = self._results.decode(message.value(), headers_of(message) or ()), wanted[place]
            if not isinstance(result, str) and candidate.missing:
                products = result.unsynchronized_products
                if fingerprint(products) == candidate.missing.fingerprint:  # not of a topic that was created anew
                    found[candidate] = products
        return found

    def _take_from(
        self,
        plan: RetryPlan,
        candidates: Collection[Candidate],
        missing: Mapping[Candidate, Products],
        message: Message,
    ) -> dict[Candidate, Fate]:
        headers = headers_of(message) or ()
        request = self._requests.read(message.value(), headers)  # once, however many results name this place
        if isinstance(request, str):
            return dict.fromkeys(candidates, Fate.UNREADABLE)
        return {each: self._take_one(plan, each, missing.get(each), request, headers) for each in candidates}

    def _take_one(
        self,
        plan: RetryPlan,
        candidate: Candidate,
        missing: Products | None,
        request: ProductResyncRequested,
        headers: Headers,
    ) -> Fate:
        if not _belongs(candidate, missing, request):
            return Fate.ANOTHER
        specification = request.client_specification_id
        if specification is None and not self._has_own_key(headers):
            # of another key, perhaps of another tenant: resolved again, it could mean another Mirakl
            specification = candidate.client_specification_id
        try:
            new = new_request(
                [(each.mirakl_product_id, each.product_sku) for each in missing or request.products],
                requested_by=self._requested_by,
                client_specification_id=specification,
                reason=retry_reason(request.request_id, _place(candidate), request.reason),
                max_products=self._settings.max_products_per_request,
            )
            template = encoded(new, self._encoder, self._settings.max_request_bytes)
        except InvalidRequestError:
            return Fate.INVALID
        if not plan.has_room(len(template)):
            return Fate.LATER
        plan.add(
            Retry(
                candidate,
                new.request_id,
                new.client_specification_id,
                template,
                len(new.products),
                fingerprint(new.products),
                self._correlation(headers),
            )
        )
        return Fate.SENT

    def _has_own_key(self, headers: Headers) -> bool:
        """Return whether the original request was made with the caller's key, and so for the caller's tenant.

        If both are present, only the signature counts, as for the service.
        """
        last = {name.lower(): value or b"" for name, value in headers}
        if (header := last.get(SIGNATURE_HEADER)) is not None:
            signature = Signature.read(header)
            return signature is not None and signature.signer == signer(hashlib.sha256(self._api_key).digest())
        return bool(self._api_key) and hmac.compare_digest(last.get(API_KEY_HEADER, b""), self._api_key)

    def _correlation(self, headers: Headers) -> Headers:
        return tuple(
            {
                name.lower(): (name, value)
                for name, value in headers
                if name.lower() in _CORRELATION and value and len(value) <= self._limits.correlation_bytes
            }.values()
        )


def _before(candidates: list[Candidate]) -> datetime:
    return min(candidate.answered_at for candidate in candidates) - CLOCK_MARGIN


def _asked_before(candidates: list[Candidate]) -> datetime:
    """Return a time before which no repetition was answered: one may have been refused before the original's result."""
    asked = min(candidate.requested_at for candidate in candidates)
    return max(min(asked, *(candidate.answered_at for candidate in candidates)), _EPOCH + CLOCK_MARGIN) - CLOCK_MARGIN


def _place(candidate: Candidate) -> Place:
    assert candidate.place is not None  # noqa: S101 - those without one were sorted out
    return candidate.place


def _belongs(candidate: Candidate, missing: Products | None, request: ProductResyncRequested) -> bool:
    """Return whether the request may be the one that the result answers."""
    used = candidate.client_specification_id
    given = request.client_specification_id and canonical_uuid(request.client_specification_id)
    return (
        request.request_id == candidate.request_id
        and (given is None or used is None or given == used)
        and (missing is None or bool(missing and set(missing) <= set(request.products)))
    )


def _out_of_bounds(candidate: Candidate, bounds: dict[int, tuple[int, int]]) -> Fate | None:
    """Return what is wrong with a place that the topic does not have; ``None``: nothing."""
    partition, offset = _place(candidate)
    first, end = bounds.get(partition, (0, 0))
    if offset >= end:  # also after the topic was created anew
        return Fate.ANOTHER
    return Fate.EXPIRED if offset < first else None
