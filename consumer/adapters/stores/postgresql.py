"""Connections to PostgreSQL, and what its errors mean.

The only module of ``run`` that loads the driver; a service on SQLite never imports it.
"""

from typing import Any, Final, TypeVar

import psycopg
import sqlalchemy
from psycopg.abc import PQGen
from psycopg.rows import TupleRow
from sqlalchemy import URL, Connection, Engine, event
from sqlalchemy.pool import NullPool

from consumer.adapters.stores.diagnosis import Diagnosis
from consumer.adapters.stores.policy import STORES

_Answer = TypeVar("_Answer")


def create_engine(url: URL, statement_seconds: float) -> Engine:
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


_MEANINGS: Final[tuple[tuple[type[psycopg.Error], Diagnosis], ...]] = (
    (_NoAnswer, Diagnosis.FROZEN),
    (psycopg.errors.UndefinedTable, Diagnosis.NO_TABLE),
    (psycopg.errors.UndefinedColumn, Diagnosis.NO_TABLE),
    (psycopg.errors.InsufficientPrivilege, Diagnosis.NOT_ALLOWED),
    (psycopg.errors.QueryCanceled, Diagnosis.TOO_SLOW),
    (psycopg.errors.LockNotAvailable, Diagnosis.TOO_SLOW),
)


def diagnose(error: BaseException | None) -> Diagnosis:
    """Return what an error of the driver means."""
    return next((meaning for kind, meaning in _MEANINGS if isinstance(error, kind)), Diagnosis.OTHER)
