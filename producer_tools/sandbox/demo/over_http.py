"""The published call over HTTP, and an alert: a gateway beside the service, asked as its callers would ask it."""

import json
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

import httpx

from producer_tools.environment import BROKERS
from producer_tools.errors import ResyncToolError
from producer_tools.gateway.calls import PATH, location
from producer_tools.sandbox.demo.cases import EAST, GLOBEX
from producer_tools.sandbox.demo.screen import Screen
from producer_tools.sandbox.demo.service import Service
from producer_tools.sandbox.demo.stage import READY_SECONDS, Stage
from schemas.contract import API_KEY_HEADER, CLIENT_HEADER, OPERATOR

ALERTS: Final = "/v1/alerts"
TOKEN: Final = "demo-alert-token"  # noqa: S105 - of a gateway that lives for seconds
CALLS_OF_MIRAKL: Final = 3
"""CM21 calls that all this makes: each good request one."""
ANSWER_SECONDS: Final = 20.0
_NOT_YET: Final = frozenset({HTTPStatus.ACCEPTED, HTTPStatus.NOT_FOUND})
"""An alert's request is known once its result is there."""
RULES: Final = f"""\
rules:
  - name: stuck-products
    match: {{alertname: ProductStuck}}
    products: {{annotation: mirakl_products}}
    client_specification: {EAST.id}
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """One call, and the response that is the right one."""

    title: str
    expected: HTTPStatus
    path: str
    body: Mapping[str, Any]
    headers: Mapping[str, str] = field(repr=False)


def ask_over_http(stage: Stage, screen: Screen) -> Iterator[tuple[str, str]]:
    """Start a gateway, make the calls, show the responses; give title and complaint of each that was not right."""
    screen.say("\nThe same over HTTP: `mirakl-resync gateway`, called as its callers and Alertmanager would.")
    with _gateway(stage) as url, httpx.Client(base_url=url, timeout=ANSWER_SECONDS, trust_env=False) as caller:
        for asked in _calls(stage):
            response = caller.post(asked.path, json=asked.body, headers=asked.headers)
            _show(screen, f"POST {asked.path}", asked.title, response)
            if response.status_code != asked.expected:
                yield asked.title, f"HTTP status {response.status_code} instead of {asked.expected.value}"
            for place in _locations(response):
                yield from _follow(caller, screen, asked.title, place)


def _locations(response: httpx.Response) -> Iterator[str]:
    """Addresses at which the results of accepted requests will be."""
    if response.status_code != HTTPStatus.ACCEPTED:
        return
    if "location" in response.headers:
        yield response.headers["location"]
    for request in response.json().get("requests", []):
        yield location(request["requestId"])


def _calls(stage: Stage) -> Iterator[Asked]:
    operator = {CLIENT_HEADER: OPERATOR.decode(), API_KEY_HEADER: stage.api_keys[GLOBEX]}
    yield Asked("published call", HTTPStatus.OK, PATH, _body("CALL", EAST.id), operator)
    yield Asked("wrong call", HTTPStatus.BAD_REQUEST, PATH, _body("WRONG", None), operator)
    later = {**operator, "prefer": "respond-async"}
    yield Asked("asynchronous", HTTPStatus.ACCEPTED, PATH, _body("ASYNC", EAST.id), later)
    token = {"authorization": f"Bearer {TOKEN}"}
    yield Asked("alert", HTTPStatus.ACCEPTED, ALERTS, _notification(), token)


def _body(name: str, specification_id: str | None) -> Mapping[str, Any]:
    products = [{"miraklProductId": f"MKL-HTTP-{name}", "productSku": f"SKU-HTTP-{name}"}]
    return {"clientSpecificationId": specification_id, "products": products}


def _notification() -> Mapping[str, Any]:
    """Body of a notification as Alertmanager's webhook sends it."""
    alert = {
        "status": "firing",
        "labels": {"alertname": "ProductStuck"},
        "annotations": {"mirakl_products": "MKL-HTTP-ALERT:SKU-HTTP-ALERT", "summary": "A product is stuck"},
        "startsAt": datetime.now(UTC).isoformat(),
        "endsAt": "0001-01-01T00:00:00Z",
        "fingerprint": "c0ffee0000000001",
    }
    return {"version": "4", "status": "firing", "receiver": "mirakl-resync", "truncatedAlerts": 0, "alerts": [alert]}


def _follow(caller: httpx.Client, screen: Screen, title: str, location: str) -> Iterator[tuple[str, str]]:
    """Ask at the location of a pending response until there is a result, and yield each answer."""
    give_up_at = time.monotonic() + ANSWER_SECONDS
    while True:
        response = caller.get(location)
        if response.status_code not in _NOT_YET or time.monotonic() > give_up_at:
            break
        time.sleep(0.05)
    _show(screen, "GET its result", title, response)
    if response.status_code != HTTPStatus.OK or response.json()["status"] != "SYNCHRONIZED":
        yield title, f"HTTP status {response.status_code} for its result, which is not a good one"


def _show(screen: Screen, call: str, title: str, response: httpx.Response) -> None:
    screen.say(f"  {title}: {call}")
    screen.say(
        f"    {response.status_code} {json.dumps(response.json())}", "green" if response.is_success else "yellow"
    )


@contextmanager
def _gateway(stage: Stage) -> Iterator[str]:
    rules = stage.folder / "alert-rules.yaml"
    rules.write_text(RULES, encoding="utf-8")
    port, admin_port = _free_port(), _free_port()
    settings = {
        BROKERS: stage.settings.kafka.bootstrap_servers,
        "RESYNC_API_KEY": stage.api_keys[GLOBEX],  # of the requests that alerts become
        "RESYNC_GATEWAY__PORT": str(port),
        "RESYNC_GATEWAY__ALERT_RULES_FILE": str(rules),
        "RESYNC_GATEWAY__ALERT_TOKENS": TOKEN,
        "RESYNC_ADMIN__HOST": "127.0.0.1",
        "RESYNC_ADMIN__PORT": str(admin_port),
        "RESYNC_LOG__FORMAT": "console",
    }
    gateway = Service(settings, stage.folder, program=("producer_tools", "gateway"), log="gateway.log")
    gateway.start()
    try:
        _await_ready(gateway, admin_port)
        yield f"http://127.0.0.1:{port}"
        code = gateway.stop()
        if code:
            raise ResyncToolError(f"Told to stop, the gateway ended with {code}. {gateway.last_words()}")
    finally:
        gateway.kill()


def _await_ready(gateway: Service, admin_port: int) -> None:
    give_up_at = time.monotonic() + READY_SECONDS
    while time.monotonic() < give_up_at:
        gateway.check()
        try:
            if httpx.get(f"http://127.0.0.1:{admin_port}/readyz", trust_env=False).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise ResyncToolError(f"The gateway is not ready within {READY_SECONDS:g} s. {gateway.last_words()}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
