"""One HTTP/1.1 connection, instead of httpx's own transport.

anyio connects and encrypts; ``response_reader`` reads the response. httpcore's pool, locks and tracing would cost more
than the rest of a call, and ``connections`` needs none of them.
"""

import asyncio
import re
import select
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import anyio
import httpx
from anyio.abc import ByteStream, SocketAttribute

from consumer.adapters.mirakl.connecting import connect
from consumer.adapters.mirakl.host_connections import HostConnections
from consumer.adapters.mirakl.policy import MIRAKL
from consumer.adapters.mirakl.response_reader import AnswerHead, AnswerReader, BrokenAnswerError
from consumer.adapters.mirakl.streams import LOST
from consumer.adapters.mirakl.way_out import WayOut

_NOT_IN_A_HEADER: Final = re.compile(rb"[\0\r\n]")


class Http11Connection(httpx.AsyncBaseTransport):
    """Opened with the first request, and anew where the other side closed it; for one request at a time.

    Of a request's extensions ``timeout`` gives the seconds to ``connect``, for TCP and as long again for TLS and for
    each step of a proxy, and to ``write``. ``written`` is called once the operating system has the request to its
    last byte. Reading has no time-out of its own. After an exception the connection can only be closed.
    """

    def __init__(self, way_out: WayOut, hosts: HostConnections) -> None:
        self._way_out = way_out
        self._hosts = hosts
        self._stream: ByteStream | None = None
        self._opened_at = 0.0
        self._answer: AnswerReader
        self._reads = 0
        self._written = False
        self._waited = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and read the answer as far as its head.

        Raises httpx's own exceptions; after any, the connection can only be closed.
        """
        seconds = request.extensions["timeout"]
        loop = asyncio.get_running_loop()
        if self._stream is not None and (
            loop.time() - self._opened_at > MIRAKL.connection_age_seconds
            or _is_readable(self._stream)  # closed, or about to say what nobody asked for
        ):
            await self.aclose()
        if self._stream is None:
            self._stream = await connect(self._way_out, self._hosts, request.url, seconds["connect"])
            self._opened_at = loop.time()
        self._answer, self._reads, self._written = AnswerReader(), 0, False
        await self._send(self._stream, request, seconds["write"])
        self._waited = False
        loop.call_soon(self._wait)
        head = await self._head()
        if not self._waited:  # what came behind the last answer, in its last packet
            raise httpx.RemoteProtocolError("an answer that was there before it was waited for")
        return httpx.Response(head.status, headers=head.headers, stream=_Body(self._piece, self._end))

    async def aclose(self) -> None:
        if self._stream is not None:
            stream, self._stream = self._stream, None
            await stream.aclose()

    async def _send(self, stream: ByteStream, request: httpx.Request, seconds: float) -> None:
        message = _message(request, await request.aread())
        try:
            async with asyncio.timeout(seconds):
                await stream.send(message)
        except TimeoutError as error:
            raise httpx.WriteTimeout("the request could not be written in time") from error
        except LOST:
            return  # servers may answer, then close, before they have read all of a request
        self._written = True
        request.extensions["written"]()

    def _wait(self) -> None:
        self._waited = True

    async def _head(self) -> AnswerHead:
        try:
            while (head := self._answer.head()) is None:
                await self._receive()
        except BrokenAnswerError as error:
            raise httpx.RemoteProtocolError(str(error)) from error
        return head

    async def _piece(self) -> bytes:
        """Return the next piece of the body; empty at its end."""
        try:
            while not (piece := self._answer.body()) and not self._answer.complete:
                await self._receive()
        except BrokenAnswerError as error:
            raise httpx.RemoteProtocolError(str(error)) from error
        return piece

    async def _receive(self) -> None:
        """Return the bytes that arrived; empty at the end."""
        if self._stream is None:
            raise httpx.ReadError("the connection is closed")
        self._reads += 1
        if self._reads > MIRAKL.free_reads:
            await asyncio.sleep(MIRAKL.read_pause_seconds)
        try:
            self._answer.receive(await self._stream.receive(MIRAKL.read_bytes))
        except anyio.EndOfStream:
            self._answer.receive(b"")
        except LOST as error:
            raise httpx.ReadError("the connection was lost") from error

    async def _end(self) -> None:
        """After an answer: keep the connection where both sides are through with it and neither wants it closed."""
        if not (self._written and self._answer.reusable):
            await self.aclose()


class _Body(httpx.AsyncByteStream):
    def __init__(self, piece: Callable[[], Awaitable[bytes]], end: Callable[[], Awaitable[None]]) -> None:
        self._piece = piece
        self._end = end

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while piece := await self._piece():
            yield piece

    async def aclose(self) -> None:
        await self._end()


def _message(request: httpx.Request, body: bytes) -> bytes:
    """Write a request, head and body in one."""
    lines = [b"%s %s HTTP/1.1" % (request.method.encode(), request.url.raw_path)]
    lines += [b"%s: %s" % field for field in request.headers.raw]
    if _NOT_IN_A_HEADER.search(b"".join(lines)):
        raise httpx.LocalProtocolError("a header holds what HTTP does not allow")
    return b"\r\n".join([*lines, b"", body])


def _is_readable(stream: ByteStream) -> bool:
    """Return whether an idle connection has received something, or was closed."""
    raw: socket.socket = stream.extra(SocketAttribute.raw_socket)  # noqa: S610 - not Django's
    number = raw.fileno()
    if number < 0:
        return True
    readable = select.poll()
    readable.register(number, select.POLLIN)
    return bool(readable.poll(0))
