"""Calls with an ``Idempotency-Key``: one request for all calls with the same key and body."""

import asyncio
from hashlib import sha256

import pytest

from producer_tools.errors import NotAcknowledgedError
from tests.unit.producer_tools.gateway.world import (
    KEY,
    World,
    run,
)


def test_an_idempotency_key_makes_the_request_id() -> None:
    async def story() -> None:
        world = World()
        for written in ("order-7", '"order-7"'):
            response = await world.answered_call(headers={"idempotency-key": written})
            expected = "idem-" + sha256(f"{KEY}\0order-7".encode()).hexdigest()[:32]
            assert (200, expected) == (response.status_code, response.headers["resync-request-id"])
        assert 1 == len(world.sender.records)  # the second was answered with the result of the first

    run(story)


def test_calls_with_one_idempotency_key_share_a_request() -> None:
    async def story() -> None:
        world = World()
        calls = [asyncio.create_task(world.call(headers={"idempotency-key": "k"})) for _ in range(3)]
        await world.written(1)
        await asyncio.sleep(0.02)
        world.give_result(world.request()["requestId"])

        assert [200] * 3 == [response.status_code for response in await asyncio.gather(*calls)]
        assert 1 == len(world.sender.records)

    run(story)


def test_a_request_that_nobody_waits_for_any_more_is_joined_too() -> None:
    async def story() -> None:
        world = World()
        late = await world.call(headers={"idempotency-key": "k", "prefer": "wait=0"})
        assert 202 == (await world.http.get(late.headers["location"])).status_code
        joining = asyncio.create_task(world.call(headers={"idempotency-key": "k"}))
        await asyncio.sleep(0.02)
        world.give_result(late.headers["resync-request-id"])

        assert (504, 200, 1) == (late.status_code, (await joining).status_code, len(world.sender.records))

    run(story)


def test_a_request_that_was_not_acknowledged_is_written_again_and_either_result_counts() -> None:
    async def story() -> None:
        world = World()
        world.sender.acknowledges = False
        first = asyncio.create_task(world.call(headers={"idempotency-key": "k"}))
        await world.written(1)
        world.sender.futures[0].set_exception(NotAcknowledgedError("no word from Kafka"))
        await asyncio.sleep(0.01)
        second = asyncio.create_task(world.call(headers={"idempotency-key": "k"}))
        await world.written(2)
        world.give_result(world.request()["requestId"])

        assert [200, 200] == [(await first).status_code, (await second).status_code]

    run(story)


def test_an_idempotency_key_with_another_body_is_refused() -> None:
    async def story() -> None:
        world = World()
        await world.answered_call(headers={"idempotency-key": "k"})
        other = {"products": [{"miraklProductId": "MKL-002", "productSku": "SKU-42"}]}
        response = await world.call(other, headers={"idempotency-key": "k"})
        of_another_key = await world.answered_call(body=other, headers={"idempotency-key": "k", "dj-api-key": "b"})

        assert (422, "IDEMPOTENCY_KEY_REUSED") == (response.status_code, response.json()["code"])
        assert 200 == of_another_key.status_code

    run(story)


def test_the_result_of_an_operators_call_is_not_repeated_to_whoever_is_none() -> None:
    async def story() -> None:
        world = World()
        await world.answered_call(headers={"idempotency-key": "k"})
        first = world.request()["requestId"]
        await world.answered_call(headers={"idempotency-key": "k", "dj-client": "SUPPLIER"})

        assert first.startswith("idem-")
        assert world.request()["requestId"] != first

    run(story)


@pytest.mark.parametrize("key", ["", "two words", "x" * 256, "caf\u00e9"])
def test_an_idempotency_key_is_visible_ascii(key: str) -> None:
    async def story() -> None:
        world = World()
        response = await world.call(headers={"idempotency-key": key.encode()})  # type: ignore[dict-item]  # bytes do

        assert (400, "Idempotency-Key") == (response.status_code, response.json()["fieldErrors"][0]["field"])

    run(story)
