"""Creates or migrates the tables: `db upgrade`."""

import sqlite3
import time
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, delete, insert, inspect, text
from sqlalchemy.exc import DBAPIError

from consumer.adapters.stores.database import OPEN_TO_OTHERS, StoreError, create_engine, sqlite_file, trouble
from consumer.adapters.stores.policy import STORES
from consumer.adapters.stores.revisions import check_revision, has_tables, read_supported
from consumer.adapters.stores.tables import supported_revisions

_ADVISORY_LOCK = 0x7265_7379_6E63
"""Number of the advisory lock of an upgrade in PostgreSQL ("resync")."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema: its revision, its changes, and which older programs it retires."""

    revision: str
    apply: Callable[[], None]
    """Makes the changes with ``alembic.op``, inside the transaction of the whole upgrade."""
    retires: AbstractSet[str] = frozenset()
    """Revisions whose programs can no longer use the database afterwards: the migration takes something away."""


def released_migrations() -> tuple[Migration, ...]:
    """Return the migrations of this program, oldest first, as Alembic finds them in the package."""
    scripts = ScriptDirectory.from_config(alembic_config()).walk_revisions()
    steps = [
        Migration(script.revision, script.module.upgrade, getattr(script.module, "RETIRES", frozenset()))
        for script in scripts
    ]
    return tuple(reversed(steps))


def upgrade(engine: Engine, migrations: Sequence[Migration] | None = None) -> bool:
    """Create or migrate the tables, and a SQLite file if there is none; return whether anything changed.

    All of it is one transaction behind a lock: two upgrades at once do it once, and one that is killed leaves nothing.
    A table that somebody holds is not waited for longer than the policy's ``lock_seconds``: all is tried again. A
    database that a later release has migrated is left alone. Raises :class:`~consumer.adapters.stores.StoreError`.
    """
    _make_file(sqlite_file(engine))
    steps = released_migrations() if migrations is None else migrations
    patient = create_engine(engine.url, statement_seconds=STORES.upgrade_seconds)
    give_up = time.monotonic() + STORES.upgrade_seconds
    while True:
        try:
            with patient.execution_options(writes=True).begin() as connection:
                return _upgrade(connection, steps)
        except DBAPIError as error:
            if not isinstance(error.orig, psycopg.errors.LockNotAvailable) or time.monotonic() > give_up:
                raise trouble(error, engine) from error
        time.sleep(STORES.attempt_pause_seconds)


def alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", f"{__package__}:migrations")
    return config


def _upgrade(connection: Connection, migrations: Sequence[Migration]) -> bool:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        connection.execute(text(f"SET LOCAL lock_timeout = {round(STORES.lock_seconds * 1000)}"))
    versioned = inspect(connection).has_table("alembic_version")
    supported: AbstractSet[str] = read_supported(connection) if versioned else frozenset()
    empty = not versioned or (not supported and not has_tables(connection))
    pending = [each for each in migrations if empty or each.revision > max(supported, default=each.revision)]
    if not pending or not supported <= {each.revision for each in migrations}:
        check_revision(connection)
        return False
    with Operations.context(MigrationContext.configure(connection)):
        for each in pending:
            each.apply()
            supported = (supported | {each.revision}) - each.retires
    connection.execute(delete(supported_revisions))
    connection.execute(insert(supported_revisions), [{"revision": each} for each in sorted(supported)])
    return True


def _make_file(path: Path | None) -> None:
    """Create the file for its owner only, or take an existing one from others.

    Readers and a writer do not block each other (WAL, kept in the file).
    """
    if path is None:
        return
    try:
        path.touch(mode=0o600)
        with closing(sqlite3.connect(path, timeout=STORES.upgrade_seconds)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            _close_to_others(path)  # a database by now: a folder, or another file, is left alone
    except (OSError, sqlite3.Error) as error:
        raise StoreError(
            f"The database file {path} cannot be made or opened ({error}).",
            "Check the folder and the permissions of both.",
            missing_or_old=True,
        ) from error


def _close_to_others(path: Path) -> None:
    """Take all rights on a database file, and on the journals beside it, from those who are neither owner nor group.

    It holds encrypted credentials and hashes of keys, and whoever can write to it decides who may ask. Where the file
    belongs to somebody else, `doctor` warns of it.
    """
    for file in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
        with suppress(FileNotFoundError, PermissionError):
            mode = file.stat().st_mode
            if mode & OPEN_TO_OTHERS:
                file.chmod(mode & ~OPEN_TO_OTHERS)
