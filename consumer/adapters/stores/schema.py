"""Creates or migrates the tables: `db upgrade`."""

import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, inspect, text

from consumer.adapters.stores.database import (
    OPEN_TO_OTHERS,
    StoreError,
    check_revision,
    create_engine,
    sqlite_file,
    troubles,
)
from consumer.adapters.stores.tables import SCHEMA_REVISIONS

UPGRADE_SECONDS = 60.0
"""One statement: a migration may wait for another one, or for the writers of a table."""
_ADVISORY_LOCK = 0x7265_7379_6E63
"""Number of the advisory lock of an upgrade in PostgreSQL ("resync")."""


def upgrade(engine: Engine) -> bool:
    """Create or migrate the tables, and a SQLite file if there is none; return whether anything changed.

    All of it is one transaction behind a lock: two upgrades at once do it once, and one that is killed leaves nothing.
    Raises :class:`~consumer.adapters.stores.StoreError`.
    """
    _make_file(sqlite_file(engine))
    patient = create_engine(engine.url, statement_seconds=UPGRADE_SECONDS)
    with troubles(engine), patient.execution_options(writes=True).begin() as connection:
        return _upgrade(connection)


def alembic_config() -> Config:
    """Where the migrations are, also in an installed package; no ``alembic.ini`` is needed."""
    config = Config()
    config.set_main_option("script_location", f"{__package__}:migrations")
    return config


def _upgrade(connection: Connection) -> bool:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
    if inspect(connection).has_table("alembic_version"):
        revision = connection.scalar(text("SELECT version_num FROM alembic_version"))
        if revision is not None and revision not in SCHEMA_REVISIONS[:-1]:
            check_revision(connection)
            return False
    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    return True


def _make_file(path: Path | None) -> None:
    """Create the file for its owner only, or take an existing one from others.

    Readers and a writer do not block each other (WAL, kept in the file).
    """
    if path is None:
        return
    try:
        path.touch(mode=0o600)
        with closing(sqlite3.connect(path, timeout=UPGRADE_SECONDS)) as connection:
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
