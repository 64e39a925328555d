"""A real PostgreSQL, as a container or as a process."""

import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from pathlib import Path
from typing import Protocol

import psycopg

from tests.support.parts import Part, PartMissing, docker_runs, free_port, wait_until
from tests.support.process import ChildProcess

IMAGE = "postgres:17"
START_SECONDS = 60


class Postgres(Part, Protocol):
    """A server; ``url`` (SQLAlchemy's form) names a role that may create databases, and stays over restarts."""

    @property
    def url(self) -> str:
        """``postgresql+psycopg://…``."""


def real_postgres() -> Postgres:
    """A server of its own, not yet started. Raises :class:`PartMissing`."""
    if docker_runs():
        from tests.support.containers import PostgresServerContainer, image_available

        if image_available(IMAGE):
            return PostgresServerContainer(image=IMAGE)
    return PostgresProcess()


class PostgresProcess:
    """A server of this machine's own programs. It refuses to run as root, so root hands it to another account."""

    def __init__(self) -> None:
        programs = _programs()
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self._user = _account() if os.geteuid() == 0 else None
        if self._user:
            shutil.chown(self._folder, self._user)
        port = free_port()
        self.url = f"postgresql+psycopg://resync:resync@127.0.0.1:{port}/postgres"
        self._data = self._folder / "data"
        self._initdb = programs / "initdb"
        options = ["-p", str(port), "-h", "127.0.0.1", "-k", str(self._folder), "-F"]
        self._server = ChildProcess(
            [str(programs / "postgres"), "-D", str(self._data), *options], log=self._folder / "log", user=self._user
        )

    def start(self) -> None:
        """Make the cluster the first time, start, wait until it answers."""
        if not self._data.exists():
            self._initialize()
        self._server.start()
        self._server.wait_ready(lambda: server_answers(self.url), timeout=START_SECONDS)

    def stop(self) -> None:
        """Fast shutdown: connections are ended, data is kept."""
        self._server.end(signal.SIGINT)

    def kill(self) -> None:
        """As a crash would; its children notice within a second."""
        self._server.end(signal.SIGKILL)
        (self._data / "postmaster.pid").unlink(missing_ok=True)

    def pause(self) -> None:
        """Freeze the server and the processes that serve its connections."""
        for pid in self._pids():
            os.kill(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Go on."""
        for pid in self._pids():
            os.kill(pid, signal.SIGCONT)

    def remove(self) -> None:
        """End it and delete its data."""
        self._server.end(signal.SIGQUIT)
        shutil.rmtree(self._folder)

    def _pids(self) -> list[int]:
        """The server, and its children: each serves one connection, in a process group of its own."""
        pid = self._server.pid
        return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]

    def _initialize(self) -> None:
        password = self._folder / "password"
        password.write_text("resync")
        if self._user:
            shutil.chown(password, self._user)
        made = subprocess.run(
            [
                self._initdb,
                "-D",
                self._data,
                "-U",
                "resync",
                f"--pwfile={password}",
                "-A",
                "scram-sha-256",
                "-E",
                "UTF8",
                "-N",
            ],
            user=self._user,
            cwd=self._folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode != 0:
            raise RuntimeError(f"initdb failed: {made.stderr}")


def server_answers(url: str) -> bool:
    """Whether the server answers a query."""
    try:
        with psycopg.connect(_plain(url), connect_timeout=2) as connection:
            connection.execute("select 1")
    except psycopg.OperationalError:
        return False
    return True


def new_database(url: str) -> str:
    """The URL of a new, empty database on this server."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(_plain(url), autocommit=True) as connection:
        connection.execute(f'create database "{name}"'.encode())
    return f"{url.rpartition('/')[0]}/{name}"


def drop_database(url: str) -> None:
    """Delete a database that :func:`new_database` made, and end what is still connected to it."""
    server, _, name = url.rpartition("/")
    with psycopg.connect(_plain(f"{server}/postgres"), autocommit=True) as connection:
        connection.execute(f'drop database if exists "{name}" with (force)'.encode())


def given_url() -> str | None:
    """The server of ``TEST_POSTGRES_URL``, which the tests use but never disturb."""
    url = os.environ.get("TEST_POSTGRES_URL")
    if url:
        wait_until(lambda: server_answers(url), timeout=10, what="TEST_POSTGRES_URL answers")
    return url


def _plain(url: str) -> str:
    return url.replace("postgresql+psycopg://", "postgresql://", 1)


def _programs() -> Path:
    """The folder of the newest server programs: Debian keeps them off the PATH."""
    folders = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if folders:
        return max(folders, key=lambda folder: int(folder.parent.name))
    found = shutil.which("initdb")
    if found is None:
        raise PartMissing(
            f"PostgreSQL: no Docker engine with {IMAGE}, and no server programs. "
            "Start Docker, or install PostgreSQL, or set TEST_POSTGRES_URL"
        )
    return Path(found).resolve().parent


def _account() -> str:
    import pwd

    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"
