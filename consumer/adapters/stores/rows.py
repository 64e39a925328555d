"""Rows of either table as operators handle them: found by id or name, changed in one transaction."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

from sqlalchemy import Connection, Engine, RowMapping, Table, select
from sqlalchemy.exc import DBAPIError, IntegrityError

from consumer.adapters.stores.database import trouble
from consumer.adapters.stores.encryption import NEW_KEY
from consumer.adapters.stores.limits import name_problem
from consumer.adapters.stores.revisions import check_revision
from consumer.adapters.stores.tables import DEFAULT_TENANT, as_stored, directory_version
from schemas.contract import canonical_uuid
from schemas.errors import ExplainedError
from schemas.exit_codes import ExitCode

Values: TypeAlias = dict[str, Any]
"""Column values of one row."""


class AdministrationError(ExplainedError):
    """The requested change is not possible; nothing was changed."""

    exit_code = ExitCode.USAGE


class EncryptionKeysNeededError(AdministrationError):
    """A secret has to be encrypted, and there are no keys to do so."""

    def __init__(self) -> None:
        super().__init__("RESYNC_ENCRYPTION_KEYS is not set.", NEW_KEY)


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Provide one state of a database that this release may use. Raises :class:`StoreError`."""
    with _transaction(engine) as connection:
        yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One change of a database that this release may use, all of it or nothing.

    Changes follow each other: what is read here is what the last one left. In PostgreSQL the counter of changes is
    locked, as the triggers do, but before anything is read.
    """
    with _transaction(engine.execution_options(writes=True)) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(select(directory_version.c.version).with_for_update())
        yield connection


@contextmanager
def _transaction(engine: Engine) -> Iterator[Connection]:
    try:
        with engine.begin() as connection:
            check_revision(connection)
            yield connection
    except IntegrityError as error:
        raise AdministrationError(
            "Somebody else made a conflicting change just now.", "Look at the row and try again."
        ) from error
    except DBAPIError as error:
        raise trouble(error, engine) from error


def rows(connection: Connection, table: Table, tenant: str | None) -> Sequence[RowMapping]:
    """Return the rows of a tenant, or of all, by tenant and name."""
    statement = select(*map(as_stored, table.c)).order_by(table.c.tenant, table.c.name, table.c.id)
    if tenant is not None:
        statement = statement.where(table.c.tenant == tenant)
    return connection.execute(statement).mappings().all()


def by_id(connection: Connection, table: Table, row_id: str) -> RowMapping:
    return connection.execute(select(*map(as_stored, table.c)).where(table.c.id == row_id)).mappings().one()


def named(connection: Connection, table: Table, identifier: str, tenant: str | None) -> Sequence[RowMapping]:
    """Return the rows with this id, or with this name in the tenant (``None``: the default tenant); at least one.

    Only revoked API keys share a name. An id needs no tenant, but must be of the one that is given.
    """
    row_id = canonical_uuid(identifier)
    everywhere = rows(connection, table, None)
    if row_id:
        found = [row for row in everywhere if row["id"] == row_id and tenant in (None, row["tenant"])]
    else:
        found = [row for row in everywhere if row["name"] == identifier and row["tenant"] == (tenant or DEFAULT_TENANT)]
    if not found:
        raise AdministrationError(*_missing(everywhere, identifier, tenant))
    return found


def _missing(everywhere: Sequence[RowMapping], identifier: str, tenant: str | None) -> tuple[str, str]:
    where = f"tenant {tenant or DEFAULT_TENANT!r}"
    elsewhere = sorted({row["tenant"] for row in everywhere if identifier in (row["id"], row["name"])})
    if elsewhere:
        return f"{identifier!r} is not in {where} but in {', '.join(map(repr, elsewhere))}.", "Give --tenant."
    return f"There is no {identifier!r} in {where}.", "The command `list` shows what there is."


def refuse_name(value: str, what: str) -> None:
    """Check the rules for names, of tenants too. Raises :class:`AdministrationError`."""
    problem = name_problem(value, what)
    if problem:
        raise AdministrationError(*problem)
