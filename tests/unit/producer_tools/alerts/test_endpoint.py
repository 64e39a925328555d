"""Notifications over HTTP: 202 once everything is acknowledged, 503 while anything is not, 4xx for what never works."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.routing import Route

from producer_tools.alerts.asked import AskedRequests
from producer_tools.alerts.endpoint import PATH, AlertEndpoint
from producer_tools.alerts.intake import AlertIntake
from producer_tools.errors import NotAcknowledgedError
from producer_tools.gateway.app import create_app
from producer_tools.gateway.bodies import Bodies
from producer_tools.gateway.problems import Problem
from producer_tools.sender import Acknowledgement
from schemas.contract import GatewayCode
from tests.unit.producer_tools.alerts.builders import NOW, alert_json, notification_json, rules
from tests.unit.producer_tools.gateway.world import World

TOKENS = ("token-of-alertmanager", "token-of-its-twin")


class AlertWorld(World):
    """A gateway without Kafka that takes alerts in."""

    def __init__(self, max_requests_per_hour: int = 60) -> None:
        super().__init__()
        self.in_force = rules(max_requests_per_hour=max_requests_per_hour)
        self.intake = AlertIntake(
            self.writer, lambda: self.in_force, AskedRequests(), max_products=10_000, clock=lambda: NOW
        )
        bodies = Bodies(self.policy, self.settings.max_body_bytes)
        endpoint = AlertEndpoint(TOKENS, bodies, self.intake, lambda: self.problem)
        route = Route(PATH, endpoint.notify, methods=["POST"])
        self.app = create_app(self.calls, self.policy, self.answered.append, [route])
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app, raise_app_exceptions=False), base_url="http://gateway"
        )

    async def notify(
        self, body: object, token: str = f"Bearer {TOKENS[0]}", headers: dict[str, str] | None = None
    ) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {"authorization": token, "content-type": "application/json", **(headers or {})}
        return await self.http.post(PATH, headers=given, content=content)


def run(story: Callable[[], Awaitable[None]]) -> None:
    """Run a coroutine on a loop of its own."""
    asyncio.run(story())  # type: ignore[arg-type]  # async functions return coroutines


def test_an_acknowledged_alert_is_202_and_its_record_is_that_of_an_operator() -> None:
    async def story() -> None:
        world = AlertWorld()
        trace = "00-" + "1" * 32 + "-" + "2" * 16 + "-01"
        response = await world.notify(notification_json(alert_json()), headers={"traceparent": trace})

        assert 202 == response.status_code
        assert [world.request()["requestId"]] == [each["requestId"] for each in response.json()["requests"]]
        assert ("alert:stuck-products", "ProductStuck") == (world.request()["requestedBy"], world.request()["reason"])
        assert {"dj-client": b"OPERATOR", "dj-api-key": b"key", "traceparent": trace.encode()} == dict(
            world.sender.records[0].headers
        )
        assert world.sender.records[0].key is None

    run(story)


def test_a_repetition_is_202_and_writes_nothing() -> None:
    async def story() -> None:
        world = AlertWorld()
        first, second = [await world.notify(notification_json(alert_json())) for _ in range(2)]

        assert first.json()["requests"] == second.json()["repeated"]
        assert ([], 1) == (second.json()["requests"], len(world.sender.records))

    run(story)


@pytest.mark.parametrize(
    "token", ["", "Bearer", "Bearer ", "Bearer wrong", "Basic token-of-alertmanager", "Bearer token-of-alertmanagers"]
)
def test_without_a_valid_token_nothing_is_read(token: str) -> None:
    async def story() -> None:
        world = AlertWorld()
        response = await world.notify(b"{", token)

        assert (401, "Bearer", "TOKEN_INVALID") == (
            response.status_code,
            response.headers["www-authenticate"],
            response.json()["code"],
        )
        assert "token-of-alertmanager" not in response.text

    run(story)


@pytest.mark.parametrize("token", [f"Bearer {TOKENS[1]}", f"bearer  {TOKENS[0]}"])
def test_any_of_the_tokens_is_valid(token: str) -> None:
    async def story() -> None:
        assert 202 == (await AlertWorld().notify(notification_json(), token)).status_code

    run(story)


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"x" * (5 << 20), {}, 413, "REQUEST_TOO_LARGE"),
        (notification_json(alerts=[{}] * 10_001), {}, 413, "REQUEST_TOO_LARGE"),
        (notification_json(), {"content-type": "text/plain"}, 415, "UNSUPPORTED_MEDIA_TYPE"),
        (b"{", {}, 400, "VALIDATION_FAILED"),
        (b"\xff", {}, 400, "VALIDATION_FAILED"),
        (b'{"version": "4", "version": "4"}', {}, 400, "VALIDATION_FAILED"),
        (b"[" * 1000, {}, 400, "VALIDATION_FAILED"),
        ({"version": "3"}, {}, 400, "NOT_A_NOTIFICATION"),
        (notification_json(alerts="none"), {}, 400, "NOT_A_NOTIFICATION"),
    ],
)
def test_what_could_never_be_accepted_is_4xx(body: object, headers: dict[str, str], status: int, code: str) -> None:
    async def story() -> None:
        world = AlertWorld()
        response = await world.notify(body, headers=headers)

        assert (status, code) == (response.status_code, response.json()["code"])
        assert "application/problem+json" == response.headers["content-type"]
        assert [] == world.sender.records

    run(story)


def test_while_the_gateway_cannot_write_an_alert_is_503_at_once() -> None:
    async def story() -> None:
        world = AlertWorld()
        world.problem = Problem.of_gateway(GatewayCode.KAFKA_UNAVAILABLE)
        response = await world.notify(notification_json(alert_json()))

        assert (503, "KAFKA_UNAVAILABLE") == (response.status_code, response.json()["code"])
        assert response.headers["retry-after"]

    run(story)


def test_what_is_not_acknowledged_is_503_until_the_repetition_is() -> None:
    async def story() -> None:
        world = AlertWorld()
        world.sender.acknowledges = False
        alerts = notification_json(alert_json(fingerprint="a"), alert_json(fingerprint="b"))
        notifying = asyncio.create_task(world.notify(alerts))
        await world.written(2)
        world.sender.futures[0].set_result(Acknowledgement("requests", 0, 1))
        world.sender.futures[1].set_exception(NotAcknowledgedError("away"))
        response = await notifying

        assert (503, "NOT_ACKNOWLEDGED", True) == (
            response.status_code,
            response.json()["code"],
            response.json()["retryable"],
        )
        assert "not acknowledged 1 of 2 requests" in response.json()["detail"]

        world.sender.acknowledges = True
        repeated = await world.notify(alerts)
        assert (202, ["b"], ["a"]) == (
            repeated.status_code,
            [each["fingerprint"] for each in repeated.json()["requests"]],
            [each["fingerprint"] for each in repeated.json()["repeated"]],
        )

    run(story)


def test_what_a_limit_leaves_out_is_202_with_its_reason() -> None:
    async def story() -> None:
        world = AlertWorld(max_requests_per_hour=1)
        response = await world.notify(notification_json(*(alert_json(fingerprint=each) for each in "abc")))

        assert 202 == response.status_code
        assert ["TOO_MANY_REQUESTS"] * 2 == [each["reason"] for each in response.json()["skipped"]]

    run(story)


def test_alerts_that_the_sender_left_out_are_in_the_answer() -> None:
    async def story() -> None:
        response = await AlertWorld().notify(notification_json(alert_json(), truncatedAlerts=17))
        assert 17 == response.json()["truncatedAlerts"]

    run(story)


def test_ten_thousand_alerts_are_answered_one_by_one() -> None:
    async def story() -> None:
        alerts = [
            {
                "status": "firing",
                "labels": {"alertname": "ProductStuck"},
                "startsAt": "2026-01-31T08:00:00Z",
                "annotations": {"mirakl_products": f"M{number}:S"},
                "fingerprint": str(number),
            }
            for number in range(10_000)
        ]
        world = AlertWorld()
        response = await world.notify(notification_json(alerts=alerts))
        assert (202, 60, 9_940) == (
            response.status_code,
            len(response.json()["requests"]),
            len(response.json()["skipped"]),
        )

    run(story)


@settings(deadline=None, max_examples=50)
@given(
    st.dictionaries(
        st.sampled_from(["version", "alerts", "truncatedAlerts", "status", "x"]),
        st.sampled_from(["4", "1", None, 1, -1, 1.5, True, [], {}, [None], [{}], [[]]]) | st.text(max_size=5),
    )
)
def test_whatever_json_comes_is_accepted_or_refused_for_good(body: dict[str, Any]) -> None:
    async def story() -> None:
        world = AlertWorld()
        assert (await world.notify(body)).status_code in (202, 400)
        assert [] == world.sender.records

    run(story)


def test_the_path_does_not_exist_without_alerts() -> None:
    async def story() -> None:
        world = World()
        assert 404 == (await world.http.post(PATH, json={})).status_code
        assert 405 == (await AlertWorld().http.get(PATH)).status_code

    run(story)
