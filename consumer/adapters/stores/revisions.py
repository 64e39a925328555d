"""Compatibility of a database with programs: it lists the schema revisions that it supports.

A program has one revision, that of the newest migration it brings. A migration of a later release adds its own revision
to the list and keeps the others, unless it takes something away that their programs use (docs/develop/migrations.md).
So a program runs on a database that a later release has migrated, until a migration strikes its revision off the list.
"""

from collections.abc import Set as AbstractSet

from sqlalchemy import Connection, Engine, inspect, select, text

from consumer.adapters.stores.database import UPGRADE, StoreError, shown, troubles
from consumer.adapters.stores.policy import STORES
from consumer.adapters.stores.tables import SCHEMA_REVISIONS, metadata, supported_revisions

OURS = SCHEMA_REVISIONS[-1]
"""The revision of this program."""


def check_schema(engine: Engine) -> str:
    """Return the newest revision of a database that this program may use, all of whose tables exist.

    Raises :class:`StoreError` otherwise.
    """
    with troubles(engine), engine.connect() as connection:
        newest = check_revision(connection)
        missing = sorted(set(metadata.tables) - set(inspect(connection).get_table_names()))
    if missing:  # which no upgrade mends: the revision is there
        raise StoreError(
            f"The database {shown(engine.url)} has lost {', '.join(missing)}.",
            f"Restore it from a backup; or drop all that is left of it, to start anew. Then: {UPGRADE}",
            missing_or_old=True,
        )
    return newest


def check_revision(connection: Connection) -> str:
    """Return the newest revision of a database that lists ours.

    Raises :class:`StoreError` if it does not, and the driver's error where there are no tables at all.
    """
    supported = read_supported(connection)
    if OURS in supported:
        return max(supported)
    database = f"The database {shown(connection.engine.url)}"
    if not supported and not has_tables(connection):
        raise StoreError(f"{database} lacks our tables.", UPGRADE, missing_or_old=True)
    if not supported and not inspect(connection).has_table(supported_revisions.name):
        raise StoreError(
            f"{database} is of release 0.1, and its table alembic_version is empty.",
            f"Restore it from a backup; or insert {SCHEMA_REVISIONS[0]!r} into that table. Then: {UPGRADE}",
            missing_or_old=True,
        )
    if not supported:
        raise StoreError(
            f"{database} lists no schema revision; this program needs {OURS!r} in supported_revisions.",
            "Restore it from a backup; or, if `db upgrade` of this release was the last one, insert that revision.",
            missing_or_old=True,
        )
    if supported <= set(SCHEMA_REVISIONS):
        raise StoreError(f"{database} is of an older release.", UPGRADE, missing_or_old=True)
    raise StoreError(
        f"{database} is of a newer release (schema {max(supported)[: STORES.revision_characters]!r}), "
        f"which no longer supports programs of this one (schema {OURS!r}).",
        "Run that release of the program, or restore the backup from before its `db upgrade`.",
        missing_or_old=True,
    )


def has_tables(connection: Connection) -> bool:
    """Return whether any of our tables exists; ``alembic_version`` alone, and empty, is as good as no database."""
    return any(map(inspect(connection).has_table, metadata.tables))


def read_supported(connection: Connection) -> AbstractSet[str]:
    """Return the listed revisions; before there was a list (schema 0001), the one that the database was of."""
    if inspect(connection).has_table(supported_revisions.name):
        listed = connection.scalars(select(supported_revisions.c.revision))
    else:
        listed = connection.scalars(text("SELECT version_num FROM alembic_version"))
    return {str(each) for each in listed}
