"""What became of requests since they were answered: retried, or synchronized after all."""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from producer_tools.registry_access import RequestReader
from producer_tools.retries.selection import Candidate, Place
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
    """Which of the candidates have been retried, by the reasons of requests."""

    def __init__(self, candidates: Iterable[Candidate]) -> None:
        self._by_claim: dict[tuple[Place | None, str], Candidate] = {}
        self._by_id: dict[str, list[Candidate]] = {}
        for candidate in candidates:
            self._by_claim[candidate.claim] = candidate
            self._by_id.setdefault(candidate.request_id, []).append(candidate)
        self.repeated: set[Candidate] = set()
        self.found: dict[str, list[Candidate]] = {}
        """Id of a retry -> what it repeats."""

    def read(self, reader: TopicReader, requests: RequestReader) -> None:
        """Read all requests up to the end of ``reader``; only those with the mark are decoded."""
        for message in reader.to_end():
            value = message.value()
            if value is None or _MARK not in value:
                continue
            request = requests.decode(value, headers_of(message) or ())
            if not isinstance(request, str) and (repeated := list(self.repeated_by(request.reason))):
                self.repeated.update(repeated)
                if len(self.found) < MAX_RETRIES:
                    self.found[request.request_id] = repeated

    def repeated_by(self, reason: str | None) -> Iterator[Candidate]:
        """Iterate over the candidates that a request with this reason repeats.

        Without a place, as somebody else may write it, that is each with the id.
        """
        if reason is None or not reason.startswith(RETRY_OF):
            return
        rest = reason[len(RETRY_OF) :][: MAX_ID_CHARACTERS + _LONGEST_PLACE]
        for place in _PLACE.finditer(rest):
            candidate = self._by_claim.get(((int(place[1]), int(place[2])), rest[: place.start()]))
            if candidate is not None:
                yield candidate
                return
        yield from self._by_id.get(rest) or self._by_id.get(rest.partition(": ")[0]) or ()
