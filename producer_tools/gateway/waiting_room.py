"""Requests that have been handed over and have no result yet, and the calls that wait for them."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from enum import Enum, auto
from itertools import islice
from typing import Any, TypeAlias

from producer_tools.errors import InvalidRequestError
from producer_tools.gateway.api_keys import Place
from producer_tools.gateway.known_results import ResultRecord
from producer_tools.gateway.policy import GatewayPolicy
from producer_tools.gateway.problems import refusal
from producer_tools.sender import Acknowledgement
from schemas.contract import GatewayCode
from schemas.events import ProductResyncResult

Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
"""ASGI's ``receive``: once a body is read, it waits for the caller to hang up."""


class Ending(Enum):
    """Reason why a call stopped waiting without a result: time, stop, hang-up or refusal."""

    TIME_UP = auto()
    HUNG_UP = auto()
    """The caller closed the connection."""
    REFUSED = auto()
    """The brokers refused the record for good: it is larger than the topic takes."""
    STOPPING = auto()
    """The gateway stops, and its time for that is nearly over."""


Outcome: TypeAlias = ProductResyncResult | ResultRecord | Ending
"""Outcome of a wait; an undecoded record if its schema has to be fetched first."""


class Exchange:
    """One request that was handed over: its acknowledgement, and the calls that wait for its result."""

    __slots__ = ("acknowledged", "api_key", "created_at", "place", "request_id", "turns")

    def __init__(
        self, request_id: str, api_key: bytes, acknowledged: "asyncio.Future[Acknowledgement]", created_at: float
    ) -> None:
        self.request_id = request_id
        self.api_key = api_key
        """Digest of the key that it was made with."""
        self.acknowledged = acknowledged
        self.created_at = created_at
        """Monotonic seconds."""
        self.turns: set[asyncio.Future[Outcome]] = set()
        """One for each call that waits."""
        self.place: Place | None = None
        """Kept for it until its result is there: requests with unproven keys are bounded also if nobody waits."""

    @property
    def is_lost(self) -> bool:
        """Whether the brokers did not acknowledge it: it has to be written again, and may be on the topic."""
        return self.acknowledged.done() and self.acknowledged.exception() is not None


class WaitingRoom:
    """All exchanges by request id, and the number of waiting calls.

    ``lifetime``: seconds for which a request may have no result; ``clock`` returns monotonic seconds.
    """

    def __init__(self, policy: GatewayPolicy, calls: int, lifetime: float, clock: Callable[[], float]) -> None:
        self._policy = policy
        self._calls = calls
        self._lifetime = lifetime
        self._clock = clock
        self._exchanges: OrderedDict[str, Exchange] = OrderedDict()
        self.waiting = 0
        """Calls that wait for a result or an acknowledgement."""
        self.stopping = False
        """No new call is let in."""

    def __len__(self) -> int:
        return len(self._exchanges)

    @contextmanager
    def seat(self) -> Iterator[None]:
        """Count one waiting call while it waits. Raises ``ProblemError`` (503) where no more may wait."""
        if self.stopping:
            raise refusal(GatewayCode.GATEWAY_BUSY, problem="This gateway is stopping")
        if self.waiting >= self._calls:
            raise refusal(GatewayCode.GATEWAY_BUSY, problem="Too many calls are waiting")
        self.waiting += 1
        try:
            yield
        finally:
            self.waiting -= 1

    def find(self, request_id: str) -> Exchange | None:
        """Return the exchange of a request that has no result yet; ``None``: nobody here knows of it."""
        exchange = self._exchanges.get(request_id)
        return None if exchange is None or self._is_over(exchange) else exchange

    def add(self, request_id: str, api_key: bytes, acknowledged: "asyncio.Future[Acknowledgement]") -> Exchange:
        """Begin to wait for a request that has just been handed over, and forget exchanges that are too old."""
        self._forget_old_ones()
        former = self._exchanges.pop(request_id, None)
        exchange = Exchange(request_id, api_key, acknowledged, self._clock())
        if former is not None:  # written again: whoever still waits for the first gets the same result
            exchange.turns = former.turns
            exchange.place = former.place
        self._exchanges[request_id] = exchange
        acknowledged.add_done_callback(lambda _: self._note_refusal(exchange))
        return exchange

    def _note_refusal(self, exchange: Exchange) -> None:
        if exchange.is_lost and isinstance(exchange.acknowledged.exception(), InvalidRequestError):
            self.take(exchange.request_id)
            for turn in tuple(exchange.turns):
                settle(turn, Ending.REFUSED)

    def take(self, request_id: str) -> Exchange | None:
        """Return and end the exchange of a request whose result has come."""
        exchange = self._exchanges.pop(request_id, None)
        if exchange is not None and exchange.place is not None:
            exchange.place.release()
        return exchange

    async def wait(self, exchange: Exchange, seconds: float, receive: Receive) -> Outcome:
        """Wait for the result, for so long, until the caller hangs up, or until ``end_all``."""
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[Outcome] = loop.create_future()
        timer = loop.call_later(seconds, settle, turn, Ending.TIME_UP)
        hanging_up = loop.create_task(_hung_up(receive, turn))
        exchange.turns.add(turn)
        try:
            return await turn
        finally:
            exchange.turns.discard(turn)
            timer.cancel()
            hanging_up.cancel()

    def end_all(self) -> None:
        """End the wait of every call: the gateway stops."""
        for exchange in self._exchanges.values():
            for turn in tuple(exchange.turns):
                settle(turn, Ending.STOPPING)

    def _is_over(self, exchange: Exchange) -> bool:
        return self._clock() - exchange.created_at > self._lifetime

    def _forget_old_ones(self) -> None:
        """Oldest first; one that somebody waits for is kept, whatever its age."""
        idle = len(self._exchanges) - self.waiting
        for exchange in tuple(islice(self._exchanges.values(), 8)):  # room for one more, and catching up with time
            if not self._is_over(exchange) and idle <= self._policy.pending_requests:
                return
            if not exchange.turns:
                self.take(exchange.request_id)
            idle -= 1


def settle(turn: "asyncio.Future[Outcome]", ending: Outcome) -> None:
    """End a call's wait with a result or the reason for none, unless it has ended already."""
    if not turn.done():
        turn.set_result(ending)


async def _hung_up(receive: Receive, turn: "asyncio.Future[Outcome]") -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    settle(turn, Ending.HUNG_UP)
