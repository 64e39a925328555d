"""One HTTP/1.1 connection in the place of httpx's own transport: h11 speaks the protocol, anyio connects and encrypts.

httpcore's pool, its locks and its trace cost more than all the rest of a call: ``leases`` needs none of them.
"""

import asyncio
import select
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import anyio
import h11
import httpx
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSStream

MAX_HEAD_BYTES: Final = 100 * 1024
"""Of an answer."""
READ_BYTES: Final = 64 * 1024
_PORTS: Final = {"http": 80, "https": 443}
_LOST: Final = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)


class Http11Connection(httpx.AsyncBaseTransport):
    """Opened with the first request, and anew where the other side closed it; for one request at a time.

    Of a request's extensions ``timeout`` gives the seconds to ``connect``, for TCP and as long again for TLS, and to
    ``write``; ``written`` is called once the operating system has the request to its last byte. Reading has no
    time-out of its own. After an exception the connection is of no use but to be closed.
    """

    def __init__(self, tls: ssl.SSLContext) -> None:
        self._tls = tls
        self._stream: ByteStream | None = None
        self._http: h11.Connection
        self._waited = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and read the answer as far as its head."""
        seconds = request.extensions["timeout"]
        if self._stream is not None and _is_readable(self._stream):  # closed, or about to say what nobody asked for
            await self.aclose()
        if self._stream is None:
            self._stream = await _connected(request.url, self._tls, seconds["connect"])
            self._http = h11.Connection(h11.CLIENT, MAX_HEAD_BYTES)
        await self._send(self._stream, request, seconds["write"])
        self._waited = False
        asyncio.get_running_loop().call_soon(self._wait)
        head = await self._head()
        if not self._waited:  # what came behind the last answer, in its last packet
            raise httpx.RemoteProtocolError("an answer that was there before it was waited for")
        return httpx.Response(head.status_code, headers=head.headers.raw_items(), stream=_Body(self._event, self._end))

    async def aclose(self) -> None:
        """Close the connection, whatever is under way on it."""
        if self._stream is not None:
            stream, self._stream = self._stream, None
            await stream.aclose()

    async def _send(self, stream: ByteStream, request: httpx.Request, seconds: float) -> None:
        message = self._message(request, await request.aread())
        try:
            async with asyncio.timeout(seconds):
                await stream.send(message)
        except TimeoutError as error:
            raise httpx.WriteTimeout("the request could not be written in time") from error
        except _LOST:
            return  # servers may answer, then close, before they have read all of a request
        self._http.send(h11.EndOfMessage())  # no bytes: the length stands in the head
        request.extensions["written"]()

    def _message(self, request: httpx.Request, body: bytes) -> bytes:
        """Word a request, head and body in one; h11 waits to hear that it was written to its end."""
        method = request.method.encode()
        try:
            head = h11.Request(method=method, target=request.url.raw_path, headers=request.headers.raw)
            return (self._http.send(head) or b"") + (self._http.send(h11.Data(data=body)) or b"")
        except h11.LocalProtocolError:
            raise httpx.LocalProtocolError("a header holds what HTTP does not allow") from None  # h11 would quote it

    def _wait(self) -> None:
        self._waited = True

    async def _head(self) -> h11.Response:
        while not isinstance(event := await self._event(), h11.Response):
            continue  # informational
        return event

    async def _event(self) -> object:
        """Give h11's next event, for which it may need more of the answer."""
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                self._http.receive_data(await self._received())
        except h11.RemoteProtocolError as error:
            raise httpx.RemoteProtocolError(str(error)) from error
        return event

    async def _received(self) -> bytes:
        """Give what came, nothing at the end."""
        if self._stream is None:
            raise httpx.ReadError("the connection is closed")
        try:
            return await self._stream.receive(READ_BYTES)
        except anyio.EndOfStream:
            return b""
        except _LOST as error:
            raise httpx.ReadError("the connection was lost") from error

    async def _end(self) -> None:
        """After an answer: keep the connection where both sides are through with it and neither wants it closed."""
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        else:
            await self.aclose()


class _Body(httpx.AsyncByteStream):
    def __init__(self, event: Callable[[], Awaitable[object]], end: Callable[[], Awaitable[None]]) -> None:
        self._event = event
        self._end = end

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while isinstance(event := await self._event(), h11.Data):
            yield bytes(event.data)

    async def aclose(self) -> None:
        await self._end()


async def _connected(url: httpx.URL, tls: ssl.SSLContext, seconds: float) -> ByteStream:
    host = url.raw_host.decode("ascii")
    try:
        with anyio.fail_after(seconds):
            stream = await anyio.connect_tcp(host, url.port or _PORTS[url.scheme])
        return stream if url.scheme == "http" else await _encrypted(stream, tls, host, seconds)
    except TimeoutError as error:
        raise httpx.ConnectTimeout("no connection in time") from error
    except (OSError, *_LOST) as error:
        raise httpx.ConnectError("no connection") from error


async def _encrypted(stream: ByteStream, tls: ssl.SSLContext, host: str, seconds: float) -> ByteStream:
    try:
        with anyio.fail_after(seconds):
            return await TLSStream.wrap(
                stream, server_side=False, hostname=host, ssl_context=tls, standard_compatible=False
            )
    except BaseException:
        await stream.aclose()
        raise


def _is_readable(stream: ByteStream) -> bool:
    """Say whether something came, or the end, on a connection that is idle: nobody reads it then."""
    raw: socket.socket = stream.extra(SocketAttribute.raw_socket)  # noqa: S610 - not Django's
    number = raw.fileno()
    if number < 0:
        return True
    readable = select.poll()
    readable.register(number, select.POLLIN)
    return bool(readable.poll(0))
