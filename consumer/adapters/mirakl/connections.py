"""Connections on lease: each call in flight has an httpx transport with a connection of its own.

httpx's own pool checks every one of its connections for each request: at 64 of them that costs many times as much as
the call itself. Transports are used without an ``AsyncClient``, so that nothing follows a redirect, keeps a
cookie, reads proxy variables, decompresses or logs a call.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeAlias

import httpx

from consumer.adapters.mirakl.host_connections import HostConnections
from consumer.adapters.mirakl.http11 import Http11Connection
from consumer.adapters.mirakl.policy import MIRAKL
from consumer.adapters.mirakl.way_out import WayOut

_Origin: TypeAlias = tuple[str, bytes]


def one_connection_each(way_out: WayOut) -> Callable[[], Http11Connection]:
    """Return a factory of transports with one connection each; they share one TLS context and the name look-ups."""
    return partial(Http11Connection, way_out, HostConnections())


class ConnectionLeases:
    """Up to ``connections`` of them, leased and idle ones together, to any number of origins; for one event loop."""

    def __init__(self, connections: int, new_transport: Callable[[], httpx.AsyncBaseTransport]) -> None:
        self._connections = connections
        self._new_transport = new_transport
        self._free = asyncio.Semaphore(connections)
        self._leased = 0
        self._idle: dict[httpx.AsyncBaseTransport, tuple[_Origin, float]] = {}
        """Transport -> origin, and since when it is idle; the longest idle first."""
        self._sweeper: asyncio.Task[None] | None = None
        self._closed = False

    @asynccontextmanager
    async def lease(self, url: httpx.URL, seconds: float) -> AsyncIterator[httpx.AsyncBaseTransport]:
        """Lend a connection to the origin of ``url``; ``httpx.PoolTimeout`` if none is free within ``seconds``.

        The response has to be closed within the lease. An exception that ends the lease closes the connection.
        """
        await self._wait(seconds)
        self._leased += 1
        try:
            origin = url.scheme, url.netloc
            transport = self._reuse(origin) or await self._open()
            try:
                yield transport
            except BaseException:
                await transport.aclose()
                raise
            await self._keep(transport, origin)
        finally:
            self._leased -= 1
            self._free.release()

    async def aclose(self) -> None:
        """Close the idle connections; a leased one closes when its lease ends."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        while self._idle:
            await self._close_longest_idle()

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._free.acquire()
        except TimeoutError as error:
            raise httpx.PoolTimeout("no connection became free in time") from error

    def _reuse(self, origin: _Origin) -> httpx.AsyncBaseTransport | None:
        """Return the idle connection that was used last: the server is least likely to be closing it.

        The transport itself opens a new connection where the old one was closed.
        """
        stale = self._stale()
        for transport, (its_origin, since) in reversed(self._idle.items()):
            if its_origin == origin and since > stale:
                del self._idle[transport]
                return transport
        return None

    async def _open(self) -> httpx.AsyncBaseTransport:
        """Return a new transport; ``_leased`` counts it already, so an idle one may have to be closed for it."""
        if self._idle and self._leased + len(self._idle) > self._connections:
            await self._close_longest_idle()
        return self._new_transport()

    async def _keep(self, transport: httpx.AsyncBaseTransport, origin: _Origin) -> None:
        if self._closed:
            await transport.aclose()
            return
        self._idle[transport] = origin, asyncio.get_running_loop().time()
        if self._sweeper is None or self._sweeper.done():
            self._sweeper = asyncio.create_task(self._sweep())

    async def _sweep(self) -> None:
        """Close what nobody reuses, so that a quiet origin holds no sockets."""
        while self._idle:
            await asyncio.sleep(MIRAKL.idle_seconds / 4)  # so none stays for much longer
            while self._idle and next(iter(self._idle.values()))[1] <= self._stale():
                await self._close_longest_idle()

    @staticmethod
    def _stale() -> float:
        """Return the time before which a connection became idle that is not used again."""
        return asyncio.get_running_loop().time() - MIRAKL.idle_seconds

    async def _close_longest_idle(self) -> None:
        transport = next(iter(self._idle))
        del self._idle[transport]
        await transport.aclose()
