"""What arrives at the published path, other than a good body: each gets an answer that names what is wrong."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from producer_tools.gateway.policy import GatewayPolicy
from producer_tools.gateway.problems import ProblemError
from producer_tools.gateway.synchronization import Synchronization, synchronization
from tests.unit.producer_tools.gateway.world import BODY, World

PRODUCT = BODY["products"][0]


async def answer(body: object, headers: Mapping[str, str] | None = None) -> tuple[int, str, Mapping[str, Any]]:
    """Return status, code and document of the response to a call that must not be written."""
    world = World()
    response = await world.call(body, headers)
    assert [] == world.sender.records
    assert "application/problem+json" == response.headers["content-type"]
    return response.status_code, response.json()["code"], response.json()


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        ([], "", "the body must be a JSON object"),
        ({}, "products", "is missing"),
        ({"products": None}, "products", "must be an array"),
        ({"products": {}}, "products", "must be an array"),
        ({"products": ["a"]}, "products[0]", "must be an object"),
        ({"products": [PRODUCT, {}]}, "products[1].miraklProductId", "is missing"),
        ({"products": [{**PRODUCT, "productSku": 7}]}, "products[0].productSku", "must be a string"),
        ({"products": [{**PRODUCT, "productSku": None}]}, "products[0].productSku", "must be a string"),
        ({**BODY, "clientSpecificationId": 7}, "clientSpecificationId", "must be a string or null"),
        ({**BODY, "reason": ["x"]}, "reason", "must be a string or null"),
        (b'{"products": [{"miraklProductId": "\\ud800", "productSku": "S"}]}', "products[0].miraklProductId", "is not"),
        (b'{"products": [', "", "the body cannot be read: it is not JSON at line 1"),
    ],
)
def test_a_call_that_is_no_request_is_told_the_field(body: object, field: str, message: str) -> None:
    status, code, document = asyncio.run(answer(body))

    assert (400, "VALIDATION_FAILED") == (status, code)
    assert field == document["fieldErrors"][0]["field"]
    assert document["fieldErrors"][0]["message"].startswith(message)


def test_the_first_hundred_mistakes_are_listed_and_all_are_counted() -> None:
    _, _, document = asyncio.run(answer({"products": [{}] * 75}))

    assert 100 == len(document["fieldErrors"])
    assert "150 mistakes" in document["detail"]


@given(
    st.recursive(
        st.none() | st.booleans() | st.text(max_size=3) | st.just(0),
        lambda children: (
            st.lists(children, max_size=3)
            | st.dictionaries(
                st.sampled_from(["products", "miraklProductId", "productSku", "reason", "clientSpecificationId", "x"]),
                children,
                max_size=5,
            )
        ),
        max_leaves=12,
    )
)
def test_what_is_refused_has_a_row_and_nothing_else_is_refused(value: object) -> None:
    """The rows are made by hand: they must say no exactly where the model does."""
    try:
        Synchronization.model_validate(value, by_name=False)
    except ValidationError:
        with pytest.raises(ProblemError) as caught:
            synchronization(value)
        assert caught.value.problem.field_errors
    else:
        assert synchronization(value).products is not None


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": ""},
        {"content-type": "application/json; charset=latin-1"},
        {"content-encoding": "gzip"},
    ],
)
def test_what_is_not_json_by_its_headers_is_415(headers: Mapping[str, str]) -> None:
    assert (415, "UNSUPPORTED_MEDIA_TYPE") == asyncio.run(answer(BODY, headers))[:2]


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", 'Application/JSON;charset="UTF-8"'])
def test_json_may_name_its_encoding(content_type: str) -> None:
    async def story() -> int:
        return (await World().answered_call(headers={"content-type": content_type})).status_code

    assert 200 == asyncio.run(story())


def test_a_body_that_is_too_large_is_413_whether_or_not_it_says_so() -> None:
    async def story() -> None:
        world = World(max_body_bytes=1_024)
        large = json.dumps({"products": [{"miraklProductId": "x" * 2_000, "productSku": "s"}]}).encode()

        async def chunks() -> AsyncIterator[bytes]:
            for begin in range(0, len(large), 100):
                yield large[begin : begin + 100]

        declared = await world.call(large)
        headers = {"dj-api-key": "k", "content-type": "application/json"}
        chunked = await world.http.post("/v1/mapper/mirakl/product-synchronizations", content=chunks(), headers=headers)

        for response in (declared, chunked):
            assert (413, "REQUEST_TOO_LARGE") == (response.status_code, response.json()["code"])
        assert 0 == world.calls._bodies.buffered_bytes

    asyncio.run(story())


def test_a_request_larger_than_the_service_reads_is_413() -> None:
    """A small body can become a large request only if ids are long; the limit is that of the record."""
    products = [{"miraklProductId": f"{number:0>250}", "productSku": "s" * 250} for number in range(2_100)]

    assert (413, "REQUEST_TOO_LARGE") == asyncio.run(answer({"products": products}))[:2]


def test_a_body_that_does_not_arrive_is_408() -> None:
    async def story() -> None:
        world = World(GatewayPolicy(arrival_seconds=0.05))

        async def slowly() -> AsyncIterator[bytes]:
            yield b"{"
            await asyncio.sleep(1)

        headers = {"dj-api-key": "k", "content-type": "application/json"}
        response = await world.http.post(
            "/v1/mapper/mirakl/product-synchronizations", content=slowly(), headers=headers
        )

        assert (408, "REQUEST_TIMEOUT") == (response.status_code, response.json()["code"])

    asyncio.run(story())


def test_bodies_that_arrive_at_once_are_bounded_together() -> None:
    async def story() -> None:
        world = World(GatewayPolicy(buffered_body_bytes=1_000))
        response = await world.call({**BODY, "reason": "x" * 2_000})

        assert (503, "GATEWAY_BUSY") == (response.status_code, response.json()["code"])
        assert [] == world.sender.records

    asyncio.run(story())


@pytest.mark.cost
def test_others_are_answered_while_a_large_body_is_parsed() -> None:
    async def story() -> None:
        world = World()
        products = [{"miraklProductId": f"M{number}", "productSku": "S"} for number in range(10_000)]
        calling = asyncio.create_task(world.answered_call(body={"products": products}))
        latest, before = 0.0, time.monotonic()
        while not calling.done():
            await asyncio.sleep(0.001)
            latest, before = max(latest, time.monotonic() - before), time.monotonic()

        assert 200 == (await calling).status_code
        assert latest < 2  # generous: other programs share this machine

    asyncio.run(story())
