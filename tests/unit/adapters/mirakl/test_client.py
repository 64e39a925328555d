"""The CM21 call with the network faked at httpx's transport."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import replace
from ssl import SSLError
from typing import TypeAlias

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.adapters.mirakl.client import Cm21, entries_json
from consumer.domain.calls import CallFailure, CallOutcome, Receipt, Refusal
from consumer.domain.model import AuthScheme, ClientSpecification, Products
from tests.support.builders import client_specification

SPECIFICATION = client_specification(base_url="https://acme.example/api/", credential="s3cret")
PRODUCTS = {"MKL-1": "SKU-1", "MKL-2": "SKU-2"}
TAKEN_IN = httpx.Response(200, json={"tracking_id": "t-1"})

Peer: TypeAlias = (
    Callable[[httpx.Request], httpx.Response] | Callable[[httpx.Request], Coroutine[None, None, httpx.Response]]
)


def call(
    peer: Peer,
    specification: ClientSpecification = SPECIFICATION,
    products: Products = PRODUCTS,
    call_timeout: float = 60,
) -> CallOutcome:
    async def once() -> CallOutcome:
        cm21 = Cm21(call_timeout, transport=httpx.MockTransport(peer), wall_clock=lambda: 0.0)
        try:
            return await cm21.synchronize(specification, products)
        finally:
            await cm21.aclose()

    return asyncio.run(once())


def answering(response: httpx.Response) -> Peer:
    return lambda _: response


def request_of(specification: ClientSpecification = SPECIFICATION, products: Products = PRODUCTS) -> httpx.Request:
    sent: list[httpx.Request] = []

    def peer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return TAKEN_IN

    assert Receipt("t-1") == call(peer, specification, products)
    return sent[0]


def test_the_body_is_an_array_of_entries_with_exactly_two_keys_in_the_order_given() -> None:
    assert [
        {"mirakl_product_id": "MKL-1", "product_sku": "SKU-1"},
        {"mirakl_product_id": "MKL-2", "product_sku": "SKU-2"},
    ] == json.loads(request_of().content)


ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=255).filter(str.strip)


@given(st.dictionaries(ids, ids, min_size=1, max_size=20))
def test_ids_arrive_unaltered_whatever_they_hold(products: dict[str, str]) -> None:
    entries = json.loads(entries_json(products))
    assert list(products.items()) == [(entry["mirakl_product_id"], entry["product_sku"]) for entry in entries]


@pytest.mark.parametrize("products", [{}, {"": "SKU"}, {" ": "SKU"}, {"MKL": ""}, {"MKL": "\t"}, {"A": "a", "\n": "b"}])
def test_a_blank_id_never_leaves(products: dict[str, str]) -> None:
    def peer(_: httpx.Request) -> httpx.Response:
        pytest.fail("this would create a product")

    with pytest.raises(ValueError, match="blank"):
        call(peer, products=products)


@pytest.mark.parametrize(
    "base_url",
    ["https://acme.example", "https://acme.example/", "https://acme.example/api", "https://acme.example/api/"],
)
def test_the_operation_is_found_below_the_base_url_with_or_without_api(base_url: str) -> None:
    request = request_of(replace(SPECIFICATION, base_url=base_url))
    assert ("POST", "https://acme.example/api/mcm/products/synchronization") == (request.method, str(request.url))


@pytest.mark.parametrize(
    ("auth_scheme", "authorization"), [(AuthScheme.BEARER, "Bearer s3cret"), (AuthScheme.API_KEY, "s3cret")]
)
def test_the_credential_travels_as_the_specification_says(auth_scheme: AuthScheme, authorization: str) -> None:
    assert authorization == request_of(replace(SPECIFICATION, auth_scheme=auth_scheme)).headers["authorization"]


def test_the_headers_say_json_and_ask_for_no_compression() -> None:
    headers = request_of().headers
    assert ("application/json", "identity") == (headers["content-type"], headers["accept-encoding"])
    assert "cookie" not in headers


@pytest.mark.parametrize(
    ("error", "written", "reason"),
    [
        (httpx.ConnectError("x"), False, "no connection: the other side closed it"),
        (httpx.ConnectTimeout("x"), False, "no connection within 10 s"),
        (httpx.PoolTimeout("x"), False, "no connection of our own was free within 10 s"),
        (httpx.LocalProtocolError("x"), False, "the credential cannot travel in an HTTP header"),
        (httpx.WriteTimeout("x"), False, "the request could not be written within 30 s"),
        (httpx.WriteError("x"), False, "the connection was lost before the answer was complete"),
        (httpx.ReadError("x"), False, "the connection was lost before the answer was complete"),
        (httpx.ReadError("x"), True, "the connection was lost before the answer was complete"),
        (SSLError("x"), True, "the connection was lost before the answer was complete"),
        (TimeoutError("x"), True, "no answer within 60 s"),
        (httpx.RemoteProtocolError("x"), True, "the answer is not a complete HTTP/1.1 message"),
    ],
)
def test_a_call_may_have_reached_mirakl_exactly_when_its_request_was_written(
    error: Exception, *, written: bool, reason: str
) -> None:
    async def peer(request: httpx.Request) -> httpx.Response:
        if written:
            request.extensions["written"]()
        raise error

    assert CallFailure(reason, may_have_reached=written) == call(peer)


class _BreaksOff(httpx.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b'{"tracking_id"'
        raise httpx.ReadError("lost")


class _NeverEnds(httpx.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b'{"tracking_id"'
        await asyncio.sleep(3600)


@pytest.mark.parametrize("stream", [_BreaksOff(), _NeverEnds()])
def test_an_acceptance_that_breaks_off_may_have_reached_mirakl(stream: httpx.AsyncByteStream) -> None:
    outcome = call(answering(httpx.Response(200, stream=stream)), call_timeout=0.05)
    assert CallFailure("the answer broke off", may_have_reached=True, status=200) == outcome


@pytest.mark.parametrize("stream", [_BreaksOff(), _NeverEnds()])
def test_a_refusal_stands_though_its_text_breaks_off(stream: httpx.AsyncByteStream) -> None:
    assert Refusal(400, "") == call(answering(httpx.Response(400, stream=stream)), call_timeout=0.05)


def test_no_text_of_an_outcome_holds_the_credential() -> None:
    for status in (200, 400, 401, 404, 429, 500, 504):
        headers = {"Retry-After": "s3cret", "Location": "https://elsewhere.example/?key=s3cret"}
        assert "s3cret" not in repr(
            call(answering(httpx.Response(status, headers=headers, text="no such key: s3cret")))
        )
