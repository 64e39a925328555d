"""Connections to Mirakl by host name: name look-ups, age, final dots, and what of our own may be lacking."""

import asyncio
import errno
import os
import resource
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anyio
import pytest

from consumer.adapters.mirakl import host_connections, http11
from consumer.adapters.mirakl.client import Cm21
from consumer.adapters.mirakl.host_connections import HostConnections
from consumer.adapters.mirakl.way_out import WayOut, trust
from consumer.domain.calls import CallFailure, Receipt
from tests.contract.test_leases import ACCEPTED, listening, read_request
from tests.support.certificates import self_signed
from tests.support.mirakl import PRODUCTS, calling, specification
from tests.support.policies import adjust


class Resolver:
    """A ``getaddrinfo`` that answers 127.0.0.1, for hosts named ``silent…`` only once it is ``released``."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.released = threading.Event()

    def __call__(self, host: bytes, port: int, **_: object) -> list[tuple[object, ...]]:
        self.asked.append(host.decode())
        if host.startswith(b"silent"):
            self.released.wait(10)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]


@asynccontextmanager
async def accepting() -> AsyncIterator[int]:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def with_resolver(story: Callable[[Resolver, HostConnections, int], Awaitable[None]]) -> None:
    async def told() -> None:
        resolver = Resolver()
        try:
            async with accepting() as port:
                await story(resolver, HostConnections(resolver), port)
        finally:
            resolver.released.set()

    asyncio.run(told())


def test_hosts_whose_names_are_not_answered_for_keep_no_other_from_connecting() -> None:
    async def story(_: Resolver, hosts: HostConnections, port: int) -> None:
        hanging = [asyncio.create_task(hosts.connect(f"silent-{number}.example", port)) for number in range(40)]
        await asyncio.sleep(0.05)
        await (await asyncio.wait_for(hosts.connect("mirakl.example", port), 1)).aclose()
        for task in hanging:
            task.cancel()

    with_resolver(story)


def test_calls_to_one_host_share_a_look_up_that_goes_on_without_those_who_left() -> None:
    async def story(resolver: Resolver, hosts: HostConnections, port: int) -> None:
        first, second, third = (asyncio.create_task(hosts.connect("silent.example", port)) for _ in range(3))
        await asyncio.sleep(0.05)
        first.cancel()
        second.cancel()
        await asyncio.sleep(0.05)
        fourth = asyncio.create_task(hosts.connect("silent.example", port))
        await asyncio.sleep(0.05)
        assert ["silent.example"] == resolver.asked

        resolver.released.set()
        for task in (third, fourth):
            await (await asyncio.wait_for(task, 2)).aclose()
        await (await hosts.connect("silent.example", port)).aclose()
        assert ["silent.example"] * 2 == resolver.asked, "an address is not kept for later"

    with_resolver(story)


def test_look_ups_under_way_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    adjust(monkeypatch, host_connections, "MIRAKL", lookups=2)

    async def story(resolver: Resolver, hosts: HostConnections, port: int) -> None:
        hanging = [asyncio.create_task(hosts.connect(f"silent-{number}.example", port)) for number in range(2)]
        await asyncio.sleep(0.05)
        with pytest.raises(OSError, match="too many name look-ups"):
            await hosts.connect("mirakl.example", port)
        await (await hosts.connect("127.0.0.1", port)).aclose()
        resolver.released.set()
        for stream in await asyncio.gather(*hanging):
            await stream.aclose()
        await (await hosts.connect("mirakl.example", port)).aclose()

    with_resolver(story)


def test_the_next_address_is_tried_where_one_does_not_answer() -> None:
    async def story(_: Resolver, __: HostConnections, port: int) -> None:
        addresses = ["127.0.0.9", "127.0.0.8", "127.0.0.1"]  # where nobody listens, but the last
        hosts = HostConnections(lambda *_, **__: [(0, 0, 0, "", (address, port)) for address in addresses])
        await (await asyncio.wait_for(hosts.connect("mirakl.example", port), 2)).aclose()

    with_resolver(story)


@pytest.mark.parametrize(("age", "expected"), [(300.0, 1), (0.15, 3)])
def test_a_connection_in_constant_use_is_replaced_at_its_greatest_age(
    age: float, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    adjust(monkeypatch, http11, "MIRAKL", connection_age_seconds=age)
    connections = 0

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            await read_request(reader)
            writer.write(ACCEPTED)

    async def story() -> None:
        async with listening(peer) as base_url, calling() as cm21:
            end = asyncio.get_running_loop().time() + 0.55
            while asyncio.get_running_loop().time() < end:
                assert Receipt("t-1") == await cm21.synchronize(specification(base_url), PRODUCTS)
                await asyncio.sleep(0.005)

    asyncio.run(story())
    assert connections >= expected
    assert (connections == 1) == (expected == 1)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A key and a certificate for ``mirakl.example``, in one PEM file."""
    made = self_signed("mirakl.example", authority=False)
    pem = tmp_path / "mirakl.pem"
    pem.write_bytes(made.key + made.certificate)
    return pem


@pytest.mark.parametrize("host", ["mirakl.example", "mirakl.example."])
def test_a_host_with_a_final_dot_is_looked_up_with_it_and_certified_without(host: str, certificate: Path) -> None:
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_side.load_cert_chain(certificate)
    named: list[str | None] = []
    server_side.sni_callback = lambda _, name, __: named.append(name)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(ACCEPTED)
        writer.close()

    async def story() -> None:
        resolver = Resolver()
        connection = http11.Http11Connection(WayOut(trust(certificate)), HostConnections(resolver))
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_side)
        cm21 = Cm21(10.0, transport=connection)
        address = f"https://{host}:{server.sockets[0].getsockname()[1]}"
        try:
            assert Receipt("t-1") == await cm21.synchronize(specification(address), PRODUCTS)
        finally:
            await cm21.aclose()
            server.close()
        assert [host] == resolver.asked

    asyncio.run(story())
    assert ["mirakl.example"] == named


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EMFILE, "ulimit -n"),
        (errno.ENFILE, "fs.file-max"),
        (errno.ENOMEM, "more memory"),
        (errno.ENOBUFS, "more memory"),
        (errno.EADDRNOTAVAIL, "ip_local_port_range"),
        (errno.ECONNREFUSED, None),
        (errno.ENETUNREACH, None),
    ],
)
def test_a_failed_connection_is_ours_where_a_resource_of_ours_is_lacking(
    number: int, remedy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> None:
        raise OSError("All connection attempts failed") from OSError(number, os.strerror(number))

    monkeypatch.setattr(anyio, "connect_tcp", refuse)

    async def story() -> None:
        async with calling() as cm21:
            outcome = await cm21.synchronize(specification("http://192.0.2.1"), PRODUCTS)
        assert isinstance(outcome, CallFailure)
        assert os.strerror(number).lower() in outcome.reason
        assert (outcome.ours is None) == (remedy is None)
        assert remedy is None or remedy in str(outcome.ours)

    asyncio.run(story())


def test_a_thread_that_cannot_start_is_a_trouble_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def story() -> None:
        async with calling() as cm21:
            with monkeypatch.context() as patched:
                patched.setattr(threading.Thread, "start", refuse)
                outcome = await cm21.synchronize(specification("http://mirakl.example"), PRODUCTS)
        assert isinstance(outcome, CallFailure)
        assert "ulimit -u" in str(outcome.ours)

    asyncio.run(story())


@contextmanager
def no_file_descriptor_left() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "mirakl.invalid"])
def test_the_want_of_file_descriptors_is_a_trouble_of_ours_and_not_of_mirakl(
    host: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        async with accepting() as port, calling() as cm21:
            mirakl = specification(f"http://{host}:{port}")
            with no_file_descriptor_left():
                outcomes = [await cm21.synchronize(mirakl, PRODUCTS) for _ in range(3)]
            for outcome in outcomes:
                assert isinstance(outcome, CallFailure)
                assert not outcome.may_have_reached
                assert outcome.ours is not None
                assert "no file descriptor left" in outcome.ours
                assert "ulimit -n" in outcome.ours
            after = await cm21.synchronize(mirakl, PRODUCTS)
            assert isinstance(after, CallFailure)
            assert after.ours is None

    asyncio.run(story())
    assert "no file descriptor left" in caplog.text
