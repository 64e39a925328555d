"""``/livez``, ``/readyz`` and ``/metrics`` over HTTP, and the container's health check that asks for the first.

- ``/livez`` is 200 while the watched heartbeats go on. It asks no broker, no database and no Mirakl: a probe that
  does turns their outage into two.
- ``/readyz`` is 200 while the program does its work, else 503 with the reasons.
- ``/metrics`` is for Prometheus.

The server has its own threads, one a connection, so that it answers while the engine is stuck. Whoever connects
gets ``request_seconds`` of the policy; when ``connections`` are open the oldest one is closed for the newest. So slow
clients, however many, keep no probe out.

Run as a program (``python -m schemas.process.health``) it exits with 0 if and only if ``/livez`` of the
process beside it answers 200 within three seconds. Only the standard library is loaded for that, since containers ask
every few seconds.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import TCPServer, ThreadingMixIn
from typing import TYPE_CHECKING, Final

from schemas.errors import ExplainedError
from schemas.process.policy import PROCESS

if TYPE_CHECKING:  # for the health check's sake, which must start fast
    from schemas.process.watchdog import Heartbeat

DEFAULT_HOST: Final = "0.0.0.0"  # noqa: S104 - probes and scrapers come from other hosts; as in the settings
DEFAULT_PORT: Final = 8080

_JSON: Final = "application/json"
_TEXT: Final = "text/plain; charset=utf-8"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Liveness:
    """Answer of ``/livez``: alive without reasons; each reason names a thread or loop that stands still."""

    reasons: tuple[str, ...] = ()


class AdminAddressError(ExplainedError):
    """Health and metrics cannot be served at the configured address: it is taken, or not one of this machine."""


def liveness(heartbeats: Iterable[Heartbeat], now: float) -> Liveness:
    """Return the heartbeats that have been silent for longer than their limits; ``now`` in monotonic seconds."""
    return Liveness(
        tuple(
            f"{heartbeat.name}: no progress for {now - progress:.0f} s (limit {heartbeat.limit_seconds:g} s)"
            for heartbeat in heartbeats
            if (progress := heartbeat.last_progress()) is not None and now - progress > heartbeat.limit_seconds
        )
    )


class AdminServer:
    """Serves health and metrics from threads of its own; the callables run on these and must not wait."""

    def __init__(
        self,
        host: str,
        port: int,
        live: Callable[[], Liveness],
        unready: Callable[[], tuple[str, ...]],
        render_metrics: Callable[[str], tuple[str, bytes]],
        notes: Callable[[], tuple[str, ...]] = tuple,
        *,
        unready_covers_live: bool = False,
    ) -> None:
        """``unready`` gives the reasons for not being ready, other than those of ``live`` unless it covers them too.

        ``notes`` gives what ``/readyz`` also says, without being a reason for not being ready.
        ``render_metrics`` gives content type and body of a scrape for its ``Accept`` header.
        """
        self._address = (host, port)
        self._routes: Mapping[str, Callable[[str], _Response]] = {
            "/livez": lambda _: _health("live", live().reasons),
            "/readyz": lambda _: _health(
                "ready", unready() if unready_covers_live else (*unready(), *live().reasons), notes()
            ),
            "/metrics": lambda accept: _Response(HTTPStatus.OK, *render_metrics(accept)),
        }
        self._server: _Server | None = None

    @property
    def port(self) -> int:
        """The port that is served; before the start, the one asked for (0: any)."""
        return int(self._server.server_address[1]) if self._server else self._address[1]

    def start(self) -> None:
        """Serve from now on, on threads of its own. Raises ``AdminAddressError`` where the address cannot be served."""
        host, port = self._address
        try:
            self._server = _Server(host, port, self._routes)
        except OSError as error:
            raise AdminAddressError(
                f"Cannot serve health and metrics at {host} port {port}: {error.strerror or error}.",
                "Free it, or set RESYNC_ADMIN__HOST and RESYNC_ADMIN__PORT.",
            ) from error
        threading.Thread(
            target=self._server.serve_forever, args=(PROCESS.poll_seconds,), name="admin", daemon=True
        ).start()

    def stop(self) -> None:
        """End the service of health and metrics. Idempotent, also before the start."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()


@dataclass(frozen=True, slots=True)
class _Response:
    status: HTTPStatus
    content_type: str
    body: bytes


def _health(name: str, reasons: tuple[str, ...], notes: tuple[str, ...] = ()) -> _Response:
    status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
    document = {name: not reasons, "reasons": reasons, **({"notes": notes} if notes else {})}
    return _Response(status, _JSON, json.dumps(document).encode() + b"\n")


def _text(status: HTTPStatus, text: str) -> _Response:
    return _Response(status, _TEXT, f"{text}\n".encode())


class _Server(ThreadingMixIn, TCPServer):
    """A thread per connection, all of them bounded in number and time."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, host: str, port: int, routes: Mapping[str, Callable[[str], _Response]]) -> None:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        self.address_family = family
        self.routes = routes
        self._opened: dict[socket.socket, float] = {}
        super().__init__((str(address[0]), port), _Handler)

    def get_request(self) -> tuple[socket.socket, object]:
        connection, address = super().get_request()
        opened = list(self._opened)
        if len(opened) >= PROCESS.connections:
            self._hang_up(opened[0])
        self._opened[connection] = time.monotonic()
        return connection, address

    def service_actions(self) -> None:
        overdue = time.monotonic() - PROCESS.request_seconds
        for connection, opened_at in list(self._opened.items()):
            if opened_at < overdue:
                self._hang_up(connection)

    def forget(self, connection: socket.socket) -> None:
        self._opened.pop(connection, None)

    def handle_error(self, *_: object) -> None:
        """A connection that broke, or was hung up on, is nobody's business."""
        _log.debug("admin connection failed", exc_info=True)

    def _hang_up(self, connection: socket.socket) -> None:
        """Its thread wakes up, whether it reads or writes, and ends."""
        self.forget(connection)
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    """HTTP/1.0: one request a connection."""

    server: _Server
    server_version = "mirakl-resync"
    sys_version = ""
    error_content_type = _TEXT
    error_message_format = "%(code)d %(message)s\n"

    def parse_request(self) -> bool:
        if not super().parse_request():
            return False
        if self.command in {"GET", "HEAD"}:
            return True
        self._send(_text(HTTPStatus.METHOD_NOT_ALLOWED, "Use GET or HEAD."), Allow="GET, HEAD")
        return False

    def do_GET(self) -> None:
        self._send(self._response())

    def do_HEAD(self) -> None:
        self.do_GET()

    def finish(self) -> None:
        self.server.forget(self.connection)
        super().finish()

    def _response(self) -> _Response:
        routes = self.server.routes
        route = routes.get(self.path.partition("?")[0])
        if route is None:
            return _text(HTTPStatus.NOT_FOUND, f"Not found; there are {', '.join(routes)}.")
        try:
            return route(self.headers.get("Accept", ""))
        except Exception:  # noqa: BLE001 - the process's edge: whoever asks is told that it is broken, and goes on asking
            _log.exception("health endpoint failed: %s", self.path)
            return _text(HTTPStatus.INTERNAL_SERVER_ERROR, "The state of the service cannot be told; see its log.")

    def _send(self, response: _Response, **headers: str) -> None:
        self.send_response(response.status)
        self.send_header("Content-Type", response.content_type)
        self.send_header("Content-Length", str(len(response.body)))
        self.send_header("Cache-Control", "no-store")
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)

    def log_message(self, *_: object) -> None:
        """A line per probe would say nothing."""


def check(environ: Mapping[str, str]) -> str | None:
    """Ask ``/livez`` of the process beside this one; ``None``: it is alive, else what is wrong."""
    try:
        host = _setting(environ, "RESYNC_ADMIN__HOST") or DEFAULT_HOST
        port = int(_setting(environ, "RESYNC_ADMIN__PORT") or DEFAULT_PORT)
        status, body = _get_livez({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port)  # noqa: S104 - compared
    except (OSError, ValueError, http.client.HTTPException) as error:
        return f"/livez does not answer: {error}"
    return None if status == HTTPStatus.OK else f"/livez answers {status}: {body}"


def _get_livez(host: str, port: int) -> tuple[int, str]:
    """Within the time-out in all, also from a server that sends a byte at a time."""
    connection = http.client.HTTPConnection(host, port, timeout=PROCESS.check_seconds)
    deadline = threading.Timer(PROCESS.check_seconds, lambda: connection.sock and connection.sock.shutdown(2))
    deadline.daemon = True
    deadline.start()
    try:
        connection.request("GET", "/livez")
        response = connection.getresponse()
        return response.status, response.read(10_000).decode(errors="replace").strip()
    finally:
        deadline.cancel()
        connection.close()


def _setting(environ: Mapping[str, str], name: str) -> str | None:
    """As the settings read it, without loading them."""
    file = environ.get(f"{name}_FILE")
    return Path(file).read_text(encoding="utf-8-sig").strip() if file else environ.get(name)


def main() -> int:
    trouble = check(os.environ)
    if trouble:
        sys.stderr.write(f"{trouble}\n")
    return 1 if trouble else 0


if __name__ == "__main__":
    sys.exit(main())
