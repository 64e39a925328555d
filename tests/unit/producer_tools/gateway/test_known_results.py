"""Results that are asked for by request id."""

from urllib.parse import quote

import pytest

from producer_tools.gateway.calls import PATH
from producer_tools.gateway.policy import GatewayPolicy
from producer_tools.gateway.request_ids import new_request_id
from tests.unit.producer_tools.gateway.world import OK_RESULT, World, result_record, run


def test_a_result_is_shown_as_in_avro_with_times_as_text() -> None:
    async def story() -> None:
        world = World()
        request_id = new_request_id()
        world.give_result(request_id)
        response = await world.http.get(f"{PATH}/{request_id}")

        assert {
            **OK_RESULT,
            "requestId": request_id,
            "requestedAt": "2023-11-14T22:13:20Z",
            "completedAt": "2023-11-14T22:13:20.250000Z",
        } == response.json()

    run(story)


@pytest.mark.parametrize(
    "request_id",
    ["nothing", "x" * 300, "idem-" + "0" * 32, "0190a0a0-0000-7000-8000-000000000000", "\u00f4\U0007b5f8", "a\r\nb: c"],
)
def test_an_unknown_request_is_not_found(request_id: str) -> None:
    async def story() -> None:
        response = await World().http.get(f"{PATH}/{quote(request_id)}")

        assert (404, "NOT_FOUND", request_id) == (
            response.status_code,
            *(response.json()[name] for name in ("code", "requestId")),
        )

    run(story)


def test_another_gateway_says_that_a_young_request_is_pending() -> None:
    async def story() -> None:
        response = await World().http.get(f"{PATH}/{new_request_id()}")

        assert 202 == response.status_code

    run(story)


def test_old_results_make_room_for_new_ones() -> None:
    async def story() -> None:
        by_number = World(GatewayPolicy(known_results=2))
        by_size = World(GatewayPolicy(known_result_bytes=2 * result_record(new_request_id()).size))
        for world in (by_number, by_size):
            ids = [new_request_id() for _ in range(3)]
            for request_id in ids:
                world.give_result(request_id)
            assert [None, ids[1], ids[2]] == [
                record and record.request_id for record in map(world.calls.known.get, ids)
            ]

    run(story)
