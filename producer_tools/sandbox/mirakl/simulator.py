"""The simulated Mirakl as a server: which instance is called, and the remote control.

A request finds its instance by its path (``/c/<name>/api/mcm/...``) or else by its ``Authorization``; without
either it is the instance ``default``.
"""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Self
from urllib.parse import unquote

from producer_tools.sandbox.mirakl.control import Control
from producer_tools.sandbox.mirakl.faults import Body, error_response
from producer_tools.sandbox.mirakl.instance import Instance
from producer_tools.sandbox.mirakl.instances import DEFAULT_INSTANCE, MiraklInstances
from producer_tools.sandbox.mirakl.wire import Delivery, Request, ServerConnection

_ROUTE: Final = re.compile(
    r"(?:/c/(?P<instance>[^/]+))?/api/mcm/products/synchronization(?:/(?P<tracking_id>[^/]+)(?P<report>/report)?)?"
)


class MiraklSimulator(MiraklInstances):
    """Simulates Mirakl over HTTP; scripted and read from Python, or by anybody who reaches ``/_control``."""

    @asynccontextmanager
    async def serving(
        self, host: str = "127.0.0.1", port: int = 0, ssl_context: ssl.SSLContext | None = None
    ) -> AsyncIterator[Self]:
        """Serve on ``host`` and ``port`` (0: any free one) until the block ends."""
        connections: set[ServerConnection] = set()

        def accept() -> ServerConnection:
            self.accepted_connections += 1
            return ServerConnection(self.answer, connections)

        loop = asyncio.get_running_loop()
        server = await loop.create_server(accept, host, port, ssl=ssl_context, backlog=1024)
        bound_port = server.sockets[0].getsockname()[1]
        self.base_url = f"{'https' if ssl_context else 'http'}://{_reachable(host)}:{bound_port}"
        try:
            yield self
        finally:
            server.close()
            for connection in list(connections):
                connection.abort()
            await server.wait_closed()

    def answer(self, request: Request) -> Delivery:
        """Decide on one request and return what to send when; needs no network, so that tests can call it."""
        path = request.target.partition("?")[0]
        if path.startswith("/_control/"):
            return Control(self).answer(request)
        route = _ROUTE.fullmatch(path)
        if route is None:
            return Delivery(error_response(404, f"No resource at {path}", Body.HTML))
        instance = self._called_instance(route["instance"], request)
        tracking_id = route["tracking_id"]
        if request.method != ("POST" if tracking_id is None else "GET"):
            return Delivery(error_response(405, f"{request.method} is not supported here"))
        if tracking_id is None:
            return instance.synchronize(request)
        if route["report"]:
            return instance.report(request, unquote(tracking_id))
        return instance.state(request, unquote(tracking_id))

    def _called_instance(self, named: str | None, request: Request) -> Instance:
        if named is not None:
            return self.instance(unquote(named))
        authorization = request.headers.get("authorization", "")
        for instance in self._instances.values():
            if instance.rules.authorization and authorization in instance.rules.authorization:
                return instance
        return self.instance(DEFAULT_INSTANCE)


def _reachable(host: str) -> str:
    """Name a bound address as somebody on this machine would call it."""
    if host in ("0.0.0.0", "::", ""):  # noqa: S104 - compared, not bound
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
