"""Connections: real sockets, and callers that send anything but a good request."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn

from producer_tools.gateway import http_protocol
from producer_tools.gateway.calls import PATH
from producer_tools.gateway.policy import GatewayPolicy
from tests.unit.producer_tools.gateway.world import BODY, KEY, World

HEAD = f"POST {PATH} HTTP/1.1\r\nHost: gateway\r\ndj-api-key: {KEY}\r\nContent-Type: application/json\r\n"


@asynccontextmanager
async def serving(world: World, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    """Serve the application on a free port."""
    monkeypatch.setattr(http_protocol.GatewayProtocol, "policy", world.policy)
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        world.app,
        http=http_protocol.GatewayProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        h11_max_incomplete_event_size=world.policy.head_bytes,
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve([listening]))
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.001)
    yield listening.getsockname()[1]
    server.should_exit = True
    await task


async def sent(port: int, data: bytes, *, end: bool = False) -> bytes:
    """Send these bytes and return all that comes until the connection is closed, or nothing comes for a second."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    received = b""
    try:
        writer.write(data)
        await writer.drain()
        if end:
            writer.write_eof()
        while chunk := await asyncio.wait_for(reader.read(65_536), 1):
            received += chunk
    except (TimeoutError, ConnectionError):
        pass
    finally:
        writer.close()
    return received


def code_of(response: bytes) -> tuple[int, str]:
    """Return status and code of a problem response."""
    head, _, body = response.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    return int(head.split()[1]), json.loads(body)["code"]


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"NOT HTTP AT ALL\r\n\r\n",
        HEAD.encode() + b"X-Filler: " + b"x" * 100_000,
        HEAD.encode() + b"dj-api-key: " + b"k" * 1_000_000 + b"\r\n\r\n",
        HEAD.encode() + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
        HEAD.encode() + b"Transfer-Encoding: chunked\r\n\r\nnot-a-size\r\n",
    ],
    ids=["tls", "words", "endless header", "key of a megabyte", "two lengths", "bad chunk"],
)
def test_what_is_not_http_is_a_problem_too(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        world = World()
        async with serving(world, monkeypatch) as port:
            assert (400, "VALIDATION_FAILED") == code_of(await sent(port, data))
        assert [] == world.sender.records

    asyncio.run(story())


@pytest.mark.parametrize("data", [b"", HEAD.encode()[:40]])
def test_a_head_that_does_not_arrive_is_408(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with serving(World(GatewayPolicy(arrival_seconds=0.1)), monkeypatch) as port:
            assert (408, "REQUEST_TIMEOUT") == code_of(await sent(port, data))

    asyncio.run(story())


def test_a_second_head_on_the_same_connection_has_its_own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with serving(World(GatewayPolicy(arrival_seconds=0.2)), monkeypatch) as port:
            first = b"GET /nothing HTTP/1.1\r\nHost: g\r\n\r\n"
            response = await sent(port, first + b"GET /not")

        assert 404 == int(response.split()[1])
        assert b"REQUEST_TIMEOUT" in response

    asyncio.run(story())


@pytest.mark.parametrize("cut", [1, 20])
def test_a_truncated_body_is_never_written(cut: int, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        body = json.dumps(BODY).encode()
        world = World(GatewayPolicy(arrival_seconds=0.2))
        async with serving(world, monkeypatch) as port:
            data = HEAD.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body[:-cut]
            assert (408, "REQUEST_TIMEOUT") == code_of(await sent(port, data))
            await sent(port, data, end=True)
        assert [] == world.sender.records

    asyncio.run(story())


def test_an_endless_body_is_cut_off_after_its_response(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        world = World(GatewayPolicy(arrival_seconds=0.2), max_body_bytes=1_024)
        async with serving(world, monkeypatch) as port:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(HEAD.encode() + b"Transfer-Encoding: chunked\r\n\r\n")
            closed = False
            try:
                async with asyncio.timeout(5):
                    while True:
                        writer.write(b"400\r\n" + b" " * 1_024 + b"\r\n")
                        await writer.drain()
                        await asyncio.sleep(0.01)
            except ConnectionError:
                closed = True
            assert closed
            writer.close()
        assert [] == world.sender.records

    asyncio.run(story())


def test_chunked_bodies_and_pipelined_calls_are_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        world = World()
        body = json.dumps(BODY).encode()
        chunked = b"".join(b"%x\r\n%b\r\n" % (1, body[at : at + 1]) for at in range(len(body))) + b"0\r\n\r\n"
        call = HEAD.encode() + b"Prefer: respond-async\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked
        async with serving(world, monkeypatch) as port:
            response = await sent(port, call + call)

        assert 2 == response.count(b"HTTP/1.1 202 ")
        assert 2 == len(world.sender.records)

    asyncio.run(story())


def test_a_caller_that_hangs_up_costs_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        world = World()
        body = json.dumps(BODY).encode()
        async with serving(world, monkeypatch) as port:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(HEAD.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
            await world.written(1)
            assert 1 == world.calls.room.waiting
            writer.close()
            async with asyncio.timeout(5):
                while world.calls.room.waiting:  # noqa: ASYNC110 - the room has no event for it
                    await asyncio.sleep(0.001)

        assert [499] == [call.status for call in world.answered]

    asyncio.run(story())
