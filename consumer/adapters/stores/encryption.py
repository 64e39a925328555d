"""Mirakl credentials at rest: Fernet (AES-128-CBC with HMAC-SHA256), several keys for rotation."""

import re
from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

LONGEST_CREDENTIAL = 4096
"""Characters; servers commonly refuse a header line beyond 8 KiB."""

_HEADER_TEXT = re.compile(r"[!-~]([ -~]*[!-~])?")


class EncryptionKeysError(ValueError):
    """``RESYNC_ENCRYPTION_KEYS`` cannot be used; the text names the key by its place, never by its value."""


class Encryption:
    """The first key encrypts, all decrypt: so a new key is put in front and the old one kept until all is set anew."""

    def __init__(self, keys: Sequence[str]) -> None:
        """Take Fernet keys (32 bytes, URL-safe base64). Raises :class:`EncryptionKeysError`."""
        if not keys:
            raise EncryptionKeysError(
                "RESYNC_ENCRYPTION_KEYS is empty; `mirakl-resync-consumer encryption-key` makes a key."
            )
        self._fernet = MultiFernet([_fernet(key, place) for place, key in enumerate(keys, start=1)])

    def encrypt(self, credential: str) -> str:
        """Give the token to store."""
        return self._fernet.encrypt(credential.encode()).decode("ascii")

    def decrypt(self, token: str) -> str | None:
        """Give the credential; ``None`` where the token is of none of the keys, or damaged."""
        try:
            return self._fernet.decrypt(token.encode(errors="replace")).decode()
        except (InvalidToken, UnicodeDecodeError):
            return None


def new_key() -> str:
    """Make a Fernet key."""
    return Fernet.generate_key().decode("ascii")


def read_credential(content: bytes) -> str:
    """Take a credential from the content of a file: text, without the line end that editors put there."""
    text = content.decode(errors="replace")  # what is no text has no place in a header, and is refused as that
    return text.removesuffix("\n").removesuffix("\r")


def credential_problem(credential: str) -> str | None:
    """Say in one sentence why a credential cannot travel in an ``Authorization`` header; ``None``: it can.

    Visible ASCII with spaces inside: tokens are that (RFC 6750, section 2.1), and whatever else a header may hold
    is read differently by different servers (RFC 9110, section 5.5). The sentence never repeats the credential.
    """
    if not credential:
        return "The credential is empty; give Mirakl's key or token."
    if len(credential) > LONGEST_CREDENTIAL:
        return f"The credential is longer than {LONGEST_CREDENTIAL} characters; give Mirakl's key or token alone."
    if not _HEADER_TEXT.fullmatch(credential):
        return (
            "The credential holds a line break, another control character, white space at an end "
            "or a character outside ASCII; give Mirakl's key or token alone."
        )
    return None


def _fernet(key: str, place: int) -> Fernet:
    try:
        return Fernet(key.strip().encode())
    except ValueError:
        raise EncryptionKeysError(
            f"Key {place} of RESYNC_ENCRYPTION_KEYS is no Fernet key (44 characters of URL-safe base64); "
            "`mirakl-resync-consumer encryption-key` makes one."
        ) from None  # the cause and its frames would carry the key
