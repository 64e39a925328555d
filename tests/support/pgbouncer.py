"""A real transaction pooler before a PostgreSQL server."""

import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Self

from sqlalchemy import make_url

from tests.support.parts import PartMissing, answers, free_port, wait_until
from tests.support.process import ChildProcess

_CONFIGURATION = """\
[databases]
* = host={host} port={server_port} user={user} password={password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 2
server_reset_query_always = 0
"""


class PgBouncer:
    """PgBouncer in transaction mode, as it is configured by default otherwise. Two server connections serve all."""

    def __init__(self, database_url: str) -> None:
        program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")
        if program is None:
            raise PartMissing("PgBouncer: the program is missing. Install the package pgbouncer")
        server, port = make_url(database_url), free_port()
        self.url = server.set(host="127.0.0.1", port=port).render_as_string(hide_password=False)
        self._folder = Path(tempfile.mkdtemp(prefix="pgbouncer-"))
        self._folder.chmod(0o755)  # it refuses to run as root, and reads its file as somebody else
        configuration = self._folder / "pgbouncer.ini"
        configuration.write_text(
            _CONFIGURATION.format(
                host=server.host, server_port=server.port, user=server.username, password=server.password, port=port
            )
        )
        as_nobody = ["-u", "nobody"] if os.geteuid() == 0 else []
        self._process = ChildProcess([program, *as_nobody, str(configuration)], log=self._folder / "log")
        self._port = port

    def __enter__(self) -> Self:
        self._process.start()
        wait_until(lambda: answers(self._port), timeout=20, what="PgBouncer answers")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.end(signal.SIGTERM)
        shutil.rmtree(self._folder)
