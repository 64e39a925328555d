"""May this requester ask? A pure function of the directory snapshot."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from consumer.domain.model import ApiKey, Directory, Role
from consumer.domain.outcome import ResyncError, error
from schemas.contract import (
    OPERATOR,
    SIGNATURE_MAX_AGE_SECONDS,
    SIGNATURE_MAX_AHEAD_SECONDS,
    Credential,
    CredentialFault,
    ErrorCode,
)
from schemas.signature import Signature


@dataclass(frozen=True, slots=True)
class CredentialPolicy:
    """Kinds of credentials that the service accepts, and the maximum age of a signed request in seconds."""

    accepted: tuple[Credential, ...] = tuple(Credential)
    """``RESYNC_ACCEPT_CREDENTIALS``."""
    max_age: float = SIGNATURE_MAX_AGE_SECONDS
    """Seconds from ``requestedAt`` until the record is read (``RESYNC_SIGNATURE_MAX_AGE``): bounds replay."""
    max_ahead: float = SIGNATURE_MAX_AHEAD_SECONDS
    """Seconds that ``requestedAt`` may lie in the future: a later one would make the request live longer."""


def key_digest(key: bytes) -> bytes:
    """Digest an API key as the stores do: SHA-256 of its UTF-8 bytes, 32 bytes. The key itself is stored nowhere."""
    return hashlib.sha256(key).digest()


def identify(directory: Directory, api_key: bytes | None, wall: float) -> ApiKey | ResyncError:
    """Find a key that is known, not expired (``wall`` is seconds since the epoch) and not revoked."""
    if api_key is None or is_blank(api_key):
        return error(ErrorCode.API_KEY_MISSING)
    known = directory.api_keys.get(key_digest(api_key))
    if known is None:
        return invalid(CredentialFault.UNKNOWN)
    fault = _fault(known, wall)
    return known if fault is None else invalid(fault)


def identify_signer(
    directory: Directory, header: bytes, wall: float, matches: Callable[[bytes, Signature], bool]
) -> ApiKey | ResyncError:
    """Find the valid key that a header ``dj-signature`` was made with.

    ``matches`` says whether a secret made the signature of this record; it is asked for valid keys that the signature
    names only, so that a made-up header costs no HMAC.
    """
    signature = Signature.read(header)
    if signature is None:
        return error(ErrorCode.API_KEY_MISSING) if is_blank(header) else invalid(CredentialFault.MALFORMED)
    fault = CredentialFault.UNKNOWN
    for known in directory.signers.get(signature.signer, ()):  # more than one: only by hand, or by a wonder
        found = _fault(known, wall)
        if found is not None:
            fault = found
        elif known.signing_secret is None:
            fault = CredentialFault.CANNOT_SIGN
        elif matches(known.signing_secret, signature):
            return known
        else:
            fault = CredentialFault.MISMATCH
    return invalid(fault)


def untimely(requested_at: int, read_at: float, policy: CredentialPolicy) -> ResyncError | None:
    """Return why a signed request comes too late or too early.

    ``requested_at``: milliseconds since the epoch; ``read_at``: seconds since the epoch at which its record was read.
    """
    age = read_at - requested_at / 1000
    if -policy.max_ahead <= age <= policy.max_age:
        return None
    fault = CredentialFault.TOO_OLD if age > policy.max_age else CredentialFault.IN_THE_FUTURE
    times = {"requested": _utc(requested_at / 1000), "read": _utc(read_at)}
    return error(ErrorCode.API_KEY_INVALID, fault=fault.format_map(times))


def _utc(seconds: float) -> str:
    """Return a time for people; seconds since the epoch that no calendar has, as they are."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return f"{seconds:.0f} s since 1970"


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


def invalid(fault: CredentialFault) -> ResyncError:
    """Return the error ``API_KEY_INVALID`` with the message of this fault, which says what to do."""
    return error(ErrorCode.API_KEY_INVALID, fault=fault)


def is_blank(credential: bytes) -> bool:
    """Return whether a header's value is empty or white space only, and so counts as missing."""
    return not credential.decode("utf-8", "replace").strip()


def _fault(known: ApiKey, wall: float) -> CredentialFault | None:
    if known.revoked:
        return CredentialFault.REVOKED
    expired = known.expires_at is not None and known.expires_at <= wall
    return CredentialFault.EXPIRED if expired else None
