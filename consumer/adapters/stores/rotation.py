"""Stored secrets and the keys that encrypt them: which keys are in use, and how all secrets change to the first one."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, RowMapping, Table, update

from consumer.adapters.stores.client_specifications import binding
from consumer.adapters.stores.encryption import Binding, Encryption
from consumer.adapters.stores.rows import reading, rows, writing
from consumer.adapters.stores.tables import api_keys, client_specifications


@dataclass(frozen=True, slots=True)
class Rotation:
    """Counts of secrets that were encrypted anew with the first key, and the rows that no key decrypts."""

    credentials: int
    signing_secrets: int
    undecryptable: tuple[str, ...]
    """The rows whose secret none of the keys decrypts, as words."""


@dataclass(frozen=True, slots=True)
class KeyUses:
    """Number of stored secrets that each key encrypts, by fingerprint, and of those that none does."""

    secrets: Mapping[str, int]
    """Fingerprint of each configured key, in their order -> number of secrets."""
    undecryptable: int


@dataclass(frozen=True, slots=True)
class _Secret:
    table: Table
    column: str
    row: RowMapping
    place: Binding | None
    """Binding for a credential in the form of earlier releases; ``None``: it stays in that form."""

    @property
    def token(self) -> object:
        return self.row[self.column]

    def __str__(self) -> str:
        kind = "client specification" if self.table is client_specifications else "API key"
        return (
            f"{kind} {str(self.row['name'])!r:.80} of tenant {str(self.row['tenant'])!r:.80} ({self.row['id']!s:.40})"
        )


def rotate(engine: Engine, encryption: Encryption, *, unbound: bool = False) -> Rotation:
    """Encrypt every stored secret anew with the first key, in one transaction.

    Secrets keep what they are bound to; credentials in the form of earlier releases are bound to their row. With
    ``unbound``, all credentials get the form of release 0.1, so that it can use them. Rows are otherwise unchanged,
    also their time of change, so that a service that reads them notices nothing. A secret that no key decrypts is left
    alone. Raises :class:`AdministrationError` or :class:`StoreError`: then nothing has changed.
    """
    written: Counter[str] = Counter()
    undecryptable = []
    with writing(engine) as connection:
        for secret in _secrets(connection):
            if unbound and secret.place is not None:
                token = encryption.unbind(str(secret.token), secret.place)
            else:
                token = encryption.renew(secret.token, secret.place)
            if token is None:
                undecryptable.append(str(secret))
                continue
            table = secret.table
            connection.execute(update(table).where(table.c.id == secret.row["id"]).values({secret.column: token}))
            written[secret.column] += 1
    return Rotation(written["credential"], written["signing_secret"], tuple(undecryptable))


def count_key_uses(engine: Engine, encryption: Encryption) -> KeyUses:
    """Count the secrets that each key encrypts. Raises :class:`StoreError`."""
    with reading(engine) as connection:
        found = Counter(encryption.key_of(secret.token) for secret in _secrets(connection))
    return KeyUses({each: found[each] for each in encryption.fingerprints}, found[None])


def _secrets(connection: Connection) -> Iterator[_Secret]:
    for row in rows(connection, client_specifications, None):
        place = binding(row)
        yield _Secret(client_specifications, "credential", row, place if place.use else None)
    for row in rows(connection, api_keys, None):
        if row["signing_secret"] is not None:
            yield _Secret(api_keys, "signing_secret", row, None)
