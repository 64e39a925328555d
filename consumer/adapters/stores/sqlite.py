"""Connections to a SQLite file, and what its errors mean."""

import os
import sqlite3
from urllib.parse import quote

import sqlalchemy
from sqlalchemy import URL, Connection, Engine, event
from sqlalchemy.pool import NullPool

from consumer.adapters.stores.diagnosis import Diagnosis


def create_engine(url: URL, statement_seconds: float) -> Engine:
    """Return an engine for a SQLite file, which is opened and never created.

    A statement waits for a lock for ``statement_seconds``.
    """
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


def diagnose(error: BaseException | None) -> Diagnosis:
    """Return what an error of the driver means."""
    if not isinstance(error, sqlite3.Error):
        return Diagnosis.OTHER
    if str(error).startswith(("no such table", "no such column")):
        return Diagnosis.NO_TABLE
    if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Diagnosis.TOO_SLOW
    return Diagnosis.OTHER
