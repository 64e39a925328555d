"""The stores as one immutable snapshot, read again only when they have changed.

A broken row harms no other: rows may be written by hand, and constraints can be dropped.
"""

import os
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from sqlalchemy import Connection, Engine, RowMapping, select, text
from sqlalchemy.exc import DBAPIError

from consumer.adapters.mirakl.address import base_url_problem
from consumer.adapters.stores.database import StoreError, sqlite_file, trouble, went_away
from consumer.adapters.stores.encryption import (
    SIGNING,
    Binding,
    Decrypted,
    Encryption,
    Undecryptable,
    credential_problem,
    without_scheme,
)
from consumer.adapters.stores.limits import LIMITS, LONGEST_NAME
from consumer.adapters.stores.revisions import check_revision
from consumer.adapters.stores.tables import api_keys, as_stored, client_specifications, directory_version, instant
from consumer.domain.base_url import ANY_HOST, HostRules, normalised, origin
from consumer.domain.model import ApiKey, AuthScheme, ClientSpecification, Directory, Role, build_directory
from schemas.contract import canonical_uuid
from schemas.explanation import Explanation

Loaded = TypeVar("Loaded")
StoredRow: TypeAlias = Mapping[str, Any] | RowMapping

_DIGEST_BYTES = 32
"""Length of a SHA-256 digest, and so of a signing secret."""
_NO_TENANT = f"tenant is not a text of 1 to {LONGEST_NAME} characters."
_CORRECT_ROW = "Correct the row, or remove the client specification."
_CORRECT_KEY = "Correct the row, or revoke the key."
_VERSION = select(directory_version.c.version)
_SPECIFICATIONS = select(*map(as_stored, client_specifications.c)).order_by(client_specifications.c.id)
_API_KEYS = select(*map(as_stored, api_keys.c)).order_by(api_keys.c.id)


class _Rows(Generic[Loaded]):
    """The rows of one table as they were loaded last: one that has not changed is not checked and decrypted again.

    A snapshot is read as a whole whenever anything has changed. Decrypting a secret costs 80 µs of a core, and loading
    a row about as much, during which the event loop waits: seconds for tens of thousands of keys that can sign.
    """

    def __init__(self, load: Callable[[StoredRow], Loaded]) -> None:
        self._load = load
        self._former: dict[tuple[object, ...], Loaded] = {}
        self._latest: dict[tuple[object, ...], Loaded] = {}

    def begin(self) -> None:
        """Begin a snapshot: rows that the one before did not have are forgotten."""
        self._former, self._latest = self._latest, {}

    def load(self, row: RowMapping) -> Loaded:
        """Load a row, or return what an equal one was loaded as. Raises what loading raises."""
        values = tuple(row.values())
        loaded = self._latest[values] = self._former[values] if values in self._former else self._load(row)
        return loaded


class DirectoryReader:
    """Reads snapshots over one long-lived connection; one call at a time, from any thread.

    ``warnings`` names the rows that the last snapshot leaves out and the specifications in it that cannot be used.
    ``left_out`` has those of client specifications that it leaves out, by their stored id.
    """

    def __init__(self, engine: Engine, encryption: Encryption | None, hosts: HostRules = ANY_HOST) -> None:
        self._engine = (
            engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            if engine.dialect.name == "postgresql"
            else engine
        )
        self._loaded_keys = _Rows(lambda row: load_api_key(row, encryption))
        self._loaded_specifications = _Rows(lambda row: load_specification(row, encryption, hosts))
        self._connection: Connection | None = None
        self._file: tuple[int, int] | None = None
        self.warnings: tuple[Explanation, ...] = ()
        self.left_out: Mapping[str, Explanation] = {}

    def read(self, known_version: int | None) -> Directory | None:
        """Return the snapshot, or ``None`` while it is still the one of ``known_version``.

        If nothing has changed, it costs one query of one row. Over a new connection the snapshot is always read: the
        same number may belong to another database, restored from a backup. Raises :class:`StoreError`.
        """
        reused = self._keep_connection()
        try:
            return self._read(known_version if reused else None)
        except DBAPIError as error:
            self.close()
            if reused and went_away(error, self._engine):
                return self.read(None)  # once: the next connection is not a reused one
            raise trouble(error, self._engine) from error
        except StoreError:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection; the next read makes a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()  # closing properly would wait for a frozen server
            connection.close()

    def _keep_connection(self) -> bool:
        """Return whether the connection still leads to the database: a SQLite file can be replaced."""
        if self._connection is not None and self._file != _identity(self._engine):
            self.close()
        return self._connection is not None

    def _read(self, known_version: int | None) -> Directory | None:
        connection = self._connection or self._connect()
        with connection.begin():
            if known_version is not None and _version(connection) == known_version:
                return None
        with connection.begin():
            if connection.dialect.name == "postgresql":
                # A snapshot that is older than a TRUNCATE sees the table empty: so first the lock, then the snapshot.
                connection.execute(text("LOCK TABLE client_specifications, api_keys IN ACCESS SHARE MODE"))
            return self._load(connection)

    def _connect(self) -> Connection:
        self._file = _identity(self._engine)
        self._connection = self._engine.connect()
        with self._connection.begin():
            check_revision(self._connection)
        return self._connection

    def _load(self, connection: Connection) -> Directory:
        version = _version(connection)
        warnings: list[Explanation] = []
        specifications = self._specifications(connection, warnings)
        keys = self._keys(connection, warnings)
        self.warnings = tuple(warnings)
        return build_directory(version, specifications, keys)

    def _specifications(self, connection: Connection, warnings: list[Explanation]) -> list[ClientSpecification]:
        loaded, left_out = [], {}
        self._loaded_specifications.begin()
        for row in connection.execute(_SPECIFICATIONS).mappings():
            try:
                specification = self._loaded_specifications.load(row)
            except Exception as problem:  # noqa: BLE001 - one row is not everybody's trouble
                left_out[str(row["id"])] = _unreadable("Client specification", row, problem)
                continue
            if specification is None:
                left_out[str(row["id"])] = Explanation(
                    f"Client specification {row['id']!r:.80} is left out: its id is not a UUID.", _CORRECT_ROW
                )
                continue
            loaded.append(specification)
            if specification.unusable:
                about = f"Client specification {specification.id} ({specification.name!r}) cannot be used"
                warnings.append(_about(about, specification.unusable))
        self.left_out = left_out
        warnings.extend(left_out.values())
        return loaded

    def _keys(self, connection: Connection, warnings: list[Explanation]) -> dict[bytes, ApiKey]:
        loaded = {}
        self._loaded_keys.begin()
        for row in connection.execute(_API_KEYS).mappings():
            try:
                read = self._loaded_keys.load(row)
            except Exception as problem:  # noqa: BLE001 - one row is not everybody's trouble
                warnings.append(_unreadable("API key", row, problem))
                continue
            if isinstance(read, Explanation):
                warnings.append(read)
                continue
            loaded[read.digest] = read.key
            if read.warning:
                warnings.append(read.warning)
        return loaded


def load_specification(row: StoredRow, encryption: Encryption | None, hosts: HostRules) -> ClientSpecification | None:
    """Read a row as the driver gave it; ``None`` where its id is not a UUID: no request and no result could name it.

    Any other mistake makes it unusable, and a value that may be a misplaced secret is left out of the specification.
    """
    specification_id = canonical_uuid(str(row["id"]))
    if specification_id is None:
        return None
    base_url = str(row["base_url"])
    url_problem = base_url_problem(base_url, hosts)
    binding = Binding(str(row["tenant"]), specification_id, "" if url_problem else origin(base_url))
    credential, unreadable = _credential(row["credential"], encryption, binding)
    scheme = AuthScheme.API_KEY if row["auth_scheme"] == AuthScheme.API_KEY else AuthScheme.BEARER
    unusable = _mistake(row) or url_problem or unreadable
    return ClientSpecification(
        id=specification_id,
        tenant=str(row["tenant"]),
        name=str(row["name"]),
        base_url="" if url_problem else normalised(base_url),
        credential="" if unusable else credential if scheme is AuthScheme.API_KEY else without_scheme(credential),
        auth_scheme=scheme,
        active=_is_true(row["active"]),
        suspended=_is_true(row["suspended"]),
        products_per_call=1 if unusable else int(row["products_per_call"]),
        concurrent_calls=1 if unusable else int(row["concurrent_calls"]),
        calls_per_hour=None if unusable or row["calls_per_hour"] is None else int(row["calls_per_hour"]),
        unusable=unusable,
        changed_at=str(row.get("updated_at", "")),
    )


class LoadedApiKey(NamedTuple):
    """A row of an API key that can be used, with its digest (SHA-256, 32 bytes)."""

    digest: bytes
    key: ApiKey
    warning: Explanation | None
    """Reason why it cannot sign although a secret is stored for it."""


def load_api_key(row: StoredRow, encryption: Encryption | None) -> LoadedApiKey | Explanation:
    """Read a row as the driver gave it; an explanation where it is not usable and opens nothing."""
    key_name = f"API key {row['id']!r:.80} ({row['name']!r:.80})"
    ignored = f"{key_name} is ignored"
    digest = _digest(row["key_hash"])
    if digest is None:
        return Explanation(f"{ignored}: its key_hash is not a SHA-256 in hexadecimal.", _CORRECT_KEY)
    if not _is_name(row["tenant"]):
        return Explanation(f"{ignored}: its {_NO_TENANT}", _CORRECT_KEY)
    if row["role"] not in {role.value for role in Role}:
        return Explanation(f"{ignored}: its role is none of {', '.join(Role)}.", _CORRECT_KEY)
    expires_at = _expiry(row["expires_at"])
    if isinstance(expires_at, Explanation):
        return _about(ignored, expires_at)
    secret, trouble_of_secret = None, None
    if row["signing_secret"] is not None:
        place = Binding(str(row["tenant"]), canonical_uuid(str(row["id"])) or "", SIGNING)
        secret, trouble_of_secret = _signing_secret(row["signing_secret"], encryption, place)
    key = ApiKey(
        id=str(row["id"]),
        tenant=str(row["tenant"]),
        name=str(row["name"])[:LONGEST_NAME],  # it stands in every line of the log
        role=Role(row["role"]),
        expires_at=expires_at.timestamp() if expires_at else None,
        revoked=not _is_false(row["revoked"]),
        signing_secret=secret,
    )
    return LoadedApiKey(digest, key, trouble_of_secret and _about(f"{key_name} cannot sign", trouble_of_secret))


def _signing_secret(
    stored: object, encryption: Encryption | None, binding: Binding
) -> tuple[bytes, None] | tuple[None, Explanation]:
    """Return the secret, or the reason why there is none."""
    if encryption is None:
        return None, Explanation("RESYNC_ENCRYPTION_KEYS is not set.", "Set it.")
    found = encryption.decrypt(stored, binding) if isinstance(stored, str) else Undecryptable.NO_KEY
    if found is Undecryptable.NO_KEY:
        remedy = "Add its encryption key to RESYNC_ENCRYPTION_KEYS, or issue another API key."
        return None, Explanation("its secret cannot be decrypted.", remedy)
    secret = _digest(found.secret) if isinstance(found, Decrypted) and found.bound else None
    if secret is None:
        return None, Explanation("its secret was not stored for this key.", "Issue another one.")
    return secret, None


def _about(row: str, found: Explanation) -> Explanation:
    """Return an explanation that begins with the row and its fate."""
    return found._replace(problem=f"{row}: {found.problem}")


def _unreadable(what: str, row: StoredRow, problem: Exception) -> Explanation:
    """Explain what reading a row raised, without its text, which could contain a secret."""
    told = f"{what} {row['id']!r:.80} is left out: it cannot be read ({type(problem).__name__})."
    return Explanation(told, "Set it anew, or remove it.")


def _version(connection: Connection) -> int:
    version = connection.scalar(_VERSION)
    if version is not None and not isinstance(version, int):
        raise StoreError(
            "The database's table directory_version does not contain a whole number, so changes cannot be seen.",
            "Run UPDATE directory_version SET version = 1.",
            missing_or_old=False,
        )
    if version is None:
        raise StoreError(
            "The database's table directory_version is empty, so changes cannot be seen.",
            "Run INSERT INTO directory_version VALUES (1, 1).",
            missing_or_old=False,
        )
    return version


def _credential(stored: object, encryption: Encryption | None, binding: Binding) -> tuple[str, Explanation | None]:
    """Return the credential and, where it cannot be used, the reason."""
    if encryption is None:
        return "", Explanation("Its credential cannot be decrypted.", "Set RESYNC_ENCRYPTION_KEYS.")
    found = encryption.decrypt(stored, binding) if isinstance(stored, str) else Undecryptable.NO_KEY
    if found is Undecryptable.BOUND_ELSEWHERE:
        return "", Explanation(
            "Its credential was stored for another tenant, id or base URL.",
            "Set it anew with `mirakl-resync-consumer clients set ID --credential-file F`.",
        )
    if found is Undecryptable.NO_KEY:
        return "", Explanation(
            "Its credential cannot be decrypted.",
            "Add its key to RESYNC_ENCRYPTION_KEYS, or set it anew with `mirakl-resync-consumer clients set`.",
        )
    return found.secret, credential_problem(found.secret)


def _mistake(row: StoredRow) -> Explanation | None:
    """Return what the tables' constraints would have refused."""
    if not _is_name(row["tenant"]):
        return Explanation(f"Its {_NO_TENANT}", _CORRECT_ROW)
    if row["auth_scheme"] not in {scheme.value for scheme in AuthScheme}:
        return Explanation(f"Its auth_scheme is none of {', '.join(AuthScheme)}.", _CORRECT_ROW)
    for flag in ("active", "suspended"):
        if not (_is_true(row[flag]) or _is_false(row[flag])):
            return Explanation(f"Its {flag} is neither true nor false.", _CORRECT_ROW)
    for name, limit in LIMITS.items():
        if not limit.allows(row[name]):
            return Explanation(f"Its {name} is not {limit}.", _CORRECT_ROW)
    return None


def _is_name(stored: object) -> bool:
    """Check only what would mix up tenants or not fit into a result; all else is the operator's choice."""
    return isinstance(stored, str) and 1 <= len(stored) <= LONGEST_NAME


def _is_true(stored: object) -> bool:
    return stored in (True, 1)


def _is_false(stored: object) -> bool:
    return stored in (False, 0)


def _digest(stored: object) -> bytes | None:
    try:
        digest = bytes.fromhex(str(stored))
    except ValueError:
        return None
    return digest if len(digest) == _DIGEST_BYTES else None


def _expiry(stored: object) -> datetime | Explanation | None:
    """``None``: never; an explanation: unreadable."""
    if stored in (None, "infinity"):
        return None
    return instant(stored) or Explanation("its expires_at is not a time.", "Write it as 2030-12-31 23:59:59.")


def _identity(engine: Engine) -> tuple[int, int] | None:
    """Device and number of a SQLite file; ``None`` where there is none."""
    path = sqlite_file(engine)
    try:
        status = os.stat(path) if path else None  # noqa: PTH116 - a fraction of the cost, once a second for ever
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if status else None
