"""The way out to Mirakl: through a proxy that works, through those that do not, and with a company's own authority."""

import asyncio
import re
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from consumer.adapters.mirakl.client import Cm21
from consumer.adapters.mirakl.proxy import LIMITS
from consumer.adapters.mirakl.way_out import WayOut
from consumer.domain.calls import CallFailure, CallOutcome, Receipt
from producer_tools.sandbox.mirakl import MiraklSimulator
from schemas.settings import MiraklSettings, load
from tests.contract.test_host_connections import no_file_descriptor_left
from tests.support.certificates import PrivateAuthority
from tests.support.fixtures import cannot_run
from tests.support.mirakl import PRODUCTS, specification
from tests.support.parts import PartMissing, free_port
from tests.support.proxies import RecordingProxy, TinyProxy

CREDENTIAL = "mirakl-s3cret"
LOGIN = ("resync", "p@ss/word")
USER_INFO = "resync:p%40ss%2Fword"


class Company:
    """A private authority, and a Mirakl behind it that is called through a proxy."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = PrivateAuthority()
        self.ca_file = folder / "ca.pem"
        self.ca_file.write_bytes(self.authority.certificate)
        self.mirakl = MiraklSimulator(seed=1)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Serve Mirakl in TLS; provides its base URL."""
        async with self.mirakl.serving(ssl_context=self.authority.server_side("127.0.0.1", self.folder)):
            yield self.mirakl.base_url

    def settings(self, **environ: str) -> MiraklSettings:
        return load({"RESYNC_MIRAKL__CA_FILE": str(self.ca_file), **environ}, uses=["mirakl"]).mirakl

    def through(self, port: int, user_info: str = "", scheme: str = "http") -> MiraklSettings:
        at = f"{user_info}@" if user_info else ""
        return self.settings(RESYNC_MIRAKL__PROXY_URL=f"{scheme}://{at}127.0.0.1:{port}")


@pytest.fixture
def company(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Company:
    for variable in ("https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    return Company(tmp_path)


async def called(settings: MiraklSettings, base_url: str, calls: int = 1, call_timeout: float = 10.0) -> CallOutcome:
    """Make calls one after the other, and return the outcome of the last."""
    cm21 = Cm21(call_timeout, way_out=WayOut.of(settings))
    try:
        for _ in range(calls - 1):
            await cm21.synchronize(specification(base_url, credential=CREDENTIAL), PRODUCTS)
        return await cm21.synchronize(specification(base_url, credential=CREDENTIAL), PRODUCTS)
    finally:
        await cm21.aclose()


def failed(story: Coroutine[Any, Any, CallOutcome]) -> CallFailure:
    """Return the failure of a call that did not reach Mirakl and may be made again."""
    outcome = asyncio.run(story)
    assert isinstance(outcome, CallFailure), outcome
    assert not outcome.may_have_reached
    assert (None, None) == (outcome.status, outcome.retry_after), "these would speak for Mirakl"
    for secret in (CREDENTIAL, LOGIN[1], USER_INFO):
        assert secret not in repr(outcome)
    return outcome


# A real proxy


def tinyproxy(*, login: tuple[str, str] | None = None, forbidden: tuple[str, ...] = ()) -> TinyProxy:
    try:
        return TinyProxy(login, forbidden)
    except PartMissing as missing:
        cannot_run(missing)


@pytest.mark.parametrize("login", [None, ("resync", "passw0rd")])
def test_calls_go_through_a_real_proxy_with_and_without_credentials(
    company: Company, login: tuple[str, str] | None
) -> None:
    with tinyproxy(login=login) as proxy:
        settings = company.through(proxy.port, ":".join(login) if login else "")

        async def story() -> CallOutcome:
            async with company.serving() as base_url:
                return await called(settings, base_url, calls=3)

        assert isinstance(asyncio.run(story()), Receipt)
        assert proxy.log.count("CONNECT 127.0.0.1:") == 1, "the connection is kept"
    assert not company.mirakl.violations


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        ("", "the proxy answered 407: it wants a user and password"),
        ("resync:wrong", "it refuses our user and password"),
    ],
)
def test_a_real_proxy_that_wants_other_credentials_says_so(company: Company, sent: str, reason: str) -> None:
    with tinyproxy(login=("resync", "passw0rd")) as proxy:
        assert reason in failed(called(company.through(proxy.port, sent), "https://127.0.0.1:9")).reason


def test_a_real_proxy_that_cannot_reach_mirakl_or_does_not_allow_it_says_so(company: Company) -> None:
    with tinyproxy(forbidden=("forbidden",)) as proxy:
        settings = company.through(proxy.port)
        for host, reason in (
            (f"127.0.0.1:{free_port()}", "it cannot reach Mirakl"),
            ("forbidden.example", "it does not allow this host or port"),
        ):
            assert reason in failed(called(settings, f"https://{host}")).reason


# Proxies of all kinds


def test_a_proxy_sees_host_and_port_and_its_own_credentials_and_no_byte_of_a_call(company: Company) -> None:
    proxy = RecordingProxy()

    async def story() -> CallOutcome:
        async with company.serving() as base_url, proxy.serving():
            port = int(base_url.rpartition(":")[2])
            proxy.target = ("127.0.0.1", port)
            return await called(company.through(proxy.port, USER_INFO), base_url, calls=2)

    assert isinstance(asyncio.run(story()), Receipt)
    (seen,) = proxy.received
    (head,) = proxy.requests
    first, *fields = head.decode().split("\r\n")
    assert re.fullmatch(r"CONNECT 127\.0\.0\.1:\d+ HTTP/1\.1", first)
    named = dict(field.split(": ", 1) for field in fields)
    assert {"Host", "User-Agent", "Proxy-Authorization"} == named.keys()
    assert f"Basic {b64encode(':'.join(LOGIN).encode()).decode()}" == named["Proxy-Authorization"]
    assert CREDENTIAL.encode() not in seen
    assert b"MKL-1" not in seen


def test_a_proxy_may_be_spoken_to_in_tls(company: Company) -> None:
    proxy = RecordingProxy()

    async def story() -> CallOutcome:
        tls = company.authority.server_side("127.0.0.1", company.folder)
        async with company.serving() as base_url, proxy.serving(tls):
            proxy.target = ("127.0.0.1", int(base_url.rpartition(":")[2]))
            return await called(company.through(proxy.port, USER_INFO, "https"), base_url, calls=2)

    assert isinstance(asyncio.run(story()), Receipt)
    assert 1 == len(proxy.received)


PAGE = b"HTTP/1.1 %s\r\nContent-Type: text/html\r\nContent-Length: 20\r\n\r\n<html>Log in!</html>"


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        (PAGE % b"407 Proxy Authentication Required", "the proxy answered 407: it refuses our user and password"),
        (PAGE % b"403 Forbidden", "the proxy answered 403: it does not allow this host or port"),
        (PAGE % b"502 Bad Gateway", "the proxy answered 502: it cannot reach Mirakl"),
        (PAGE % b"405 Method Not Allowed", "the proxy answered 405: it opens no tunnel"),
        (PAGE % b"302 Found", "the proxy answered 302: it opens no tunnel"),
        (PAGE % b"429 Too Many Requests", "the proxy answered 429: it opens no tunnel"),
        (PAGE % b"200 OK", "the proxy answered with a page instead of a tunnel"),
        (b"<html>Log in!</html>", "the proxy's answer is not HTTP/1.1"),
        (b"\x15\x03\x01\x00\x02\x02\x16", "the proxy's answer is not HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 10_000, "the proxy's answer is not HTTP/1.1"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, "the proxy's answer is not HTTP/1.1"),
        (b"", "the proxy closed the connection instead of answering"),
        (b"HTTP/1.1 200", "the proxy closed the connection instead of answering"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "no connection through the proxy: the other side closed it"),
    ],
)
def test_a_proxy_that_opens_no_tunnel_gets_its_sentence_and_the_call_is_made_again_later(
    company: Company, says: bytes, reason: str
) -> None:
    proxy = RecordingProxy(says)

    async def story() -> CallOutcome:
        async with proxy.serving():
            return await called(company.through(proxy.port, USER_INFO), "https://mirakl.example")

    assert reason == failed(story()).reason
    assert all(CREDENTIAL.encode() not in each for each in proxy.received)
    assert LIMITS.received_bytes <= 16 * 1024


def test_a_proxy_that_hangs_costs_a_call_its_time_for_a_connection(company: Company) -> None:
    proxy = RecordingProxy(hangs=True)

    async def story() -> CallOutcome:
        async with proxy.serving():
            return await called(company.through(proxy.port), "https://mirakl.example", call_timeout=1.0)

    assert "the proxy did not answer within 0.25 s" == failed(story()).reason


def test_a_proxy_that_is_down_or_has_no_address_is_named_in_each_call(company: Company) -> None:
    down = company.through(free_port())
    assert "no connection to the proxy: connection refused" == failed(called(down, "https://mirakl.example")).reason
    nowhere = company.settings(RESYNC_MIRAKL__PROXY_URL="http://proxy.invalid:3128")
    expected = "no connection to the proxy: the host name cannot be looked up"
    assert expected == failed(called(nowhere, "https://mirakl.example")).reason


def test_the_want_of_file_descriptors_is_ours_also_on_the_way_to_a_proxy(company: Company) -> None:
    settings = company.through(free_port())

    async def story() -> CallOutcome:
        cm21 = Cm21(10.0, way_out=WayOut.of(settings))
        with no_file_descriptor_left():
            return await cm21.synchronize(specification("https://mirakl.example"), PRODUCTS)

    assert "no file descriptor left" in str(failed(story()).ours)


# Which addresses go through it


@pytest.mark.parametrize(
    ("environ", "address", "proxied"),
    [
        ({}, "https://acme.mirakl.net", False),
        ({"HTTPS_PROXY": "http://proxy:3128"}, "https://acme.mirakl.net", True),
        ({"https_proxy": "proxy:3128"}, "https://acme.mirakl.net", True),
        ({"HTTPS_PROXY": "http://proxy:3128", "https_proxy": ""}, "https://acme.mirakl.net", False),
        ({"HTTP_PROXY": "http://proxy:3128", "ALL_PROXY": "http://proxy:1"}, "https://acme.mirakl.net", False),
        ({"HTTPS_PROXY": "http://proxy:3128"}, "http://127.0.0.1:8090", False),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "mirakl.net"}, "https://acme.mirakl.net", False),
        ({"HTTPS_PROXY": "http://proxy:3128", "no_proxy": "a, .Mirakl.Net "}, "https://acme.mirakl.net:8443", False),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "*"}, "https://acme.mirakl.net", False),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "rakl.net"}, "https://acme.mirakl.net", True),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "127.0.0.1"}, "https://127.0.0.1:8443", False),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "a:8443"}, "https://a:8443", False),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "a:8443"}, "https://a", True),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "acme.mirakl.net"}, "https://acme.mirakl.net.", False),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "mirakl.net"}, "https://acme.mirakl.net.:8443", False),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "a, mirakl.net. "}, "https://acme.mirakl.net", False),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "::1,a"}, "https://[::1]", False),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "::1"}, "https://[::1]:8443", False),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "[::1]"}, "https://[::1]:8443", False),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "::1"}, "https://[2001:db8::1]", True),
        ({"RESYNC_MIRAKL__PROXY_URL": "http://proxy:3128", "NO_PROXY": "*"}, "https://acme.mirakl.net", True),
        ({"RESYNC_MIRAKL__PROXY_URL": "http://proxy:3128", "HTTPS_PROXY": "http://p:1"}, "https://a.example", True),
        ({"RESYNC_MIRAKL__PROXY_URL": "http://proxy:3128"}, "http://127.0.0.1:8090", False),
    ],
)
def test_the_setting_wins_over_the_environment_which_is_read_as_everybody_reads_it(
    company: Company,
    monkeypatch: pytest.MonkeyPatch,
    environ: dict[str, str],
    address: str,
    proxied: bool,  # noqa: FBT001 - a row of the table
) -> None:
    for variable, value in environ.items():
        monkeypatch.setenv(variable, value)
    proxy = WayOut.of(company.settings(**environ)).proxy_for(httpx.URL(address))
    assert proxied == (proxy is not None)
    if proxy is not None:
        assert "http://proxy:3128" == str(proxy)
        assert proxy.setting in {*environ, *map(str.upper, environ)}


# A company's own authority


def test_a_private_authority_is_trusted_once_it_is_named_and_then_alone(company: Company) -> None:
    async def story() -> tuple[CallOutcome, CallOutcome]:
        async with company.serving() as base_url:
            trusting, not_trusting = company.settings(), MiraklSettings()
            return await called(trusting, base_url), await called(not_trusting, base_url)

    trusting, not_trusting = asyncio.run(story())
    assert isinstance(trusting, Receipt)
    assert isinstance(not_trusting, CallFailure)
    assert "the certificate is not accepted" in not_trusting.reason
    (only,) = WayOut.of(company.settings()).tls.get_ca_certs()
    assert PrivateAuthority.NAME in str(only["subject"])


def test_a_certificate_that_is_not_trusted_is_told_apart_also_behind_a_proxy(company: Company) -> None:
    proxy = RecordingProxy()

    async def story() -> CallOutcome:
        async with company.serving() as base_url, proxy.serving():
            proxy.target = ("127.0.0.1", int(base_url.rpartition(":")[2]))
            untrusting = load({"RESYNC_MIRAKL__PROXY_URL": f"http://127.0.0.1:{proxy.port}"}, uses=["mirakl"]).mirakl
            return await called(untrusting, base_url)

    assert "no connection through the proxy: the certificate is not accepted" in failed(story()).reason


def test_no_repr_of_the_way_out_has_a_credential(company: Company) -> None:
    way_out = WayOut.of(company.through(3128, USER_INFO))
    assert way_out.proxy is not None
    for secret in (*LOGIN, b64encode(":".join(LOGIN).encode()).decode()):
        assert secret not in repr(way_out)
        assert secret not in str(way_out.proxy)
    assert isinstance(way_out.tls, ssl.SSLContext)
