"""History of requests after their results: retried, or synchronized after all."""

import re
from collections.abc import Collection, Iterable
from datetime import datetime
from http import HTTPStatus
from typing import Final, NamedTuple

from producer_tools.policy import TOOLS
from producer_tools.registry_access import RequestReader
from producer_tools.retries.selection import Candidate, Claim, Place, fingerprint, request_place
from producer_tools.subscriber import ReceivedResult
from producer_tools.topic_reader import Headers, TopicReader, headers_of
from schemas.contract import MAX_HEADERS, MAX_HEADERS_BYTES, MAX_ID_CHARACTERS, header_bytes
from schemas.events import ProductReference, ResyncStatus

RETRY_OF: Final = "retry of "


_REFUSALS: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND})
"""HTTP statuses of what its sender was not entitled to ask for."""

_MARK: Final = RETRY_OF.encode()
_PLACE: Final = re.compile(r" \(([0-9]{1,10}):([0-9]{1,19})\)")
_OURS: Final = re.compile(rf"{RETRY_OF}.{{1,{MAX_ID_CHARACTERS}}}?{_PLACE.pattern}(?:: (?P<reason>.*))?", re.DOTALL)
_LONGEST_PLACE: Final = 33


def retry_reason(request_id: str, place: Place, reason: str | None) -> str:
    """Return the reason of a retry. That of a retry of a retry names the latest only: the chain does not grow."""
    ours = _OURS.fullmatch(reason or "")
    original = ours["reason"] if ours else reason
    partition, offset = place
    mark = f"{RETRY_OF}{request_id} ({partition}:{offset})"
    return f"{mark}: {original[: TOOLS.reason_characters]}" if original else mark


class Repetition(NamedTuple):
    """A request that names in its reason the candidate that it repeats."""

    place: Place
    request_id: str
    of: Claim
    products: bytes
    """``fingerprint`` of its products."""

    @property
    def claim(self) -> Claim:
        return self.place, self.request_id


class Retries:
    """Requests that repeat candidates, found by their reasons. Anybody may write a reason: see ``Answers``."""

    def __init__(self, candidates: Collection[Candidate]) -> None:
        self._claims = {candidate.claim for candidate in candidates}
        self.found: list[Repetition] = []
        self.cut = False
        """There were more than ``TOOLS.retries``."""

    def read(self, reader: TopicReader, requests: RequestReader) -> None:
        """Read all requests up to the end of ``reader``; only those with the mark are decoded.

        What the service does not answer is no retry: unreadable records, and those with too many headers.
        """
        for message in reader.to_end():
            value, headers = message.value(), headers_of(message)
            if value is None or _MARK not in value or headers is None or _has_too_many(headers):
                continue
            request = requests.decode_own(value, headers)
            if isinstance(request, str):
                continue
            if claim := self.repeated_by(request.reason):
                if len(self.found) >= TOOLS.retries:
                    self.cut = True
                    return
                place = message.partition() or 0, message.offset() or 0
                self.found.append(Repetition(place, request.request_id, claim, fingerprint(request.products)))

    def repeated_by(self, reason: str | None) -> Claim | None:
        """Return which of the candidates a request with this reason repeats; ``None``: none, or it has no place."""
        if reason is None or not reason.startswith(RETRY_OF):
            return None
        rest = reason[len(RETRY_OF) :][: MAX_ID_CHARACTERS + _LONGEST_PLACE]
        for place in _PLACE.finditer(rest):
            claim = ((int(place[1]), int(place[2])), rest[: place.start()])
            if claim in self._claims:
                return claim
        return None


class _Answer(NamedTuple):
    refused: bool
    synchronized: bool
    tenant: str | None


class _Success(NamedTuple):
    place: Place
    tenant: str | None
    at: datetime


class Answers:
    """Later results of candidates' request ids and of their repetitions; which of these count, for whom."""

    def __init__(self, candidates: Collection[Candidate], repetitions: Iterable[Repetition]) -> None:
        self._repetitions: dict[Claim, list[Repetition]] = {}
        self._answers: dict[Claim, _Answer | None] = {}
        for each in repetitions:
            self._repetitions.setdefault(each.of, []).append(each)
            self._answers[each.claim] = None
        self._successes: dict[str, list[_Success]] = {candidate.request_id: [] for candidate in candidates}
        self._products: dict[Claim, bytes] = {}
        self.cut = False
        """There were more than ``TOOLS.retries`` later successes."""

    @property
    def request_ids(self) -> set[str]:
        """Return the ids whose results have to be read to know what was answered later."""
        return self._successes.keys() | {request_id for _, request_id in self._answers}

    def read(self, results: Iterable[ReceivedResult], requests_topic: str) -> None:
        """Take the results that name places on the requests topic: two records with one id are two requests."""
        room = TOOLS.retries
        for result in results:
            place, value = request_place(result, requests_topic), result.value
            if place is None:
                continue
            synchronized = value.status is ResyncStatus.SYNCHRONIZED
            if (place, value.request_id) in self._answers:
                refused = value.error is not None and value.error.http_status in _REFUSALS
                self._answers[place, value.request_id] = _Answer(refused, synchronized, result.tenant)
            if synchronized and (known := self._successes.get(value.request_id)) is not None:
                if not room:
                    self.cut = True
                    continue
                room -= 1
                known.append(_Success(place, result.tenant, result.timestamp))

    def places(self, candidates: Iterable[Candidate]) -> set[Place]:
        """Return the places of the requests whose products have to be compared with those of the candidates."""
        wanted: set[Place] = set()
        for candidate in candidates:
            elsewhere = {success.place for success in self._later(candidate)} - {candidate.place}
            if candidate.place and (elsewhere or self._of(candidate)):
                wanted |= {candidate.place} | elsewhere
        return wanted

    def learn(self, place: Place, request_id: str, products: Iterable[ProductReference]) -> None:
        """Take the products of a request that stands at one of ``places``, by their fingerprint."""
        self._products[place, request_id] = fingerprint(products)

    def repetitions(self, candidate: Candidate) -> list[Repetition]:
        """Return those that its own tenant made, for its products; also those that are not answered yet."""
        if candidate.claim not in self._products:  # gone, or unreadable: nothing can be sent
            return self._of(candidate)
        wanted = self._wanted(candidate)
        return [each for each in self._of(candidate) if each.products in wanted]

    def synchronized(self, candidate: Candidate) -> bool:
        """Return whether its products were accepted later: of itself, under the same id, or of a repetition."""
        later = self._later(candidate)
        if any(success.place == candidate.place for success in later):
            return True
        wanted = self._wanted(candidate)
        if any(self._products.get((success.place, candidate.request_id)) in wanted for success in later):
            return True
        answers = (self._answers[each.claim] for each in self._of(candidate) if each.products in wanted)
        return any(answer is not None and answer.synchronized for answer in answers)

    def _of(self, candidate: Candidate) -> list[Repetition]:
        return [each for each in self._repetitions.get(candidate.claim, ()) if self._counts(candidate, each)]

    def _counts(self, candidate: Candidate, repetition: Repetition) -> bool:
        """Return whether the service took it as one of the candidate's tenant; not answered yet, it may be.

        A candidate without a tenant had no valid key: whoever repeats it has another.
        """
        answer = self._answers[repetition.claim]
        return answer is None or (not answer.refused and candidate.tenant in (None, answer.tenant))

    def _later(self, candidate: Candidate) -> list[_Success]:
        return [
            success
            for success in self._successes[candidate.request_id]
            if candidate.answered_at < success.at
            and (
                success.place == candidate.place
                or (candidate.tenant is not None and candidate.tenant == success.tenant)
            )
        ]

    def _wanted(self, candidate: Candidate) -> set[bytes]:
        """Return the sets of products that cover the candidate, as fingerprints."""
        missing = {candidate.missing.fingerprint} if candidate.missing and candidate.missing.products else set()
        whole = self._products.get(candidate.claim)
        return missing if whole is None else missing | {whole}


def _has_too_many(headers: Headers) -> bool:
    """Return whether the service makes a dead letter of the record for its headers."""
    return len(headers) > MAX_HEADERS or header_bytes(headers) > MAX_HEADERS_BYTES
