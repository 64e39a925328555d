"""Made-up schema ids, and a registry behind a proxy that knows nothing: the records wait, nobody else does."""

import contextlib
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from consumer.engine.policy import Policy
from tests.integration.contract.deployment import deployed, operator, record
from tests.integration.contract.wire import pairs, request
from tests.support.records import RawRecord
from tests.support.topics import create_topics, delete_topics

MADE_UP = 14_000
"""More than the engine's fetch budget."""


class Registry(ThreadingHTTPServer):
    """Knows the schema of results, and answers every question for another with a 404 of its own."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, body: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Question)
        self.body = body
        self.asked = self.most_at_once = self.at_once = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Question(BaseHTTPRequestHandler):
    server: Registry
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self._answer(200, b'{"id": 1, "version": 1, "subject": "s", "schema": "x"}')

    def do_GET(self) -> None:
        registry = self.server
        with registry.lock:
            registry.asked += 1
            registry.at_once += 1
            registry.most_at_once = max(registry.most_at_once, registry.at_once)
        time.sleep(0.005)
        with registry.lock:
            registry.at_once -= 1
        self._answer(404, registry.body)

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def answering(body: bytes) -> Iterator[Registry]:
    with Registry(body) as registry:
        thread = threading.Thread(target=registry.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield registry
        finally:
            registry.shutdown()
            thread.join()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "waits"),
    [(b"<html>no such page</html>", True), (b'{"error_code": 40403, "message": "Schema not found"}', False)],
    ids=["proxy", "registry"],
)
def test_thousands_of_made_up_schema_ids_cost_others_nothing(
    kafka_bootstrap: str, tmp_path: Path, body: bytes, *, waits: bool
) -> None:
    topics = create_topics(kafka_bootstrap, partitions=2)
    with (
        answering(body) as registry,
        deployed(kafka_bootstrap, topics, tmp_path, RESYNC_SCHEMA_REGISTRY__URL=registry.url) as deployment,
    ):
        key = deployment.key()
        deployment.specification("shop")
        with deployment.service() as service:
            made_up = [
                RawRecord(b"\x00" + (10 + number).to_bytes(4, "big"), None, operator(key), 0)
                for number in range(MADE_UP)
            ]
            waiting = deployment.send(*made_up)
            others = deployment.send(*[record(key, request(pairs(1)), partition=1) for _ in range(50)])

            deployment.outcomes.wait(others, timeout=30)
            assert deployment.outcomes.quiet(waiting)
            assert registry.most_at_once <= Policy().schema_lookups
            deadline = time.monotonic() + 10
            while (ready := service.get("/readyz")).is_success is waits and time.monotonic() < deadline:
                time.sleep(0.1)  # the first questions may still be out
            assert (registry.url in ready.text) is waits
            assert len(ready.content) < 2000
            if waits:
                assert registry.asked < 100
    delete_topics(kafka_bootstrap, topics)
