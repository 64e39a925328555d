"""Forward proxies: a real one, and one that records what it is told or says what it should not."""

import asyncio
import shutil
import signal
import ssl
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

from tests.support.parts import PartMissing, answers, free_port, wait_until
from tests.support.process import ChildProcess

_CONFIGURATION = """\
Port {port}
Listen 127.0.0.1
Timeout 60
LogFile "{log}"
LogLevel Connect
PidFile "{folder}/pid"
{more}
"""


class TinyProxy:
    """Tinyproxy, which opens a tunnel to any host and port; ``login``: user and password, which it then demands."""

    def __init__(self, login: tuple[str, str] | None = None, forbidden: Iterable[str] = ()) -> None:
        """``forbidden``: hosts, as regular expressions, that it answers 403 for."""
        program = shutil.which("tinyproxy")
        if program is None:
            raise PartMissing("Tinyproxy: the program is missing. Install the package tinyproxy")
        self.port = free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="tinyproxy-"))
        self._log = self._folder / "tinyproxy.log"
        filters = self._folder / "filter"
        filters.write_text("".join(f"{host}\n" for host in forbidden))
        more = [f"BasicAuth {login[0]} {login[1]}"] if login else []
        more += [f'Filter "{filters}"'] if filters.stat().st_size else []
        configuration = self._folder / "tinyproxy.conf"
        configuration.write_text(
            _CONFIGURATION.format(port=self.port, log=self._log, folder=self._folder, more="\n".join(more))
        )
        self._process = ChildProcess([program, "-d", "-c", str(configuration)], log=self._folder / "output")

    @property
    def log(self) -> str:
        """What it has logged."""
        return self._log.read_text() if self._log.exists() else ""

    def start(self) -> None:
        """Start it, also again; return when it answers."""
        self._process.start()
        wait_until(lambda: answers(self.port), timeout=10, what="Tinyproxy answers")

    def stop(self) -> None:
        """End it, and with it all tunnels."""
        self._process.end(signal.SIGTERM)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self._folder)


class RecordingProxy:
    """Opens tunnels, all to one address, and keeps every byte that clients send; or says what it is told to."""

    def __init__(self, says: bytes | None = None, *, hangs: bool = False) -> None:
        """``says``: the answer to ``CONNECT`` instead of a tunnel. ``hangs``: nothing follows it."""
        self.received: list[bytearray] = []
        """By connection."""
        self.port = 0
        self._says = says
        self._hangs = hangs
        self.target = ("127.0.0.1", 0)

    @property
    def requests(self) -> list[bytes]:
        """The heads of the requests, by connection."""
        return [bytes(each).partition(b"\r\n\r\n")[0] for each in self.received]

    @asynccontextmanager
    async def serving(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[Self]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen = bytearray()
        self.received.append(seen)
        try:
            while b"\r\n\r\n" not in seen:
                piece = await reader.read(65536)
                if not piece:
                    return
                seen += piece
            if self._hangs:
                await asyncio.sleep(30)
            elif self._says is not None:
                writer.write(self._says)
                await writer.drain()
            else:
                await self._tunnel(reader, writer, seen)
        except (ConnectionError, ssl.SSLError):
            pass  # the other side left, which is its right
        finally:
            writer.close()

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: bytearray) -> None:
        there, back = await asyncio.open_connection(*self.target)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")

        async def forth() -> None:
            while piece := await reader.read(65536):
                seen.extend(piece)
                back.write(piece)
            back.close()

        outward = asyncio.create_task(forth())
        try:
            while piece := await there.read(65536):
                writer.write(piece)
        finally:
            outward.cancel()
            back.close()
