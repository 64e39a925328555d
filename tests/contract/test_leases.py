"""The CM21 call on leased connections, against peers that speak bytes, on both event loops that may run it."""

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import pytest
import uvloop

from consumer.adapters.mirakl import connections as leases
from consumer.adapters.mirakl.client import Cm21
from consumer.domain.calls import CallFailure, CallOutcome, Receipt, Refusal
from producer_tools.sandbox.mirakl import Effect, Fault, MiraklSimulator
from tests.support.certificates import self_signed
from tests.support.mirakl import PRODUCTS, calling, specification, with_mirakl
from tests.support.policies import adjust

T = TypeVar("T")


def _run_on_uvloop(story: Coroutine[None, None, T]) -> T:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(story)


@pytest.fixture(autouse=True, params=[asyncio.run, _run_on_uvloop], ids=["asyncio", "uvloop"])
def _event_loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncio, "run", request.param)


ACCEPTED = b'HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n{"tracking_id":"t-1"}'

Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(peer: Peer) -> AsyncIterator[str]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await peer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the caller left, which is its right
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def read_request(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    await reader.readexactly(int(length.partition(b":")[2]))


def outcomes_with(peer: Peer, calls: int = 1, pause: float = 0.0, call_timeout: float = 5.0) -> list[CallOutcome]:
    """Make calls to a peer, one after another."""

    async def story() -> list[CallOutcome]:
        outcomes = []
        async with listening(peer) as base_url, calling(call_timeout) as cm21:
            for _ in range(calls):
                outcomes.append(await cm21.synchronize(specification(base_url), PRODUCTS))
                await asyncio.sleep(pause)
        return outcomes

    return asyncio.run(story())


def test_informational_answers_are_passed_over() -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 3 + ACCEPTED)

    assert [Receipt("t-1")] == outcomes_with(peer)


@pytest.mark.parametrize(
    "answer",
    [
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n15\r\n{"tracking_id":"t-1"}\r\n0\r\n\r\n',
        b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"tracking_id":"t-1"}',
        b'HTTP/1.0 200 OK\r\n\r\n{"tracking_id":"t-1"}',
        b'HTTP/1.1 200 OK\r\nan odd line\r\nContent-Length: 21\r\n\r\n{"tracking_id":"t-1"}',
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"
            b'15\r\n{"tracking_id":"t-1"}\r\n0\r\n\r\n'
        ),
        b'HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n{"tracking_id":"t-1"}',
    ],
)
def test_every_framing_of_an_answer_is_read(answer: bytes) -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(answer)

    assert [Receipt("t-1")] * 2 == outcomes_with(peer, calls=2)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: no\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000,
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n15\r\n{"tracking_id":',
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 10_000,
    ],
)
def test_an_answer_that_is_not_complete_http_may_stand_for_a_call_taken_in(answer: bytes) -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(answer)

    (outcome,) = outcomes_with(peer)
    assert isinstance(outcome, CallFailure)
    assert outcome.may_have_reached


def test_a_connection_that_the_server_closed_while_idle_is_not_used_again() -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(ACCEPTED)
        await asyncio.sleep(0.02)

    assert [Receipt("t-1")] * 3 == outcomes_with(peer, calls=3, pause=0.1)


def test_an_answer_that_nobody_asked_for_is_not_taken_for_that_of_the_next_call() -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(ACCEPTED)
        await asyncio.sleep(0.02)
        writer.write(ACCEPTED.replace(b"t-1", b"bad"))
        await read_request(reader)

    assert [Receipt("t-1")] * 3 == outcomes_with(peer, calls=3, pause=0.1)


def test_two_answers_at_once_are_not_an_answer_to_two_calls() -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(ACCEPTED + ACCEPTED.replace(b"t-1", b"bad"))
        await read_request(reader)

    assert [Receipt("t-1")] * 3 == outcomes_with(peer, calls=3)


def test_a_quiet_origin_holds_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    adjust(monkeypatch, leases, "MIRAKL", idle_seconds=0.05)
    closed = asyncio.Event()

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(ACCEPTED)
        assert await reader.read() == b""
        closed.set()

    async def story() -> None:
        async with listening(peer) as base_url, calling() as cm21:
            assert Receipt("t-1") == await cm21.synchronize(specification(base_url), PRODUCTS)
            await asyncio.wait_for(closed.wait(), 2)

    asyncio.run(story())


def test_a_request_that_was_not_written_to_its_end_did_not_reach_mirakl() -> None:
    async def deaf(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        await asyncio.sleep(5)

    large = {f"{number:0255}": f"{number:0255}" for number in range(20_000)}

    async def story() -> CallOutcome:
        async with listening(deaf) as base_url, calling(0.5) as cm21:
            return await cm21.synchronize(specification(base_url), large)

    outcome = asyncio.run(story())
    assert isinstance(outcome, CallFailure)
    assert not outcome.may_have_reached


def test_a_request_that_was_cut_off_while_being_written_did_not_reach_mirakl() -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()

    large = {f"{number:0255}": f"{number:0255}" for number in range(20_000)}

    async def story() -> CallOutcome:
        async with listening(reset) as base_url, calling(5) as cm21:
            return await cm21.synchronize(specification(base_url), large)

    outcome = asyncio.run(story())
    assert isinstance(outcome, CallFailure)
    assert not outcome.may_have_reached


@pytest.mark.parametrize("written", [True, False])
def test_a_second_call_on_a_connection_may_have_reached_mirakl_only_if_it_was_written(*, written: bool) -> None:
    async def deaf_from_then_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(ACCEPTED)
        await asyncio.sleep(5)

    large = {f"{number:0255}": f"{number:0255}" for number in range(20_000)}

    async def story() -> CallOutcome:
        async with listening(deaf_from_then_on) as base_url, calling(0.5) as cm21:
            assert Receipt("t-1") == await cm21.synchronize(specification(base_url), PRODUCTS)
            return await cm21.synchronize(specification(base_url), PRODUCTS if written else large)

    outcome = asyncio.run(story())
    assert isinstance(outcome, CallFailure)
    assert written == outcome.may_have_reached


def test_a_large_request_to_a_slow_reader_arrives_whole() -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.3)
        await read_request(reader)
        writer.write(ACCEPTED)

    large = {f"{number:0255}": f"{number:0255}" for number in range(20_000)}

    async def story() -> CallOutcome:
        async with listening(slow) as base_url, calling(10) as cm21:
            return await cm21.synchronize(specification(base_url), large)

    assert Receipt("t-1") == asyncio.run(story())


def test_a_refusal_before_the_request_was_read_is_heard() -> None:
    async def impatient(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await reader.read(-1)

    large = {f"{number:0255}": f"{number:0255}" for number in range(20_000)}

    async def story() -> CallOutcome:
        async with listening(impatient) as base_url, calling(10) as cm21:
            return await cm21.synchronize(specification(base_url), large)

    assert Refusal(413, "") == asyncio.run(story())


def test_a_connection_on_which_a_request_was_cut_short_is_not_used_again() -> None:
    peers = 0

    async def impatient_at_first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal peers
        peers += 1
        if peers == 1:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
            await asyncio.sleep(0.2)
        else:
            await read_request(reader)
            writer.write(ACCEPTED)

    large = {f"{number:0255}": f"{number:0255}" for number in range(20_000)}

    async def story() -> tuple[CallOutcome, CallOutcome]:
        async with listening(impatient_at_first) as base_url, calling(10) as cm21:
            first = await cm21.synchronize(specification(base_url), large)
            return first, await cm21.synchronize(specification(base_url), PRODUCTS)

    first, second = asyncio.run(story())
    assert isinstance(first, Refusal | CallFailure)
    assert (Receipt("t-1"), 2) == (second, peers)


def test_a_cancelled_call_closes_its_connection_and_frees_the_place_for_others() -> None:
    heard, left = asyncio.Event(), asyncio.Event()

    async def deaf_at_first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        if heard.is_set():
            writer.write(ACCEPTED)
        else:
            heard.set()
            await reader.read(-1)
            left.set()

    async def story() -> CallOutcome:
        async with listening(deaf_at_first) as base_url, calling(5, connections=1) as cm21:
            hanging = asyncio.create_task(cm21.synchronize(specification(base_url), PRODUCTS))
            await asyncio.wait_for(heard.wait(), 5)
            hanging.cancel()
            await asyncio.wait_for(left.wait(), 5)
            return await cm21.synchronize(specification(base_url), PRODUCTS)

    assert Receipt("t-1") == asyncio.run(story())


def test_a_call_that_ends_after_the_closing_leaves_no_connection_open() -> None:
    closed = asyncio.Event()

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        await asyncio.sleep(0.05)
        writer.write(ACCEPTED)
        assert await reader.read() == b""
        closed.set()

    async def story() -> None:
        async with listening(peer) as base_url:
            async with calling() as cm21:
                late = asyncio.create_task(cm21.synchronize(specification(base_url), PRODUCTS))
                await asyncio.sleep(0.02)
            assert Receipt("t-1") == await late
            await asyncio.wait_for(closed.wait(), 1)

    asyncio.run(story())


def failure_at(base_url: str, call_timeout: float = 2.0) -> CallFailure:
    async def story() -> CallOutcome:
        async with calling(call_timeout) as cm21:
            return await cm21.synchronize(specification(base_url), PRODUCTS)

    outcome = asyncio.run(story())
    assert isinstance(outcome, CallFailure)
    assert not outcome.may_have_reached
    return outcome


def test_a_refused_connection_did_not_reach_mirakl() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, not listening: nobody else can take the port
        assert "refused" in failure_at(f"http://127.0.0.1:{unused.getsockname()[1]}").reason


@pytest.mark.parametrize("host", ["mirakl.invalid", f"{'x' * 64}.example", "two..dots.example"])
def test_a_host_name_that_does_not_exist_did_not_reach_mirakl(host: str) -> None:
    assert failure_at(f"http://{host}").reason == "no connection: the host name cannot be looked up"


def test_proxy_variables_see_nothing_of_a_call_and_logs_no_credential(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    async def story(mirakl: MiraklSimulator, cm21: Cm21) -> CallOutcome:
        return await cm21.synchronize(specification(mirakl.url("acme")), PRODUCTS)

    with caplog.at_level(logging.DEBUG):
        assert isinstance(with_mirakl(story), Receipt)
    assert "s3cret" not in caplog.text


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for 127.0.0.1, in one PEM file."""
    made = self_signed("127.0.0.1", authority=False)
    pem = tmp_path_factory.mktemp("tls") / "mirakl.pem"
    pem.write_bytes(made.key + made.certificate)
    return pem


def over_tls(certificate: Path, call_timeout: float = 5.0, fault: Fault | None = None) -> list[CallOutcome]:
    """Make three calls to a Mirakl that speaks TLS."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)

    async def story() -> list[CallOutcome]:
        async with MiraklSimulator().serving(ssl_context=context) as mirakl, calling(call_timeout) as cm21:
            if fault is not None:
                mirakl.add_fault(fault)
            acme = specification(mirakl.url("acme"))
            return [await cm21.synchronize(acme, PRODUCTS) for _ in range(3)]

    return asyncio.run(story())


def test_tls_with_a_certificate_that_is_trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert all(isinstance(outcome, Receipt) for outcome in over_tls(certificate))


@pytest.mark.parametrize("effect", [Effect.RESET, Effect.CLOSE, Effect.HANG])
def test_a_call_without_an_answer_over_tls_may_have_reached_mirakl(
    effect: Effect, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    for outcome in over_tls(certificate, 1.0, Fault(effect=effect)):
        assert isinstance(outcome, CallFailure)
        assert outcome.may_have_reached


def test_a_certificate_that_nobody_vouches_for_stops_the_call(certificate: Path) -> None:
    for outcome in over_tls(certificate):
        assert isinstance(outcome, CallFailure)
        assert not outcome.may_have_reached
        assert "the certificate is not accepted: self-signed certificate" in outcome.reason


def test_a_server_that_does_not_speak_tls_did_not_get_the_call() -> None:
    async def story(mirakl: MiraklSimulator, _: Cm21) -> CallOutcome:
        async with calling(2) as cm21:
            return await cm21.synchronize(specification(mirakl.base_url.replace("http:", "https:")), PRODUCTS)

    outcome = with_mirakl(story)
    assert isinstance(outcome, CallFailure)
    assert not outcome.may_have_reached
    assert "no connection" in outcome.reason


def test_a_tls_handshake_that_never_ends_did_not_reach_mirakl_and_leaves_no_socket_open() -> None:
    closed = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read(-1)
        closed.set()

    async def story() -> CallOutcome:
        async with listening(silent) as base_url, calling(0.4) as cm21:
            outcome = await cm21.synchronize(specification(base_url.replace("http:", "https:")), PRODUCTS)
            await asyncio.wait_for(closed.wait(), 1)
            return outcome

    assert CallFailure("no connection within 0.1 s", may_have_reached=False) == asyncio.run(story())
