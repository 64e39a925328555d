"""HTTP/1.1 for a server that must cost little and may misbehave: requests in, deliveries carried out.

Lean on purpose, since the benchmark shares two cores with it: a body needs ``Content-Length``, and what is not HTTP
ends the connection.
"""

import asyncio
import os
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from http import HTTPStatus
from types import MappingProxyType
from typing import Final, TypeAlias, cast

_MAX_HEAD_BYTES: Final = 64 * 1024
_MAX_BODY_BYTES: Final = 64 * 1024 * 1024
_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, completely received: method, target, headers with names in lower case, body."""

    method: str
    target: str
    headers: Mapping[str, str] = field(repr=False)  # the credential is among them
    """Names in lower case; of a repeated one the last."""
    body: bytes


class Then(Enum):
    """Fate of the connection after the bytes are sent."""

    KEEP = auto()
    CLOSE = auto()
    RESET = auto()
    HANG = auto()


@dataclass(frozen=True, slots=True)
class Delivery:
    """Response to a call, and how it is sent."""

    data: bytes = b""
    delay: float = 0.0
    """Seconds before the first byte."""
    then: Then = Then.KEEP
    byte_interval: float = 0.0
    """Seconds between two single bytes; 0: all at once."""
    ended: Callable[[], None] | None = None
    """Called once when the exchange is over, also when the connection is lost before."""


Handle: TypeAlias = Callable[[Request], Delivery]


def response(
    status: int, body: bytes, content_type: str = "application/json", headers: Mapping[str, str] = _NO_HEADERS
) -> bytes:
    """Return the bytes of an HTTP/1.1 response with its length; ``content_type`` empty: without one."""
    lines = [f"HTTP/1.1 {status} {_phrase(status)}", *(f"{name}: {value}" for name, value in headers.items())]
    if content_type:
        lines.append(f"Content-Type: {content_type}")
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode("latin-1") + body


class ServerConnection(asyncio.Protocol):
    """The connection of one who calls; one exchange after the other."""

    def __init__(self, handle: Handle, connections: set["ServerConnection"]) -> None:
        self._handle = handle
        self._connections = connections
        self._received = bytearray()
        self._head: tuple[str, str, dict[str, str]] | None = None
        self._delivery: Delivery | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport

    def abort(self) -> None:
        self._transport.abort()

    # Called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - however it went, it is over
        self._connections.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        self._exchange_ended()

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._delivery is None:
            self._serve()

    # Reading

    def _serve(self) -> None:
        try:
            request = self._take_request()
        except _NotServedError as error:
            refusal = response(error.status, b"", headers={"Connection": "close"})
            self._deliver(Delivery(refusal, then=Then.CLOSE))
            return
        if request is not None:
            self._deliver(self._handle(request))

    def _take_request(self) -> Request | None:
        if self._head is None:
            self._head = self._take_head()
            if self._head is None:
                return None
        method, target, headers = self._head
        length = _body_length(method, headers)
        if len(self._received) < length:
            return None
        self._head = None
        return Request(method, target, headers, self._take(length))

    def _take_head(self) -> tuple[str, str, dict[str, str]] | None:
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            if self._received and not self._received[:1].isalpha():
                raise _NotServedError(HTTPStatus.BAD_REQUEST)  # another protocol, TLS for one
            if len(self._received) > _MAX_HEAD_BYTES:
                raise _NotServedError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            return None
        first, *rest = self._take(end + 4)[:-4].decode("latin-1").split("\r\n")
        match first.split(" "):
            case [method, target, "HTTP/1.1" | "HTTP/1.0"]:
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
                if headers.get("expect", "").lower() == "100-continue":
                    self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                return method, target, headers
            case _:
                raise _NotServedError(HTTPStatus.BAD_REQUEST)

    def _take(self, count: int) -> bytes:
        taken = bytes(self._received[:count])
        del self._received[:count]
        return taken

    # Delivering

    def _deliver(self, delivery: Delivery) -> None:
        self._delivery = delivery
        if delivery.delay > 0:
            self._timer = asyncio.get_running_loop().call_later(delivery.delay, self._send, delivery)
        else:
            self._send(delivery)

    def _send(self, delivery: Delivery) -> None:
        if delivery.byte_interval:
            self._drip(delivery, 0)
            return
        self._transport.write(delivery.data)
        self._sent(delivery)

    def _drip(self, delivery: Delivery, position: int) -> None:
        if position == len(delivery.data):
            self._sent(delivery)
            return
        self._transport.write(delivery.data[position : position + 1])
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(delivery.byte_interval, self._drip, delivery, position + 1)

    def _sent(self, delivery: Delivery) -> None:
        match delivery.then:
            case Then.KEEP:
                self._exchange_ended()
                if self._received:
                    self._serve()
            case Then.CLOSE:
                self._transport.close()
            case Then.RESET:
                self._reset()
            case Then.HANG:
                pass

    def _exchange_ended(self) -> None:
        delivery, self._delivery = self._delivery, None
        if delivery is not None and delivery.ended is not None:
            delivery.ended()

    def _reset(self) -> None:
        """Close so that the other side gets a TCP reset: no lingering, and whatever is unread is thrown away."""
        # a second descriptor of the same socket, since event loops guard theirs
        with socket.socket(fileno=os.dup(self._transport.get_extra_info("socket").fileno())) as peer:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()


class _NotServedError(Exception):
    """A request that this server does not read to its end."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status)
        self.status = status


def _body_length(method: str, headers: Mapping[str, str]) -> int:
    length = headers.get("content-length")
    if length is None:
        if method == "POST" or "transfer-encoding" in headers:
            raise _NotServedError(HTTPStatus.LENGTH_REQUIRED)
        return 0
    if not length.isdecimal():
        raise _NotServedError(HTTPStatus.BAD_REQUEST)
    if int(length) > _MAX_BODY_BYTES:
        raise _NotServedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    return int(length)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
