"""Credentials of records, API keys and signatures, checked against the directory."""

from typing import Protocol

from consumer.domain.authorization import (
    CredentialPolicy,
    identify,
    identify_signer,
    invalid,
    is_blank,
    untimely,
)
from consumer.domain.model import ApiKey, Directory
from consumer.domain.outcome import ResyncError
from consumer.engine.request_headers import RequestHeaders
from schemas.contract import REQUESTS_TOPIC, Credential, CredentialFault
from schemas.signature import Content, Signature, Signing


class Verifier(Protocol):
    """Verifies signatures of one topic, as ``schemas.signature.Signing`` does; a trace and a replay stand in for it."""

    def matches(self, secret: bytes, signature: Signature, content: Content) -> bool:
        """Return whether the holder of a secret (32 bytes) signed exactly this content of a record on our topic."""
        ...


class Credentials:
    """Finds the API key behind a record's headers. If both are present, only the signature counts."""

    def __init__(self, policy: CredentialPolicy | None = None, verifier: Verifier | None = None) -> None:
        self.policy = policy or CredentialPolicy()
        self.verifier = verifier or Signing(REQUESTS_TOPIC)

    def identify(
        self, directory: Directory, headers: RequestHeaders, value: bytes | None, wall: float
    ) -> ApiKey | ResyncError:
        """Find a valid key; ``wall`` is seconds since the epoch. Whether a signature is too old is not looked at."""
        given = headers.api_key if headers.signature is None else headers.signature
        form = Credential.KEY if headers.signature is None else Credential.SIGNATURE
        if form not in self.policy.accepted and given is not None and not is_blank(given):
            excluded = form is Credential.KEY
            return invalid(CredentialFault.KEYS_EXCLUDED if excluded else CredentialFault.SIGNATURES_EXCLUDED)
        if headers.signature is None:
            return identify(directory, headers.api_key, wall)
        content = Content(headers.schema_id, headers.caller, value)
        return identify_signer(
            directory,
            headers.signature,
            wall,
            lambda secret, signature: self.verifier.matches(secret, signature, content),
        )

    def untimely(self, requested_at: int, read_at: float) -> ResyncError | None:
        """Return why a signed request is too old, or from the future, at the time at which its record was read.

        ``requested_at`` is milliseconds, ``read_at`` seconds since the epoch.
        """
        return untimely(requested_at, read_at, self.policy)
