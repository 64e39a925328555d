"""An httpx transport for many short calls: HTTP/1.1 connections, each leased to one call at a time.

A call through an ``AsyncClient`` on httpx's own pool costs three times the CPU of one through this transport, and
with tens of requests in a call that is most of what a request costs (DESIGN.md has the figures). The protocol is
h11's, as it is there; this file moves the bytes, and says what only the mover of bytes knows: whether the whole
request was handed to the operating system.

Used without an ``AsyncClient``, so that nothing follows a redirect, keeps a cookie, looks at proxy variables,
decompresses or logs. Errors are httpx's:

- ``PoolTimeout``, ``ConnectTimeout``, ``ConnectError``, ``LocalProtocolError``: nothing was written;
- ``WriteTimeout``, ``ReadTimeout``, ``ReadError``, ``RemoteProtocolError``: no complete answer came.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Final, TypeAlias, cast

import h11
import httpx

WRITTEN: Final = "written"
"""Key in ``request.extensions``: there once the operating system has the request to its last byte (with TLS: once
the TLS layer has, which may be a moment earlier)."""

IDLE_SECONDS: Final = 4.0
"""Common servers close idle connections after 5 s at the earliest (Node.js). Leaving before they do avoids
writing into a connection that is just being closed, which nobody can tell from a call that was taken in."""

_MAX_HEAD_BYTES: Final = 32 * 1024
"""Status line and headers of an answer."""

_Origin: TypeAlias = tuple[str, str, int]
_Timeouts: TypeAlias = dict[str, float | None]
_Event: TypeAlias = h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]


class LeasedConnections(httpx.AsyncBaseTransport):
    """At most ``connections`` calls at once, to any number of origins; idle connections are kept for 4 s.

    Honours ``request.extensions["timeout"]`` (``pool``, ``connect``, ``write``, ``read``, in seconds) and sets
    ``request.extensions[WRITTEN]``. The answer must be closed: that ends the lease.
    """

    def __init__(self, ssl_context: ssl.SSLContext, connections: int) -> None:
        self._ssl_context = ssl_context
        self._leases = asyncio.Semaphore(connections)
        self._idle: dict[_Origin, deque[_Connection]] = {}
        """By origin, the longest idle first."""
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        timeouts: _Timeouts = request.extensions.get("timeout", {})
        await self._lease(timeouts.get("pool"))
        connection = None
        try:
            origin = _origin(request.url)
            connection = self._reuse(origin) or await self._connect(origin, timeouts.get("connect"))
            head = await connection.exchange(request, timeouts)
        except BaseException:
            self._end(connection)
            raise
        return httpx.Response(head.status_code, headers=head.headers.raw_items(), stream=_Answer(connection, self._end))

    async def aclose(self) -> None:
        """Close the idle connections; a leased one closes when its call ends."""
        self._closed = True
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
        for connection in (connection for connections in self._idle.values() for connection in connections):
            connection.close()
        self._idle.clear()

    async def _lease(self, seconds: float | None) -> None:
        if not self._leases.locked():
            await self._leases.acquire()  # does not wait, so needs no timer
            return
        try:
            async with asyncio.timeout(seconds):
                await self._leases.acquire()
        except TimeoutError as error:
            raise httpx.PoolTimeout("no connection became free in time") from error

    def _reuse(self, origin: _Origin) -> "_Connection | None":
        """Take the connection that was used last: it is the least likely to be closed by the server just now."""
        connections = self._idle.get(origin)
        while connections:
            connection = connections.pop()
            if connection.fresh():
                return connection
            connection.close()
        return None

    async def _connect(self, origin: _Origin, seconds: float | None) -> "_Connection":
        scheme, host, port = origin
        context = self._ssl_context if scheme == "https" else None
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(seconds):
                _, connection = await loop.create_connection(lambda: _Connection(origin), host, port, ssl=context)
        except TimeoutError as error:
            raise httpx.ConnectTimeout("no connection in time") from error
        except (OSError, UnicodeError) as error:  # TLS and DNS errors are OSErrors; UnicodeError: no host name
            raise httpx.ConnectError("no connection") from error
        return connection

    def _end(self, connection: "_Connection | None") -> None:
        """End a lease; keep the connection if the exchange on it ended cleanly."""
        self._leases.release()
        if connection is None or not connection.recycle():
            return
        if self._closed:
            connection.close()
        else:
            self._idle.setdefault(connection.origin, deque()).append(connection)
            self._sweep_later()

    def _sweep_later(self) -> None:
        if self._sweep_timer is None:
            self._sweep_timer = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._sweep)

    def _sweep(self) -> None:
        """Close what nobody reused, so that a quiet origin holds no sockets."""
        self._sweep_timer = None
        for origin, connections in list(self._idle.items()):
            while connections and not connections[0].fresh():
                connections.popleft().close()
            if not connections:
                del self._idle[origin]
        if self._idle:
            self._sweep_later()


class _Connection(asyncio.Protocol):
    """One connection, one exchange at a time."""

    def __init__(self, origin: _Origin) -> None:
        self.origin = origin
        self._loop = asyncio.get_running_loop()
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEAD_BYTES)
        self._transport: asyncio.Transport
        self._open = False
        self._idle_since = 0.0
        self._request: httpx.Request | None = None
        self._timeouts: _Timeouts = {}
        self._waiter: asyncio.Future[None] | None = None

    def fresh(self) -> bool:
        return self._open and self._loop.time() - self._idle_since < IDLE_SECONDS

    async def exchange(self, request: httpx.Request, timeouts: _Timeouts) -> h11.Response:
        """Write the request and read the head of its answer."""
        self._request, self._timeouts = request, timeouts
        self._write(request, await request.aread())
        while True:
            event = await self._next_event()
            if isinstance(event, h11.Response):  # all before it are informational
                return event

    async def body(self) -> AsyncIterator[bytes]:
        while isinstance(event := await self._next_event(), h11.Data):
            yield bytes(event.data)

    def recycle(self) -> bool:
        """Make ready for the next exchange, or close where that cannot be."""
        self._request = None
        both_done = self._http.our_state is self._http.their_state is h11.DONE
        if not self._open or not both_done or self._http.trailing_data[0]:
            self.close()
            return False
        self._http.start_next_cycle()
        self._idle_since = self._loop.time()
        return True

    def close(self) -> None:
        """Close at once: nobody waits any more for what is not written by now."""
        self._open = False
        self._transport.abort()

    def _write(self, request: httpx.Request, body: bytes) -> None:
        try:
            head = h11.Request(method=request.method, target=request.url.raw_path, headers=request.headers.raw)
            parts = [self._http.send(event) for event in (head, h11.Data(data=body), h11.EndOfMessage())]
        except h11.LocalProtocolError:
            # h11 quotes the header that it objects to, and that may be the credential
            raise httpx.LocalProtocolError("the request cannot be written as HTTP/1.1") from None
        self._transport.write(b"".join(part for part in parts if part))
        if not self._transport.get_write_buffer_size() and not self._transport.is_closing():
            request.extensions[WRITTEN] = True

    async def _next_event(self) -> _Event:
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                raise httpx.RemoteProtocolError("the answer is not a complete HTTP/1.1 message") from error
            if event is not h11.NEED_DATA:
                return event
            if not self._open:
                raise httpx.ReadError("the connection was lost before the answer was complete")
            await self._wait()

    async def _wait(self) -> None:
        """Wait for bytes, for the end of the connection, or while still writing for the end of that."""
        writing = self._request is not None and WRITTEN not in self._request.extensions
        self._waiter = self._loop.create_future()
        try:
            async with asyncio.timeout(self._timeouts.get("write" if writing else "read")):
                await self._waiter
        except TimeoutError as error:
            too_late = httpx.WriteTimeout if writing else httpx.ReadTimeout
            raise too_late("the request was not written, or not answered, in time") from error

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # Called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=0)  # then resume_writing means: all is written
        self._open = True

    def resume_writing(self) -> None:
        if self._request is not None and self._open:
            self._request.extensions[WRITTEN] = True
        self._wake()

    def data_received(self, data: bytes) -> None:
        if self._request is None:
            self.close()  # an answer that nobody asked for must not become the next call's
        else:
            self._http.receive_data(data)
            self._wake()

    def eof_received(self) -> None:
        self._open = False
        self._http.receive_data(b"")
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - how it was lost changes nothing
        self._open = False
        self._wake()


class _Answer(httpx.AsyncByteStream):
    """The body of an answer as it comes; closing it ends the lease."""

    def __init__(self, connection: _Connection, end: Callable[[_Connection], None]) -> None:
        self._connection = connection
        self._end: Callable[[_Connection], None] | None = end

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._connection.body()

    async def aclose(self) -> None:
        if self._end is not None:
            end, self._end = self._end, None
            end(self._connection)


def _origin(url: httpx.URL) -> _Origin:
    return url.scheme, url.raw_host.decode("ascii"), url.port or (443 if url.scheme == "https" else 80)
