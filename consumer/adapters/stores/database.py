"""Connections to the database, and what its failures mean.

SQLite is for a single host, PostgreSQL for production. Neither may hang the program: the server ends a statement after
the policy's ``statement_seconds``, or we do a second later (a frozen server cancels nothing).
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import psycopg
import sqlalchemy
from psycopg.abc import PQGen
from psycopg.rows import TupleRow
from sqlalchemy import URL, Connection, Engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import NullPool

from consumer.adapters.stores.policy import STORES
from schemas.errors import ExplainedError
from schemas.explanation import Explanation

OPEN_TO_OTHERS = 0o007
"""Rights of those who are neither a file's owner nor in its group."""
UPGRADE = "Run `mirakl-resync-consumer db upgrade`."

_Answer = TypeVar("_Answer")


class StoreError(ExplainedError):
    """The database is not usable now. The texts contain no secret, and the remedy names the command or setting."""

    def __init__(self, problem: str, remedy: str, *, missing_or_old: bool) -> None:
        """``missing_or_old``: waiting does not help. No such database, or its tables are not of this release."""
        super().__init__(problem, remedy)
        self.missing_or_old = missing_or_old


def create_engine(url: str | URL, *, statement_seconds: float = STORES.statement_seconds) -> Engine:
    """Return an engine for ``RESYNC_DATABASE_URL``; no connection is made yet. Raises :class:`StoreError`.

    There is no pool: the service holds one connection of its own, a command needs one. A SQLite file is opened,
    never created. In SQLite a transaction of an engine or connection with the execution option ``writes`` takes
    the write lock at once: one that first reads could lose it to another and fail.
    """
    parsed = _parsed(url)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite(parsed, statement_seconds)
    return _postgresql(parsed, statement_seconds)


def redacted(url: str) -> str:
    """Return a database URL fit to be shown: without its password and options."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return "***"
    return shown(parsed)


@contextmanager
def troubles(engine: Engine) -> Iterator[None]:
    """Turn what the driver raises into :class:`StoreError`, with its cause kept."""
    try:
        yield
    except DBAPIError as error:
        raise trouble(error, engine) from error


def trouble(error: DBAPIError, engine: Engine) -> StoreError:
    """Return what a driver's error means and what to do about it, with its own words at the end."""
    database = f"The database {shown(engine.url)}"
    file = sqlite_file(engine)
    if file is not None and not file.exists():
        return StoreError(f"{database} does not exist.", UPGRADE, missing_or_old=True)
    if _lacks_a_table(error.orig):
        return StoreError(f"{database} lacks our tables.", UPGRADE, missing_or_old=True)
    if _took_too_long(error.orig):
        return StoreError(
            f"{database} is locked or too slow.",
            "End what holds a transaction open or overloads it.",
            missing_or_old=False,
        )
    if isinstance(error.orig, psycopg.errors.InsufficientPrivilege):
        return StoreError(
            f"{database} refuses a right ({_excerpt(error, engine.url)}).",
            "Grant what docs/operate/rights.md lists for PostgreSQL.",
            missing_or_old=False,
        )
    return StoreError(
        f"{database} cannot be used ({_excerpt(error, engine.url)}).",
        "Check that it runs and that RESYNC_DATABASE_URL is correct.",
        missing_or_old=False,
    )


def sqlite_file(engine: Engine) -> Path | None:
    """Return the file of a SQLite database; ``None`` for PostgreSQL."""
    return Path(str(engine.url.database)) if engine.dialect.name == "sqlite" else None


def open_to_others(engine: Engine) -> Path | None:
    """Return a SQLite file that other accounts of this machine can read or write; ``None``: there is none."""
    path = sqlite_file(engine)
    return path if path is not None and path.exists() and path.stat().st_mode & OPEN_TO_OTHERS else None


def _parsed(url: str | URL) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise StoreError(  # no cause: it may repeat a part of the password
            "RESYNC_DATABASE_URL is not a database URL.",
            "Write sqlite:///FILE, or postgresql+psycopg://USER:PASSWORD@HOST/DATABASE with special characters "
            "percent-encoded.",
            missing_or_old=True,
        ) from None
    problem = _url_problem(parsed)
    if problem:
        raise StoreError(*problem, missing_or_old=True)
    return parsed.set(drivername="postgresql+psycopg") if parsed.get_backend_name() == "postgresql" else parsed


def _url_problem(url: URL) -> Explanation | None:
    if url.drivername in ("sqlite", "sqlite+pysqlite"):
        if url.database in (None, "", ":memory:") or url.query or url.host:
            problem = "RESYNC_DATABASE_URL names something else than a SQLite file, or more than that."
            return Explanation(problem, "Write sqlite:///FILE, with four slashes for an absolute path.")
        return None
    if url.drivername not in ("postgresql", "postgresql+psycopg"):
        problem = "RESYNC_DATABASE_URL names a kind of database that is not supported."
        return Explanation(problem, "Write sqlite:///FILE or postgresql+psycopg://…")
    if "@" in (url.host or "") + (url.database or ""):
        return Explanation(
            "RESYNC_DATABASE_URL contains a second @.", "Percent-encode the special characters of its password."
        )
    return None


def shown(url: URL) -> str:
    """Return where a URL points, without its password and options."""
    if url.get_backend_name() == "sqlite":
        return f"sqlite:///{url.database}"
    if "@" in (url.host or "") + (url.database or "") + repr(dict(url.query)):
        return f"{url.drivername}://***"  # a password with a raw @: its end stands where the host should
    return url.set(query={}).render_as_string(hide_password=True)


def _sqlite(url: URL, statement_seconds: float) -> Engine:
    address = f"file:{quote(os.path.abspath(str(url.database)))}?mode=rw"  # noqa: PTH100 - resolves no symbolic link

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(
            address, uri=True, timeout=statement_seconds, isolation_level=None, check_same_thread=False
        )
        connection.text_factory = lambda raw: raw.decode("utf-8", "replace")  # one broken text spoils no other row
        return connection

    engine = sqlalchemy.create_engine(url, creator=connect, poolclass=NullPool, hide_parameters=True)
    event.listen(engine, "begin", _begin)
    return engine


def _begin(connection: Connection) -> None:
    """Begin a transaction in SQL: Python begins none for a read, which would then see a moving state."""
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _postgresql(url: URL, statement_seconds: float) -> Engine:
    """Return an engine whose connections also work through a transaction pooler.

    A pooler gives each transaction another server process, and refuses startup options. So statements are not
    prepared, and session settings are set in each transaction. ``SET`` takes no snapshot, which
    ``DirectoryReader`` relies on.
    """
    given = dict(url.query)
    arguments = {
        "connect_timeout": STORES.connect_seconds,
        "application_name": "mirakl-resync-consumer",
        "client_encoding": "utf8",
    }
    engine = sqlalchemy.create_engine(
        url,
        connect_args={
            **{name: value for name, value in arguments.items() if name not in given},
            "prepare_threshold": None,  # a transaction pooler hands each transaction another server process
        },
        poolclass=NullPool,
        hide_parameters=True,
    )

    def connect(_dialect: object, _record: object, args: list[Any], keywords: dict[str, Any]) -> psycopg.Connection:
        connection = _BoundedConnection.connect(*args, **keywords)
        connection.answer_seconds = statement_seconds + STORES.grace_seconds
        return connection

    def bound(connection: Connection) -> None:
        connection.exec_driver_sql(
            f"SET LOCAL statement_timeout = {round(statement_seconds * 1000)}; "
            "SET LOCAL datestyle = 'ISO'; SET LOCAL timezone = 'UTC'"
        )

    event.listen(engine, "do_connect", connect)
    event.listen(engine, "begin", bound)
    return engine


class _NoAnswer(psycopg.OperationalError):
    """The server, or the network on the way to it, is frozen."""


class _BoundedConnection(psycopg.Connection[TupleRow]):
    """A connection that waits for an answer for ``answer_seconds`` at most, and is closed then."""

    answer_seconds = STORES.statement_seconds + STORES.grace_seconds

    def wait(self, gen: PQGen[_Answer], interval: float = 0.1, timeout: float | None = None) -> _Answer:
        limit = self.answer_seconds if timeout is None else min(timeout, self.answer_seconds)
        try:
            return super().wait(gen, interval, limit)
        except psycopg.errors._WaitTimeout as error:  # noqa: SLF001 - psycopg names no public one for this
            self.close()
            raise _NoAnswer(f"no answer within {limit:g} s") from error


def went_away(error: DBAPIError) -> bool:
    """Return whether the connection was broken, so that a new one may work; a frozen server would freeze it again."""
    return error.connection_invalidated and not isinstance(error.orig, _NoAnswer)


def _lacks_a_table(error: BaseException | None) -> bool:
    if isinstance(error, sqlite3.Error):
        return str(error).startswith(("no such table", "no such column"))
    return isinstance(error, psycopg.errors.UndefinedTable | psycopg.errors.UndefinedColumn)


def _took_too_long(error: BaseException | None) -> bool:
    if isinstance(error, sqlite3.Error):
        return error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    return isinstance(error, _NoAnswer | psycopg.errors.QueryCanceled | psycopg.errors.LockNotAvailable)


def _excerpt(error: DBAPIError, url: URL) -> str:
    """Return the driver's message in one bounded line, with passwords masked."""
    words = " ".join(str(error.orig).split())
    if url.password:
        words = words.replace(str(url.password), "***")
    return words[: STORES.excerpt_characters]
