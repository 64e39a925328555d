"""uvicorn's HTTP protocol with limits on the time and size of heads, and problem documents for what is not HTTP."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import ClassVar, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from producer_tools.gateway.policy import GatewayPolicy
from producer_tools.gateway.problems import Problem
from schemas.contract import ErrorCode, GatewayCode

_log = logging.getLogger(__name__)


class GatewayProtocol(H11Protocol):
    """One HTTP connection.

    A head, and the rest of a body whose call has already been answered, have ``policy.arrival_seconds`` to arrive.
    """

    policy: ClassVar[GatewayPolicy] = GatewayPolicy()
    _arrival: asyncio.TimerHandle | None = None
    _discarding = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        self._arrival = self.loop.call_later(self.policy.arrival_seconds, self._refuse_slow_head)

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_arrival()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._discarding:
            return
        super().data_received(data)
        self._watch_head()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            return
        if self.conn.their_state is h11.SEND_BODY:  # answered before the end of the body, which is discarded
            self._forget_arrival()
            self._arrival = self.loop.call_later(self.policy.arrival_seconds, self.transport.close)
        else:
            self._watch_head()

    def send_400_response(self, msg: str) -> None:
        """Respond to what is not HTTP; ``msg`` is uvicorn's, and says no more than that."""
        del msg
        detail = (
            "This is not a valid HTTP request, or its headers have more than "
            f"{self.policy.head_bytes} bytes. Correct it and send it again."
        )
        code = ErrorCode.VALIDATION_FAILED
        self._refuse(Problem(code.http_status, code.value, detail))

    def _watch_head(self) -> None:
        """Begin to count the time of a head with its first byte, and end with its last."""
        begun = self.conn.their_state is h11.IDLE and bool(self.conn.trailing_data[0])
        if begun and self._arrival is None:
            self._arrival = self.loop.call_later(self.policy.arrival_seconds, self._refuse_slow_head)
        elif not begun and self.conn.their_state is not h11.SEND_BODY:
            self._forget_arrival()
        elif self.conn.their_state is h11.SEND_BODY and self.conn.our_state is h11.SEND_RESPONSE:
            self._forget_arrival()  # the application counts the time of a body

    def _forget_arrival(self) -> None:
        if self._arrival is not None:
            self._arrival.cancel()
            self._arrival = None

    def _refuse_slow_head(self) -> None:
        self._arrival = None
        seconds = f"{self.policy.arrival_seconds:g}"
        self._refuse(Problem.of_gateway(GatewayCode.REQUEST_TIMEOUT, seconds=seconds))

    def _refuse(self, problem: Problem) -> None:
        """Respond without the application, and close the connection once the caller had time to read it."""
        self._forget_arrival()
        if self.transport.is_closing():
            return
        response = replace(problem, headers=_CLOSE).response(self.policy.retry_after_seconds)
        events: list[h11.Event] = [
            h11.Response(
                status_code=problem.status,
                headers=response.raw_headers,
                reason=HTTPStatus(problem.status).phrase.encode(),
            ),
            h11.Data(data=bytes(response.body)),
            h11.EndOfMessage(),
        ]
        try:
            for event in events:
                self.transport.write(self.conn.send(event) or b"")
        except h11.LocalProtocolError:  # amid a response of the application
            self.transport.close()
            return
        _log.info("connection refused: %s", problem.code)
        self._discarding = True
        self.loop.call_later(self.policy.linger_seconds, self.transport.close)
        if self.transport.can_write_eof():
            self.transport.write_eof()


_CLOSE: Final[Mapping[str, str]] = {"Connection": "close"}
