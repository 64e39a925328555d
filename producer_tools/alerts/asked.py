"""Memory of the requests that were made: none of them is made again."""

from collections import OrderedDict
from typing import Final

from producer_tools.alerts.policy import ALERTS

_PREFIX: Final = "alert-"
_HEX_DIGITS: Final = 32
_ID_CHARACTERS: Final = len(_PREFIX) + _HEX_DIGITS


def digest_of(key: bytes | None) -> bytes | None:
    """Return the 16 bytes behind a request id of ours; ``None``: the key of a result is not one.

    Called for each result on the topic, so the cheapest test comes first.
    """
    if key is None or len(key) != _ID_CHARACTERS or not key.startswith(b"alert-"):
        return None
    try:
        return bytes.fromhex(key[len(_PREFIX) :].decode("ascii"))
    except ValueError:  # includes bytes that are not ASCII
        return None


class AskedRequests:
    """Request ids that were acknowledged here or have a result on the topic.

    Not thread-safe: belongs to the event loop.
    """

    def __init__(self, maximum: int = ALERTS.remembered_ids) -> None:
        self._digests: OrderedDict[bytes, None] = OrderedDict()
        self._maximum = maximum

    def __contains__(self, request_id: str) -> bool:
        digest = digest_of(request_id.encode())
        if digest is None or digest not in self._digests:
            return False
        self._digests.move_to_end(digest)
        return True

    def add(self, key: bytes | None) -> None:
        """Remember the id in the key of a record; keys of other forms are ignored."""
        digest = digest_of(key)
        if digest is not None:
            self.add_digest(digest)

    def add_digest(self, digest: bytes) -> None:
        """Remember a request by what ``digest_of`` returned; the one met longest ago is forgotten for it."""
        self._digests[digest] = None
        self._digests.move_to_end(digest)
        if len(self._digests) > self._maximum:
            self._digests.popitem(last=False)
