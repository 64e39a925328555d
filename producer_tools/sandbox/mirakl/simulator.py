"""The simulated Mirakl as a server: which instance is asked, and the remote control.

A request finds its instance by its path (``/c/<name>/api/mcm/...``) or else by its ``Authorization``; without
either it is the instance ``default``.
"""

import asyncio
import random
import re
import ssl
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import IO, Final, Self
from urllib.parse import quote, unquote

from producer_tools.sandbox.mirakl.control import Control
from producer_tools.sandbox.mirakl.faults import Fault, FaultPlan, error_response
from producer_tools.sandbox.mirakl.instance import Instance, Surroundings
from producer_tools.sandbox.mirakl.journal import DEFAULT_BYTES, Counters, Journal
from producer_tools.sandbox.mirakl.rules import Rules
from producer_tools.sandbox.mirakl.wire import Delivery, Request, ServerConnection

DEFAULT_INSTANCE: Final = "default"

_ROUTE: Final = re.compile(
    r"(?:/c/(?P<instance>[^/]+))?/api/mcm/products/synchronization(?:/(?P<tracking_id>[^/]+)(?P<report>/report)?)?"
)
_KEPT_VIOLATIONS: Final = 1000


def _shout(violation: str) -> None:
    print(f"VIOLATION of CM21: {violation}", file=sys.stderr, flush=True)  # noqa: T201 - meant for people


class MiraklSimulator:
    """Plays Mirakl over HTTP; scripted and read from Python, or by whoever reaches ``/_control``.

    ``seed`` makes tracking ids, latencies and probabilities repeat. ``shout`` gets each violation as it happens.
    """

    def __init__(
        self,
        *,
        seed: int | None = None,
        rules: Rules | None = None,
        journal_bytes: int = DEFAULT_BYTES,
        journal_file: IO[str] | None = None,
        shout: Callable[[str], None] = _shout,
    ) -> None:
        randomness = random.Random(seed)  # noqa: S311 - a simulation repeats
        self.journal = Journal(journal_bytes, journal_file)
        self.violations: deque[str] = deque(maxlen=_KEPT_VIOLATIONS)
        """The latest; ``violation_count`` counts all."""
        self.violation_count = 0
        self.accepted_connections = 0
        self.base_url = ""
        """Of the instance ``default``; set while serving."""
        self._shout = shout
        self._plan = FaultPlan(randomness)
        self._surroundings = Surroundings(self._plan, self.journal, randomness, self._violated)
        self._rules = rules or Rules()
        self._instances: dict[str, Instance] = {}
        self._control = Control(self)

    # Scripting and reading

    def url(self, instance: str) -> str:
        """Give the base URL for a client specification that calls this instance."""
        return f"{self.base_url}/c/{quote(instance, safe='')}"

    @property
    def rules(self) -> Rules:
        """Those of all instances without rules of their own."""
        return self._rules

    def set_rules(self, rules: Rules, instance: str | None = None) -> None:
        """Set an instance's standing behaviour, or that of all of them."""
        if instance is not None:
            self.instance(instance).rules = rules
            return
        self._rules = rules
        for each in self._instances.values():
            each.rules = rules

    def add_fault(self, fault: Fault, instance: str | None = None) -> None:
        """Script a fault for an instance, or for all."""
        self._plan.add(fault, instance)

    def clear_faults(self, instance: str | None = None) -> None:
        """Forget the faults of an instance, or all there are."""
        self._plan.clear(instance)

    @property
    def scripted_faults(self) -> list[dict[str, object]]:
        return self._plan.listing()

    def counters(self, instance: str = DEFAULT_INSTANCE) -> Counters:
        return self.instance(instance).counters

    @property
    def instances(self) -> list[Instance]:
        return list(self._instances.values())

    def instance(self, name: str) -> Instance:
        """Find an instance; it begins to exist when it is first spoken of."""
        found = self._instances.get(name)
        if found is None:
            found = self._instances[name] = Instance(name, self._rules, self._surroundings)
        return found

    def forget(self) -> None:
        """Forget faults, counters, violations and journal; rules stay."""
        self.clear_faults()
        self.journal.clear()
        self.violations.clear()
        self.violation_count = self.accepted_connections = 0
        for each in self._instances.values():
            each.counters = Counters(concurrent_calls=each.counters.concurrent_calls)

    # Serving

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
        """Decide on one request."""
        path = request.target.partition("?")[0]
        if path.startswith("/_control/"):
            return self._control.answer(request)
        route = _ROUTE.fullmatch(path)
        if route is None:
            return Delivery(error_response(404, f"No resource at {path}"))
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

    def _violated(self, violation: str) -> None:
        self.violations.append(violation)
        self.violation_count += 1
        self._shout(violation)


def _reachable(host: str) -> str:
    """Name a bound address as somebody on this machine would call it."""
    if host in ("0.0.0.0", "::", ""):  # noqa: S104 - compared, not bound
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
