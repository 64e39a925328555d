"""May this requester ask? A pure function of the directory snapshot."""

import hashlib

from consumer.domain.model import ApiKey, Directory, Role
from consumer.domain.outcome import Code, ResyncError, error

OPERATOR = b"OPERATOR"


def key_digest(key: bytes) -> bytes:
    """Digest an API key as the stores do: SHA-256 of its bytes."""
    return hashlib.sha256(key).digest()


def identify(directory: Directory, api_key: bytes | None, wall: float) -> ApiKey | ResyncError:
    """Find a key that is known, not expired (``wall`` is seconds since the epoch) and not revoked."""
    if api_key is None or _blank(api_key):
        return error(Code.API_KEY_MISSING, "No API key was given: send it in the header dj-api-key.")
    known = directory.api_keys.get(key_digest(api_key))
    if known is None or known.revoked or (known.expires_at is not None and known.expires_at <= wall):
        return error(
            Code.API_KEY_INVALID, "The API key is unknown, expired or revoked: have a new one issued and use that."
        )
    return known


def refuse(known: ApiKey, caller: bytes | None) -> ResyncError | None:
    """Say why the holder of a valid key may not resynchronize, if so; ``caller`` is the header ``dj-client``."""
    if caller != OPERATOR:
        return error(Code.OPERATOR_REQUIRED, "Only operators may resynchronize: set the header dj-client to OPERATOR.")
    if known.role is not Role.OPERATOR:
        return error(
            Code.OPERATOR_REQUIRED, "The API key has not the role OPERATOR: use one that was issued with that role."
        )
    return None


def _blank(api_key: bytes) -> bool:
    return not api_key.decode("utf-8", "replace").strip()
