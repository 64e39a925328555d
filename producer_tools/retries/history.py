"""History of requests after their results: retried, or synchronized after all."""

import re
from collections.abc import Collection
from typing import Final

from producer_tools.registry_access import RequestReader
from producer_tools.retries.selection import Candidate, Claim, Place
from producer_tools.topic_reader import TopicReader, headers_of
from schemas.contract import MAX_ID_CHARACTERS

RETRY_OF: Final = "retry of "
MAX_REASON_CHARACTERS: Final = 500
"""Characters of the original reason that a retry repeats."""

MAX_RETRIES: Final = 200_000
"""Retries whose own results are looked at; of further ones, only that they were made counts."""

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
    return f"{mark}: {original[:MAX_REASON_CHARACTERS]}" if original else mark


class Retries:
    """Candidates that have been retried, found by the reasons of requests."""

    def __init__(self, candidates: Collection[Candidate]) -> None:
        self._claims = {candidate.claim for candidate in candidates}
        self._ids = {candidate.request_id for candidate in candidates}
        self.repeated: set[Claim] = set()
        self.found: dict[str, Claim] = {}
        """Id of a retry -> what it repeats."""

    def read(self, reader: TopicReader, requests: RequestReader) -> None:
        """Read all requests up to the end of ``reader``; only those with the mark are decoded."""
        for message in reader.to_end():
            value = message.value()
            if value is None or _MARK not in value:
                continue
            request = requests.decode(value, headers_of(message) or ())
            if not isinstance(request, str) and (claim := self.repeated_by(request.reason)):
                self.repeated.add(claim)
                if len(self.found) < MAX_RETRIES:
                    self.found[request.request_id] = claim

    def repeated_by(self, reason: str | None) -> Claim | None:
        """Return which of the candidates a request with this reason repeats.

        Without a place, as somebody else may write it, all candidates with the id; ``None``: no candidate.
        """
        if reason is None or not reason.startswith(RETRY_OF):
            return None
        rest = reason[len(RETRY_OF) :][: MAX_ID_CHARACTERS + _LONGEST_PLACE]
        for place in _PLACE.finditer(rest):
            claim = ((int(place[1]), int(place[2])), rest[: place.start()])
            if claim in self._claims:
                return claim
        return next(((None, each) for each in (rest, rest.partition(": ")[0]) if each in self._ids), None)
