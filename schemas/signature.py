"""Signatures of requests: the proof that the holder of an API key made a record, without the key itself.

::

    secret      S = HMAC-SHA256(K, "mirakl-resync signing v1"), K: the UTF-8 bytes of the key
    signed      "mirakl-resync v1" LF topic LF hex of __value_schema_id LF dj-client LF value
    header      "v1:" first 16 hex digits of SHA-256(K) ":" base64 of HMAC-SHA256(S, signed)

The service holds S, encrypted, and never K. The form is strict, so that no two headers are the same signature: lower
case, padded base64 of RFC 4648, nothing around it. A leaf: service and tools both sign and verify by this module only.
"""

import hashlib
import hmac
import re
from base64 import b64encode
from functools import lru_cache
from typing import Final, NamedTuple

SIGNER_DIGITS: Final = 16
"""Hex digits of the key's SHA-256 that a signature names its key by."""
_DERIVATION: Final = b"mirakl-resync signing v1"
_SIGNED: Final = b"mirakl-resync v1"
_HEADER: Final = re.compile(rb"v1:([0-9a-f]{16}):([A-Za-z0-9+/]{43}=)")
_HEADER_BYTES: Final = 64
_BEGUN_MOST: Final = 1024
"""Secrets whose half-done HMAC is kept: about 1 MB, and a third of the time of each."""


class Content(NamedTuple):
    """Signed parts of a record besides the topic; ``None`` if the record has no such header, or a null value."""

    schema_id: bytes | None
    """The header ``__value_schema_id``."""
    client: bytes | None
    """The header ``dj-client``, as sent."""
    value: bytes | None

    def __repr__(self) -> str:
        return f"Content({len(self.value or b'')} bytes)"


class Signature(NamedTuple):
    """A well-formed header ``dj-signature``: who claims to have signed, and the HMAC to compare."""

    signer: str
    """The first 16 hex digits of the SHA-256 of the key."""
    tag: bytes
    """The HMAC in base64, 44 bytes."""

    @classmethod
    def read(cls, header: bytes) -> "Signature | None":
        """Read a header ``dj-signature``; ``None``: it is malformed.

        The form is strict: one signature has one spelling.
        """
        found = _HEADER.fullmatch(header) if len(header) == _HEADER_BYTES else None
        return cls(found[1].decode(), found[2]) if found else None


def signing_secret(key: bytes) -> bytes:
    """Return the 32 bytes that the holder of a key signs with, and that the service verifies with.

    The service stores them, encrypted. They cannot be turned back into the key: a stored secret that becomes known
    signs requests, but opens nothing that takes the key.
    """
    return hmac.digest(key, _DERIVATION, "sha256")


def signer(digest: bytes) -> str:
    """Return what a signature names a key by, from the key's SHA-256 (32 bytes)."""
    return digest.hex()[:SIGNER_DIGITS]


class Signing:
    """Signs and verifies the records of one topic. Safe for several threads: it keeps only copies of begun HMACs."""

    def __init__(self, topic: str) -> None:
        self._prefix = b"%b\n%b\n" % (_SIGNED, topic.encode())
        self._begun = lru_cache(_BEGUN_MOST)(self._begin)

    def header(self, key: bytes, content: Content) -> bytes:
        """Return the header ``dj-signature`` of a record that the holder of ``key`` (UTF-8 bytes) sends."""
        tag = _tag(self._begin(signing_secret(key)), content)
        return b"v1:%b:%b" % (signer(hashlib.sha256(key).digest()).encode(), tag)

    def matches(self, secret: bytes, signature: Signature, content: Content) -> bool:
        """Return whether the holder of ``secret`` signed exactly this; takes as long for any wrong tag.

        Costs one HMAC over the value. Two kinds of records are refused unseen, because the same signed bytes could be
        cut otherwise: those with an empty schema header, and those with a line feed in ``dj-client``.
        """
        if content.schema_id == b"" or b"\n" in (content.client or b""):
            return False
        return hmac.compare_digest(_tag(self._begun(secret).copy(), content), signature.tag)

    def _begin(self, secret: bytes) -> hmac.HMAC:
        return hmac.new(secret, self._prefix, "sha256")


def _tag(begun: hmac.HMAC, content: Content) -> bytes:
    schema_id, client = (content.schema_id or b"").hex().encode(), content.client or b""
    begun.update(b"%b\n%b\n" % (schema_id, client))
    begun.update(content.value or b"")  # which may be large, and is not copied
    return b64encode(begun.digest())
