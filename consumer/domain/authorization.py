"""May this requester ask? A pure function of the directory snapshot."""

import hashlib
from dataclasses import dataclass

from consumer.domain.model import Directory, Role
from consumer.domain.outcome import Code, ResyncError, error

OPERATOR = b"OPERATOR"


@dataclass(frozen=True, slots=True)
class Requester:
    """Who asks, as far as the API key tells."""

    tenant: str


def key_digest(key: bytes) -> bytes:
    """Digest an API key as the stores do: SHA-256 of its bytes."""
    return hashlib.sha256(key).digest()


def identify(directory: Directory, api_key: bytes | None, wall: float) -> Requester | ResyncError:
    """Tell the tenant of a key that is known, not expired (``wall`` is seconds since the epoch) and not revoked."""
    if api_key is None or _blank(api_key):
        return error(Code.API_KEY_MISSING, "No API key was given: send it in the header dj-api-key.")
    known = directory.api_keys.get(key_digest(api_key))
    if known is None or known.revoked or (known.expires_at is not None and known.expires_at <= wall):
        return error(
            Code.API_KEY_INVALID, "The API key is unknown, expired or revoked: have a new one issued and use that."
        )
    return Requester(known.tenant)


def authorize(directory: Directory, api_key: bytes | None, caller: bytes | None, wall: float) -> Requester | ResyncError:
    """Let an operator's key through; ``caller`` is the header ``dj-client``."""
    requester = identify(directory, api_key, wall)
    if isinstance(requester, ResyncError) or api_key is None:
        return requester
    if caller != OPERATOR:
        return error(Code.OPERATOR_REQUIRED, "Only operators may resynchronize: set the header dj-client to OPERATOR.")
    if directory.api_keys[key_digest(api_key)].role is not Role.OPERATOR:
        return error(
            Code.OPERATOR_REQUIRED, "The API key has not the role OPERATOR: use one that was issued with that role."
        )
    return requester


def _blank(api_key: bytes) -> bool:
    return not api_key.decode("utf-8", "replace").strip()
