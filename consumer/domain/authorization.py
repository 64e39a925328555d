"""May this requester ask? A pure function of the directory snapshot."""

import hashlib

from consumer.domain.model import ApiKey, Directory, Role
from consumer.domain.outcome import ResyncError, error
from schemas.contract import OPERATOR, ErrorCode


def key_digest(key: bytes) -> bytes:
    """Digest an API key as the stores do: SHA-256 of its bytes."""
    return hashlib.sha256(key).digest()


def identify(directory: Directory, api_key: bytes | None, wall: float) -> ApiKey | ResyncError:
    """Find a key that is known, not expired (``wall`` is seconds since the epoch) and not revoked."""
    if api_key is None or _blank(api_key):
        return error(ErrorCode.API_KEY_MISSING)
    known = directory.api_keys.get(key_digest(api_key))
    if known is None or known.revoked or (known.expires_at is not None and known.expires_at <= wall):
        return error(ErrorCode.API_KEY_INVALID)
    return known


def refuse(known: ApiKey, caller: bytes | None) -> ResyncError | None:
    """Return why the holder of a valid key may not resynchronize; ``caller`` is the header ``dj-client``."""
    if caller != OPERATOR:
        return error(ErrorCode.OPERATOR_REQUIRED, remedy="set the header dj-client to OPERATOR")
    if known.role is not Role.OPERATOR:
        return error(
            ErrorCode.OPERATOR_REQUIRED,
            remedy="this API key lacks the OPERATOR role, so use one issued with `--role OPERATOR`",
        )
    return None


def _blank(api_key: bytes) -> bool:
    return not api_key.decode("utf-8", "replace").strip()
