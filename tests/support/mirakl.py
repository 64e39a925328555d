"""A simulated Mirakl, the CM21 call, and what one needs to bring them together."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import TypeVar

from consumer.adapters.mirakl.client import Cm21
from consumer.adapters.mirakl.way_out import WayOut
from consumer.domain.model import ClientSpecification
from producer_tools.sandbox.mirakl import MiraklSimulator, Rules
from tests.support.builders import client_specification

T = TypeVar("T")

PRODUCTS = {f"MKL-{number}": f"SKU-{number}" for number in range(50)}


def specification(base_url: str, **changes: object) -> ClientSpecification:
    return client_specification(base_url=base_url, **{"credential": "s3cret", "products_per_call": 100, **changes})


@asynccontextmanager
async def calling(
    call_timeout: float = 10.0, connections: int = 256, way_out: WayOut | None = None
) -> AsyncIterator[Cm21]:
    cm21 = Cm21(call_timeout, connections, way_out=way_out)
    try:
        yield cm21
    finally:
        await cm21.aclose()


def with_mirakl(
    story: Callable[[MiraklSimulator, Cm21], Coroutine[None, None, T]],
    rules: Rules | None = None,
    call_timeout: float = 10.0,
    connections: int = 256,
) -> T:
    """Run a story with a simulated Mirakl that must have seen no violation."""
    shouted: list[str] = []

    async def told() -> T:
        simulator = MiraklSimulator(seed=1, rules=rules, shout=shouted.append)
        async with simulator.serving() as mirakl, calling(call_timeout, connections) as cm21:
            return await story(mirakl, cm21)

    result = asyncio.run(told())
    assert shouted == []
    return result
