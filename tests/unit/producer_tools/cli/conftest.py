"""Topics in memory for commands."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.support.policies import adjust
from tests.unit.producer_tools.cli.retry_scene import Scene
from tests.unit.producer_tools.fake_kafka import ENVIRON, fake_broker


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    adjust(monkeypatch, "producer_tools.sender", "TOOLS", sender_poll_seconds=0.005)
    adjust(monkeypatch, "producer_tools.cli.dispatch", "TOOLS", poll_seconds=0.02)
    with fake_broker(monkeypatch, [("requests", 2), ("results", 1)]) as broker:
        yield Scene(broker)


@pytest.fixture
def registry(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A registry that has our schema of requests under 7, and does not have GUIDs: the paths that were asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self, status: int, body: object) -> None:
            asked.append(self.path)
            self.rfile.read(int(self.headers.get("content-length", 0)))
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def do_POST(self) -> None:
            self.answer(200, {"id": 7})

        def do_GET(self) -> None:
            self.answer(404, {"message": "no such page"})

        def log_message(self, format: str, *_: object) -> None:  # noqa: A002 - the library's name
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("RESYNC_SCHEMA_REGISTRY__URL", f"http://127.0.0.1:{server.server_port}")
        scene.broker.answer = None
        yield asked
        server.shutdown()
