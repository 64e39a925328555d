"""Secrets at rest: Fernet (AES-128-CBC with HMAC-SHA256), several keys for rotation.

A Mirakl credential is encrypted together with the tenant, the id and the origin (scheme, host, port) of its client
specification, and is usable only there: copied into another row, or left in a row whose base URL was pointed to
another host, it is refused. Earlier releases encrypted the credential only. That form is still read, and replaced
when the row is changed next. Until then it protects nobody from a person who can write to the database.

The signing secret of an API key is encrypted together with the tenant and the id of the key, and never read without.
"""

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from hashlib import sha256

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from schemas.errors import ExplainedError
from schemas.exit_codes import ExitCode
from schemas.explanation import Explanation
from schemas.settings.secret_files import read_value

LONGEST_CREDENTIAL = 4096
"""Characters; servers commonly refuse a header line beyond 8 KiB."""

SIGNING = "signing"
"""Use of the secret of an API key; no origin of a URL reads like this."""

_BOUND_MARK = "\x01"
"""First character of what is encrypted with a binding. No credential begins with a control character."""

_FINGERPRINT_DIGITS = 8
_BEARER = re.compile(r"^bearer +(?=\S)", re.IGNORECASE)
_HEADER_TEXT = re.compile(r"[!-~]([ -~]*[!-~])?")
_ONLY_THE_TOKEN = "Give only Mirakl's key or token."  # noqa: S105 - a remedy


NEW_KEY = "Make a key with `mirakl-resync-consumer encryption-key`."
"""Remedy where no usable key is configured."""


class EncryptionKeysError(ExplainedError, ValueError):
    """``RESYNC_ENCRYPTION_KEYS`` is not usable; the text names a key by its position, never by its value."""

    exit_code = ExitCode.USAGE


@dataclass(frozen=True, slots=True)
class Binding:
    """The only place where an encrypted secret may be used: moved elsewhere, it is refused."""

    tenant: str
    row_id: str
    """UUID of the client specification or the API key, lower case."""
    use: str
    """The origin of the base URL, as ``consumer.domain.base_url.origin`` returns it, or ``SIGNING``."""


@dataclass(frozen=True, slots=True)
class Decrypted:
    """A stored secret in plain text, which is part of no ``repr``."""

    secret: str = field(repr=False)
    bound: bool
    """``False``: stored by an earlier release, without a binding."""


class Undecryptable(Enum):
    """Reason why a stored token yields no secret; each has its own remedy."""

    NO_KEY = auto()
    """None of the keys encrypted it, or it is damaged."""
    BOUND_ELSEWHERE = auto()
    """It was encrypted for another tenant, id or use."""


class Encryption:
    """The first key encrypts, all decrypt: so a new key is put in front and the old one kept until all is set anew.

    ``fingerprints`` name the keys, in their order, where people have to tell them apart.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        """Take Fernet keys (32 bytes, URL-safe base64), the first of which encrypts.

        Raises :class:`EncryptionKeysError` where one is not a key.
        """
        if not keys:
            raise EncryptionKeysError("RESYNC_ENCRYPTION_KEYS is empty.", NEW_KEY)
        fernets = [_fernet(key, place) for place, key in enumerate(keys, start=1)]
        self._fernet = MultiFernet(fernets)
        self._by_fingerprint = dict(zip(map(fingerprint, keys), fernets, strict=True))
        self.fingerprints = tuple(self._by_fingerprint)

    def encrypt(self, secret: str, binding: Binding) -> str:
        """Return the token to store: the secret, bound to its place, encrypted with the first key."""
        content = [binding.tenant, binding.row_id, binding.use, secret]
        return self._fernet.encrypt(f"{_BOUND_MARK}{json.dumps(content)}".encode()).decode("ascii")

    def renew(self, token: object, place: Binding | None) -> str | None:
        """Return a token with the same secret, encrypted with the first key; ``None`` where no key decrypts it.

        It stays bound to what it is bound to. If it is in the form of earlier releases, it is bound to ``place``;
        ``None``: it keeps that form.
        """
        try:
            plain = self._fernet.decrypt(str(token).encode(errors="replace"))
        except InvalidToken:
            return None
        if place is not None and not plain.startswith(_BOUND_MARK.encode()):
            with suppress(UnicodeDecodeError):  # no credential, and so bound to nothing
                return self.encrypt(plain.decode(), place)
        return self._fernet.encrypt(plain).decode("ascii")

    def unbind(self, token: str, place: Binding) -> str | None:
        """Return a token with the same secret in the form of release 0.1, encrypted with the first key.

        One that is bound elsewhere than to ``place`` keeps its binding: it is usable nowhere, and stays so. ``None``
        where no key decrypts it.
        """
        found = self.decrypt(token, place)
        if isinstance(found, Decrypted):
            return self._fernet.encrypt(found.secret.encode()).decode("ascii")
        return self.renew(token, None)

    def key_of(self, token: object) -> str | None:
        """Return the fingerprint of the key that encrypted a token; ``None``: none of these."""
        for name, fernet in self._by_fingerprint.items():
            with suppress(InvalidToken):
                fernet.decrypt(str(token).encode(errors="replace"))
                return name
        return None

    def decrypt(self, token: str, binding: Binding) -> Decrypted | Undecryptable:
        """Return the secret, or why there is none: no key fits, or it was stored for another place."""
        try:
            text = self._fernet.decrypt(token.encode(errors="replace")).decode()
        except (InvalidToken, UnicodeDecodeError):
            return Undecryptable.NO_KEY
        if not text.startswith(_BOUND_MARK):
            return Decrypted(text, bound=False)
        try:
            *place, secret = json.loads(text.removeprefix(_BOUND_MARK))
        except (ValueError, TypeError):  # none of ours: who has the key may have encrypted anything
            return Undecryptable.NO_KEY
        if place != [binding.tenant, binding.row_id, binding.use]:
            return Undecryptable.BOUND_ELSEWHERE
        return Decrypted(secret, bound=True)


def fingerprint(key: str) -> str:
    """Return eight hex digits that name a key without telling anything about it: its SHA-256, truncated."""
    return sha256(key.strip().encode()).hexdigest()[:_FINGERPRINT_DIGITS]


def new_key() -> str:
    """Return a new Fernet key: 32 random bytes in URL-safe base64, 44 characters."""
    return Fernet.generate_key().decode("ascii")


def read_credential(content: bytes) -> str:
    """Take a credential from the content of a file, as every setting's ``_FILE`` is read."""
    try:
        return read_value(content)
    except UnicodeDecodeError:
        return content.decode(errors="replace")  # has no place in a header, and is refused as that


def without_scheme(credential: str) -> str:
    """Drop a leading ``Bearer``: people paste the whole header, and the scheme is sent anyway."""
    return _BEARER.sub("", credential)


def credential_problem(credential: str) -> Explanation | None:
    """Return why a credential cannot travel in an ``Authorization`` header, with the remedy; ``None``: it can.

    Visible ASCII with spaces inside: tokens are that (RFC 6750, section 2.1), and whatever else a header may hold
    is read differently by different servers (RFC 9110, section 5.5). The texts never repeat the credential.
    """
    if not credential:
        return Explanation("The credential is empty.", "Give Mirakl's key or token.")
    if len(credential) > LONGEST_CREDENTIAL:
        return Explanation(f"The credential is longer than {LONGEST_CREDENTIAL} characters.", _ONLY_THE_TOKEN)
    if not _HEADER_TEXT.fullmatch(credential):
        return Explanation(
            "The credential contains a line break, another control character, white space at an end "
            "or a character outside ASCII.",
            _ONLY_THE_TOKEN,
        )
    return None


def _fernet(key: str, place: int) -> Fernet:
    try:
        return Fernet(key.strip().encode())
    except ValueError:
        raise EncryptionKeysError(
            f"Key {place} of RESYNC_ENCRYPTION_KEYS is not a Fernet key (44 characters of URL-safe base64).", NEW_KEY
        ) from None  # the cause and its frames would carry the key
