"""A network backend for httpcore that bounds one exchange: all bytes received, and the whole time.

httpx bounds single reads. A server that sends informational responses (1xx) without end, or a body in chunks of
one byte, makes many short reads: each is in time, and none is part of a body that could be measured. So bytes are
counted where they arrive, framing included, and each read gets what is left of the exchange's time.

Source: httpcore's documentation, "Network Backends".
"""

import ssl
import threading
import time
from collections.abc import Iterable
from typing import Any

import httpcore
import httpx

from schemas.registry.policy import REGISTRY


class TooMuchReceivedError(Exception):
    """More bytes were received than a response of this size needs: the peer sends framing without content."""


class Bounds(threading.local):
    """Bytes and seconds that remain for the exchange of this thread, whatever the library does in between."""

    def __init__(self) -> None:
        self._allowed = 0
        self._ends_at = 0.0

    def begin(self, seconds: float) -> None:
        """Begin an exchange that may last this long, from connecting to the last byte of the answer."""
        self._allowed = REGISTRY.head_bytes
        self._ends_at = time.monotonic() + seconds

    def body(self, size: int) -> None:
        """Count bytes of the body, each of which allows for some more of framing. Raises ``TimeoutError``."""
        self._allowed += REGISTRY.framing_factor * size
        self.left(None)

    def received(self, size: int) -> None:
        """Count bytes that the connection has received, framing included. Raises `TooMuchReceivedError`."""
        self._allowed -= size
        if self._allowed < 0:
            raise TooMuchReceivedError("more framing and informational responses than an answer needs")

    def left(self, timeout: float | None) -> float:
        """Return the seconds that the next step may take, at most ``timeout``.

        Raises ``TimeoutError`` if none are left.
        """
        left = self._ends_at - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left if timeout is None else min(timeout, left)


def bound(client: httpx.Client, bounds: Bounds) -> None:
    """Apply the bounds to all connections of this client. httpx has no parameter for a network backend."""
    for transport in (client._transport, *client._mounts.values()):  # noqa: SLF001 - see above; a test holds it to this
        if isinstance(transport, httpx.HTTPTransport):
            pool = transport._pool  # noqa: SLF001
            pool._network_backend = _Backend(pool._network_backend, bounds)  # noqa: SLF001


class _Backend(httpcore.NetworkBackend):
    def __init__(self, inner: httpcore.NetworkBackend, bounds: Bounds) -> None:
        self._inner = inner
        self._bounds = bounds

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        left = self._bounds.left(timeout)
        stream = self._inner.connect_tcp(host, port, left, local_address, socket_options)
        return _Stream(stream, self._bounds)


class _Stream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream, bounds: Bounds) -> None:
        self._inner = inner
        self._bounds = bounds

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data = self._inner.read(max_bytes, self._bounds.left(timeout))
        self._bounds.received(len(data))
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, self._bounds.left(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = self._bounds.left(timeout)
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, left), self._bounds)

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - httpcore's signature
        return self._inner.get_extra_info(info)
