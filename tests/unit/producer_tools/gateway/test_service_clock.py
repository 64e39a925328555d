"""The times in results show when the clocks of gateway and service differ."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta

import pytest

from producer_tools.gateway.service_clock import LOG_EVERY_SECONDS, ServiceClock
from schemas.events import ProductResyncResult, ResyncStatus
from tests.unit.producer_tools.gateway.world import BODY, World, error

NOW = datetime(2026, 1, 31, 8, 0, tzinfo=UTC)


class Scene:
    """A gateway at NOW whose requests take 2 s; ``service`` is what the other clock is ahead, in seconds."""

    def __init__(self) -> None:
        self.elapsed = 0.0
        self.clock = ServiceClock(NOW.timestamp, lambda: self.elapsed, signs=True)

    def see(self, service: float) -> float:
        """Return the known difference after a result that was completed 1 s ago."""
        self.clock.note(
            ProductResyncResult(
                request_id="r1",
                status=ResyncStatus.SYNCHRONIZED,
                synchronized_products=1,
                client_specification_id=None,
                tracking_ids=("t",),
                requested_at=NOW - timedelta(seconds=2),
                completed_at=NOW - timedelta(seconds=1) + timedelta(seconds=service),
            )
        )
        return self.clock.ahead


@pytest.mark.parametrize(("service", "known"), [(0, 0), (0.9, 0), (-0.9, 0), (-400, 399), (400, -399)])
def test_only_what_the_journey_cannot_explain_is_a_difference(service: float, known: float) -> None:
    assert known == pytest.approx(Scene().see(service))


def test_the_newest_result_counts() -> None:
    scene = Scene()
    scene.see(-400)
    assert 0 == scene.see(0)


def test_a_difference_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    with caplog.at_level(logging.WARNING, "producer_tools.gateway.service_clock"):
        for scene.elapsed in (0.0, 1.0, LOG_EVERY_SECONDS):
            scene.see(-400)
        scene.see(5)
    assert 2 == len(caplog.records)
    assert "at least 399 s ahead of that of the service. Synchronize both (NTP)" in caplog.text


@pytest.mark.parametrize(
    ("signs", "ahead", "second"),
    [(True, 400, "API_KEY_INVALID happened."), (True, 0, "has just refused"), (False, 400, "has just refused")],
)
def test_a_key_is_not_blamed_for_the_clock_of_a_gateway_that_signs(signs: bool, ahead: float, second: str) -> None:  # noqa: FBT001 - a parameter
    """For 5 s it would be told to get a new key, instead of which clock is wrong."""

    async def story() -> None:
        world = World(signs=signs)
        completed = round(datetime.now(UTC).timestamp() * 1000)
        invalid = {
            **error("API_KEY_INVALID", 401),
            "requestedAt": completed + round(ahead * 1000),
            "completedAt": completed,
        }
        await world.answered_call(invalid)
        answer = await world.answered_call(invalid, BODY)
        assert 401 == answer.status_code
        assert second in answer.json()["detail"]

    asyncio.run(story())
