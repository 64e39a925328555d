"""API keys as the gateway sees them: the service's latest verdict on each, and the number of its waiting calls."""

from collections import Counter, OrderedDict
from collections.abc import Callable
from hashlib import sha256
from typing import Final, TypeVar

from producer_tools.gateway.policy import GatewayPolicy
from producer_tools.gateway.problems import refusal
from schemas.contract import CredentialFault, ErrorCode, GatewayCode

_UNPROVEN: Final = b""
"""The places of all keys together that the service has not yet answered otherwise than ``API_KEY_INVALID``."""


Value = TypeVar("Value")


class Place:
    """One of the places for calls with a key, or of those that all unproven keys share."""

    __slots__ = ("_account", "_occupied", "_released", "kept")

    def __init__(self, occupied: Counter[bytes], account: bytes) -> None:
        self._occupied = occupied
        self._account = account
        self._released = False
        self.kept = False
        """Whether it stays occupied after the call, until the result of its request is there."""

    @property
    def of_unproven_key(self) -> bool:
        """Whether no answer other than ``API_KEY_INVALID`` was known for the key when the place was taken."""
        return self._account == _UNPROVEN

    def release(self) -> None:
        """Leave the place to other calls with the key. Idempotent, since a call may end in several ways."""
        if self._released:
            return
        self._released = True
        self._occupied[self._account] -= 1
        if not self._occupied[self._account]:
            del self._occupied[self._account]


class ApiKeys:
    """Verdicts of the service about API keys, by digest; no key is kept. ``clock`` returns monotonic seconds."""

    def __init__(self, policy: GatewayPolicy, calls_per_key: int, clock: Callable[[], float]) -> None:
        self._policy = policy
        self._calls_per_key = calls_per_key
        self._clock = clock
        self._proven: OrderedDict[bytes, None] = OrderedDict()
        self._invalid_until: OrderedDict[bytes, float] = OrderedDict()
        self._occupied: Counter[bytes] = Counter()

    def check(self, key: bytes | None) -> bytes:
        """Return the digest of a key that may be asked with. Raises ``ProblemError`` (401)."""
        if key is None or not key.strip():
            raise refusal(ErrorCode.API_KEY_MISSING)
        digest = sha256(key).digest()
        if self._clock() < self._invalid_until.get(digest, 0.0):
            raise refusal(ErrorCode.API_KEY_INVALID, fault=CredentialFault.REFUSED)
        return digest

    def place(self, digest: bytes) -> "Place":
        """Occupy one of the key's places until it is released. Raises ``ProblemError`` (429) if there is none."""
        account = digest if digest in self._proven else _UNPROVEN
        if self._occupied[account] >= self._calls_per_key:
            raise refusal(GatewayCode.TOO_MANY_CALLS)
        self._occupied[account] += 1
        return Place(self._occupied, account)

    def judged(self, digest: bytes, code: str | None) -> None:
        """Record the service's answer to a request with this key: the error's code, or ``None`` without an error."""
        if code == ErrorCode.API_KEY_INVALID:
            _remember(
                self._invalid_until,
                digest,
                self._clock() + self._policy.invalid_key_seconds,
                self._policy.remembered_keys,
            )
        else:
            self._invalid_until.pop(digest, None)
            _remember(self._proven, digest, None, self._policy.remembered_keys)


def _remember(known: OrderedDict[bytes, Value], digest: bytes, value: Value, most: int) -> None:
    known[digest] = value
    known.move_to_end(digest)
    if len(known) > most:
        known.popitem(last=False)
