"""A base URL is judged by what the HTTP client makes of it."""

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.adapters.mirakl.address import base_url_problem, synchronization_address


@pytest.mark.parametrize("host", ["xn--i-7iq.ws", "xn--a.example", "xn--.example", "shop.xn--\u0661.example"])
def test_a_host_that_the_client_cannot_call_is_refused(host: str) -> None:
    assert base_url_problem(f"https://{host}") is not None


@pytest.mark.parametrize("url", ["https://xn--mller-kva.example", "https://acme.mirakl.net.", "https://[::1]:8443/api"])
def test_what_the_client_can_call_is_taken(url: str) -> None:
    assert base_url_problem(url) is None


@given(
    st.from_regex(r"https://(xn--)?[a-z0-9-]{1,70}(\.(xn--)?[a-z0-9_-]{1,20}){0,3}\.?(:[0-9]{1,6})?", fullmatch=True)
)
def test_what_is_taken_makes_a_request(url: str) -> None:
    if base_url_problem(url) is None:
        httpx.Request("POST", synchronization_address(url))
