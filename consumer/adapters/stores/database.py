"""Connections to the database, and what its failures mean.

SQLite is for a single host, PostgreSQL for production. Neither may hang the program: the server ends a statement after
the policy's ``statement_seconds``, or we do a second later (a frozen server cancels nothing).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from consumer.adapters.stores import sqlite
from consumer.adapters.stores.diagnosis import Diagnosis
from consumer.adapters.stores.policy import STORES
from schemas.errors import ExplainedError
from schemas.explanation import Explanation

OPEN_TO_OTHERS = 0o007
"""Rights of those who are neither a file's owner nor in its group."""
UPGRADE = "Run `mirakl-resync-consumer db upgrade`."


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
        return sqlite.create_engine(parsed, statement_seconds)
    from consumer.adapters.stores import postgresql  # noqa: PLC0415 - its driver takes a while to load

    return postgresql.create_engine(parsed, statement_seconds)


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
    diagnosis = _diagnose(error, engine)
    if diagnosis is Diagnosis.NO_TABLE:
        return StoreError(f"{database} lacks our tables.", UPGRADE, missing_or_old=True)
    if diagnosis in (Diagnosis.TOO_SLOW, Diagnosis.FROZEN):
        return StoreError(
            f"{database} is locked or too slow.",
            "End what holds a transaction open or overloads it.",
            missing_or_old=False,
        )
    if diagnosis is Diagnosis.NOT_ALLOWED:
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


def _diagnose(error: DBAPIError, engine: Engine) -> Diagnosis:
    if engine.dialect.name == "sqlite":
        return sqlite.diagnose(error.orig)
    from consumer.adapters.stores import postgresql  # noqa: PLC0415 - loaded with the engine

    return postgresql.diagnose(error.orig)


def went_away(error: DBAPIError, engine: Engine) -> bool:
    """Return whether the connection was broken, so that a new one may work; a frozen server would freeze it again."""
    return error.connection_invalidated and _diagnose(error, engine) is not Diagnosis.FROZEN


def _excerpt(error: DBAPIError, url: URL) -> str:
    """Return the driver's message in one bounded line, with passwords masked."""
    words = " ".join(str(error.orig).split())
    if url.password:
        words = words.replace(str(url.password), "***")
    return words[: STORES.excerpt_characters]
