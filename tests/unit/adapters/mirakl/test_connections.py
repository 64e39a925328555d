"""Leases of connections, with httpx's transports replaced by ones that count."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress

import httpx
import pytest

from consumer.adapters.mirakl import connections as leases
from consumer.adapters.mirakl.connections import ConnectionLeases
from tests.support.policies import adjust

HERE = httpx.URL("https://here.example/a")
THERE = httpx.URL("https://there.example/a")


class Transport(httpx.AsyncBaseTransport):
    def __init__(self) -> None:
        self.closed = False

    async def aclose(self) -> None:
        self.closed = True


def with_leases(story: Callable[[ConnectionLeases, list[Transport]], Coroutine[None, None, None]], most: int) -> None:
    """Run a story; it sees the transports that were made, in order."""
    made: list[Transport] = []

    def new_transport() -> Transport:
        made.append(Transport())
        return made[-1]

    async def told() -> None:
        connections = ConnectionLeases(most, new_transport)
        try:
            await story(connections, made)
        finally:
            await connections.aclose()

    asyncio.run(told())
    assert all(transport.closed for transport in made)


async def used(connections: ConnectionLeases, url: httpx.URL) -> httpx.AsyncBaseTransport:
    async with connections.lease(url, 1) as transport:
        return transport


def test_the_connection_that_was_used_last_is_used_again() -> None:
    async def story(connections: ConnectionLeases, made: list[Transport]) -> None:
        async with connections.lease(HERE, 1):
            assert await used(connections, HERE) is made[1]
        assert await used(connections, HERE) is made[0]
        assert await used(connections, HERE) is made[0]
        assert len(made) == 2

    with_leases(story, 4)


@pytest.mark.parametrize("other", ["http://here.example/a", "https://here.example:8443/a", "https://there.example/a"])
def test_a_connection_is_used_for_its_own_origin_alone(other: str) -> None:
    async def story(connections: ConnectionLeases, _: list[Transport]) -> None:
        first = await used(connections, HERE)
        assert await used(connections, httpx.URL(other)) is not first
        assert await used(connections, httpx.URL("https://here.example:443/b")) is first

    with_leases(story, 4)


def test_idle_connections_make_room_the_longest_idle_first() -> None:
    async def story(connections: ConnectionLeases, made: list[Transport]) -> None:
        async with connections.lease(HERE, 1):
            await used(connections, HERE)
        await used(connections, THERE)
        assert [False, True, False] == [transport.closed for transport in made]

    with_leases(story, 2)


def test_a_lease_that_fails_ends_its_connection_and_frees_its_place() -> None:
    async def story(connections: ConnectionLeases, made: list[Transport]) -> None:
        for _ in range(3):
            with suppress(httpx.ReadError):
                async with connections.lease(HERE, 1):
                    raise httpx.ReadError("lost")
        assert [True] * 3 == [transport.closed for transport in made]

    with_leases(story, 1)


def test_a_place_that_does_not_become_free_in_time_is_a_pool_timeout() -> None:
    async def story(connections: ConnectionLeases, _: list[Transport]) -> None:
        async with connections.lease(HERE, 1):
            with pytest.raises(httpx.PoolTimeout):
                await asyncio.create_task(used_in(0.01, connections))
        await used(connections, HERE)

    async def used_in(seconds: float, connections: ConnectionLeases) -> None:
        async with connections.lease(THERE, seconds):
            pytest.fail("there was no place")

    with_leases(story, 1)


def test_connections_that_nobody_reuses_are_closed_and_the_others_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    adjust(monkeypatch, leases, "MIRAKL", idle_seconds=0.2)

    async def story(connections: ConnectionLeases, made: list[Transport]) -> None:
        await used(connections, THERE)
        for _ in range(10):
            await asyncio.sleep(0.05)
            await used(connections, HERE)
        assert [True, False] == [transport.closed for transport in made]

    with_leases(story, 4)


def test_a_connection_that_was_idle_for_too_long_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(connections: ConnectionLeases, made: list[Transport]) -> None:
        await used(connections, HERE)
        adjust(monkeypatch, leases, "MIRAKL", idle_seconds=0.0)
        assert await used(connections, HERE) is made[1]

    with_leases(story, 4)
