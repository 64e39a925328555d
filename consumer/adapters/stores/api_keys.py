"""API keys, for the commands `api-keys`."""

import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256

from sqlalchemy import Engine, RowMapping, insert, update

from consumer.adapters.stores.encryption import SIGNING, Binding, Encryption
from consumer.adapters.stores.rows import (
    AdministrationError,
    EncryptionKeysNeededError,
    Values,
    by_id,
    named,
    reading,
    refuse_name,
    rows,
    writing,
)
from consumer.adapters.stores.tables import DEFAULT_TENANT, api_keys, instant
from consumer.domain.model import Role
from schemas.signature import signing_secret

KEY_PREFIX = "mrk_"
"""Prefix by which people and secret scanners recognise our keys."""
_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class ApiKeyRow:
    """A stored API key as ``api-keys list`` shows it: without the key, which is stored nowhere."""

    id: str
    tenant: str
    name: str
    role: str
    created_at: datetime | None
    expires_at: datetime | None
    revoked: bool
    can_sign: bool
    """Whether a signing secret is stored; only the service and `doctor` find out whether it can be decrypted."""


@dataclass(frozen=True, slots=True)
class IssuedApiKey:
    """A new key with its row. The key is shown once and cannot be recovered."""

    key: str = field(repr=False)
    row: ApiKeyRow


class ApiKeys:
    """The stored API keys. Every method raises :class:`AdministrationError` or :class:`StoreError`.

    A name is unique among the keys of a tenant that are not revoked: revoking a key frees its name.
    """

    def __init__(self, engine: Engine, encryption: Encryption | None = None) -> None:
        """Use this database. ``encryption`` is needed to issue keys that can sign, and for nothing else."""
        self._engine = engine
        self._encryption = encryption

    def issue(
        self,
        name: str,
        role: Role = Role.OPERATOR,
        tenant: str = DEFAULT_TENANT,
        expires_at: datetime | None = None,
        *,
        signing: bool = False,
        show: Callable[[str], object] = lambda _key: None,
    ) -> IssuedApiKey:
        """Create a key of 256 random bits and store its SHA-256.

        A slow hash would protect guessable secrets; these cannot be guessed, and are looked up for every request.
        ``expires_at`` must carry its time zone. ``signing``: the holder may sign requests instead of sending the key,
        so the secret that is derived from it is stored, encrypted.

        ``show`` is called with the key before the transaction commits; if it raises, no key is stored. A key that
        nobody has seen would be of no use, and could not be told from one that somebody uses.
        """
        refuse_name(tenant, "tenant")
        refuse_name(name, "name")
        key = KEY_PREFIX + secrets.token_urlsafe(_KEY_BYTES)
        row_id = str(uuid.uuid4())
        values: Values = {
            "id": row_id,
            "tenant": tenant,
            "name": name,
            "key_hash": sha256(key.encode()).hexdigest(),
            "role": role.value,
            "created_at": datetime.now(UTC),
            "expires_at": _checked_expiry(expires_at),
            "signing_secret": self._signing_secret(key, tenant, row_id) if signing else None,
        }
        with writing(self._engine) as connection:
            if any(row["name"] == name and not row["revoked"] for row in rows(connection, api_keys, tenant)):
                raise AdministrationError(
                    f"Tenant {tenant!r} already has an API key {name!r}.",
                    "Choose another name, or revoke that one first.",
                )
            connection.execute(insert(api_keys).values(values))
            issued = IssuedApiKey(key, _row(by_id(connection, api_keys, row_id)))
            show(key)
            return issued

    def list(self, tenant: str | None = None) -> tuple[ApiKeyRow, ...]:
        """Return the keys of a tenant, or of all tenants, by tenant and name. Raises :class:`StoreError`."""
        with reading(self._engine) as connection:
            return tuple(map(_row, rows(connection, api_keys, tenant)))

    def revoke(self, identifier: str, tenant: str | None = None) -> ApiKeyRow:
        """Refuse the key from now on, for good: replicas see it within 5 s. Safe to repeat.

        Raises :class:`AdministrationError` where the name or id does not name exactly one.
        """
        with writing(self._engine) as connection:
            found = named(connection, api_keys, identifier, tenant)
            row_id = next((row["id"] for row in found if not row["revoked"]), found[0]["id"])
            connection.execute(update(api_keys).where(api_keys.c.id == row_id).values(revoked=True))
            return _row(by_id(connection, api_keys, row_id))

    def _signing_secret(self, key: str, tenant: str, row_id: str) -> str:
        if self._encryption is None:
            raise EncryptionKeysNeededError
        return self._encryption.encrypt(signing_secret(key.encode()).hex(), Binding(tenant, row_id, SIGNING))


def _row(stored: RowMapping) -> ApiKeyRow:
    return ApiKeyRow(
        id=stored["id"],
        tenant=stored["tenant"],
        name=stored["name"],
        role=stored["role"],
        created_at=instant(stored["created_at"]),
        expires_at=instant(stored["expires_at"]),
        revoked=bool(stored["revoked"]),
        can_sign=stored["signing_secret"] is not None,
    )


def _checked_expiry(expires_at: datetime | None) -> datetime | None:
    """Return the time in UTC: SQLite stores no time zone."""
    if expires_at is None:
        return None
    if expires_at <= datetime.now(UTC):
        raise AdministrationError("The key would have expired already.", "Give a time in the future.")
    return expires_at.astimezone(UTC)
