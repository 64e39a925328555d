"""The service with a schema registry: a real one, and one whose answers are scripted."""

import json
import struct
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeAlias

import httpx
import pytest

from tests.integration.contract import wire
from tests.integration.contract.deployment import Coordinates, Deployment, deployed, operator
from tests.integration.contract.wire import Event, request
from tests.support.parts import wait_until
from tests.support.records import RawRecord
from tests.support.service import Service
from tests.support.topics import create_topics, delete_topics
from tests.unit.schemas.avro.spec_avro import read_confluent

EXTENDED: Event = {
    **wire.REQUEST,
    "fields": [{"name": "extra", "type": "string", "default": ""}, *wire.REQUEST["fields"]],
}
GUID = uuid.uuid4()
OURS = (200, json.dumps({"schema": json.dumps(wire.REQUEST)}).encode())


Answer: TypeAlias = tuple[int, bytes] | None
"""Status and body; ``None``: it hangs."""

NOT_THERE: Answer = (404, b'{"error_code": 40403, "message": "Schema not found"}')
NO_PROOF: list[Answer] = [
    (404, b"{}"),
    (404, b'{"error_code": 40401}'),
    (404, b"<html>not found</html>"),
    (500, b'{"error_code": 40403}'),
    (200, b'{"error_code": 40403}'),
    (200, b"hello"),
    (401, b'{"error_code": 401}'),
    None,
]


@dataclass
class ScriptedRegistry:
    """Knows our results as id 1 and our requests under `GUID`; what it says of other ids is scripted."""

    answers: dict[int, Answer] = field(default_factory=dict)
    asked: list[tuple[float, str]] = field(default_factory=list)
    """Monotonic seconds and path."""

    def respond(self, path: str) -> Answer:
        self.asked.append((time.monotonic(), path))
        if "/subjects/" in path:
            return 200, json.dumps({"id": 1, "version": 1, "schema": json.dumps(wire.RESULT)}).encode()
        if str(GUID) in path:
            return OURS
        return self.answers.get(int(path.partition("?")[0].rpartition("/")[2]), NOT_THERE)

    def times(self, schema_id: int) -> list[float]:
        return [at for at, path in self.asked if path.partition("?")[0].endswith(f"/schemas/ids/{schema_id}")]


@pytest.fixture(scope="module")
def scripted() -> Iterator[tuple[ScriptedRegistry, str]]:
    """A registry and its base URL."""
    registry, over = ScriptedRegistry(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = registry.respond(self.path)
            if answer is None:
                over.wait(60)
                return
            self.send_response(answer[0])
            self.send_header("Content-Length", str(len(answer[1])))
            self.end_headers()
            self.wfile.write(answer[1])

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield registry, f"http://127.0.0.1:{server.server_port}"
        over.set()
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def asking(
    kafka_bootstrap: str, scripted: tuple[ScriptedRegistry, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Deployment, Service, str]]:
    """A replica that asks the scripted registry, with a deadline that no waiting for a registry may use up."""
    topics = create_topics(kafka_bootstrap)
    folder = tmp_path_factory.mktemp("asking")
    with deployed(kafka_bootstrap, topics, folder, RESYNC_SCHEMA_REGISTRY__URL=scripted[1]) as deployment:
        deployment.specification("only")
        key = deployment.key()
        with deployment.service(RESYNC_REQUEST_DEADLINE="6s") as replica:
            yield deployment, replica, key
    delete_topics(kafka_bootstrap, topics)


def named(schema_id: int) -> bytes:
    return b"\x00" + struct.pack(">I", schema_id)


def ask(deployment: Deployment, key: str, schema_id: int) -> Coordinates:
    [coordinates] = deployment.send(RawRecord(named(schema_id) + wire.body(request()), None, operator(key)))
    return coordinates


@pytest.mark.slow
def test_only_an_id_that_twice_does_not_exist_is_unknown(
    asking: tuple[Deployment, Service, str], scripted: tuple[ScriptedRegistry, str]
) -> None:
    (deployment, replica, key), (registry, _) = asking, scripted
    unknown = ask(deployment, key, 7)
    time.sleep(2)
    assert 200 == replica.status("/readyz")
    assert "SYNCHRONIZED" == _status(deployment, key)

    registry.answers = dict(enumerate(NO_PROOF, 100))
    waiting = [ask(deployment, key, schema_id) for schema_id in registry.answers]
    wait_until(lambda: replica.status("/readyz") == 503, timeout=20, what="the trouble is told")
    assert "registry" in replica.get("/readyz").text
    wait_until(lambda: all(map(registry.times, registry.answers)), timeout=60, what="a question for each")
    assert deployment.outcomes.quiet(waiting)

    letter = deployment.dead_letter(unknown, timeout=60)
    asked = registry.times(7)
    assert "UNKNOWN_SCHEMA" == letter.header("dlq.reason")
    assert "7" in (letter.header("dlq.message") or "")
    assert asked[-1] - asked[0] >= 29.5

    registry.answers = dict.fromkeys(registry.answers, OURS)
    deployment.outcomes.wait(waiting, timeout=40)
    assert all(each in deployment.outcomes.results for each in waiting)
    wait_until(lambda: replica.status("/readyz") == 200, timeout=10, what="ready again")


def _status(deployment: Deployment, key: str) -> str:
    """Return the status of a request for a product of its own: one for the same product might have to wait."""
    products = [{"miraklProductId": uuid.uuid4().hex, "productSku": "SKU"}]
    [coordinates] = deployment.send(RawRecord(wire.single_object(request(products)), None, operator(key)))
    value = deployment.result_record(coordinates).value
    return str(wire.read_result(value, named(1))["status"])


def test_a_guid_in_the_header_is_looked_up(asking: tuple[Deployment, Service, str]) -> None:
    deployment, _, key = asking
    headers = (*operator(key), ("__value_schema_id", b"\x01" + GUID.bytes))
    [coordinates] = deployment.send(RawRecord(wire.body(request()), None, headers))

    value = deployment.result_record(coordinates).value
    assert "SYNCHRONIZED" == wire.read_result(value, named(1))["status"]


def test_a_real_registry_names_the_schemas_of_both_sides(
    kafka_bootstrap: str, schema_registry_url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    topics = create_topics(kafka_bootstrap)
    folder = tmp_path_factory.mktemp("registered")
    with deployed(kafka_bootstrap, topics, folder, RESYNC_SCHEMA_REGISTRY__URL=schema_registry_url) as deployment:
        deployment.specification("only")
        key = deployment.key()
        early = deployment.service("early")
        early.start()
        assert 1 == early.wait_end()
        assert "schemas register" in early.output()

        deployment.administer("schemas", "register")
        deployment.administer("schemas", "check")
        ours = _registered(schema_registry_url, f"{topics.requests}-value", wire.REQUEST)
        theirs = _registered(schema_registry_url, f"{topics.requests}-value", EXTENDED)
        foreign = _registered(schema_registry_url, f"foreign.{topics.group}", {"type": "string"})
        with deployment.service() as replica:
            _all_framings_are_read(deployment, schema_registry_url, key, ours, theirs)
            [coordinates] = deployment.send(RawRecord(named(foreign) + b"\x00", None, operator(key)))
            assert "UNREADABLE" == deployment.dead_letter(coordinates).header("dlq.reason")
            assert 0 == replica.terminate()
    delete_topics(kafka_bootstrap, topics)


def _registered(url: str, subject: str, schema: Event) -> int:
    answer = httpx.post(f"{url}/subjects/{subject}/versions", json={"schema": json.dumps(schema)})
    return int(answer.raise_for_status().json()["id"])


def _all_framings_are_read(deployment: Deployment, url: str, key: str, ours: int, theirs: int) -> None:
    event = request()
    extended = wire.body({**event, "extra": "x"}, EXTENDED)
    sent = [
        RawRecord(named(ours) + wire.body(event), None, operator(key)),
        RawRecord(named(theirs) + extended, None, operator(key)),
        RawRecord(wire.body(event), None, (*operator(key), ("__value_schema_id", named(ours)))),
        RawRecord(extended, None, (*operator(key), ("__VALUE_SCHEMA_ID", named(theirs)))),
        RawRecord(wire.single_object(event), None, operator(key)),
    ]

    def registered(schema_id: int) -> str:
        return str(httpx.get(f"{url}/schemas/ids/{schema_id}").json()["schema"])

    for coordinates in deployment.send(*sent):
        result = read_confluent(deployment.result_record(coordinates).value or b"", registered)
        assert ("SYNCHRONIZED", event["requestId"]) == (result["status"], result["requestId"])
