"""Callers of the published operation that cost little themselves: one connection each, bytes made beforehand."""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

from producer_tools.gateway.calls import PATH


@dataclass(frozen=True, slots=True)
class Called:
    """One response: its status, and when it came after the call was sent, in seconds."""

    status: int
    seconds: float


def call_bytes(api_key: str, specification_id: str, *headers: str) -> bytes:
    """Return a call for two products, ready to be sent."""
    products = [{"miraklProductId": f"MKL-{number}", "productSku": f"SKU-{number}"} for number in range(2)]
    body = json.dumps({"clientSpecificationId": specification_id, "products": products})
    lines = [
        f"POST {PATH} HTTP/1.1",
        "Host: gateway",
        "dj-client: OPERATOR",
        f"dj-api-key: {api_key}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *headers,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


class Caller:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, port: int) -> "Caller":
        """Open a connection to this machine's ``port``."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def call(self, call: bytes) -> Called:
        """Send a call and read the whole response."""
        began = time.monotonic()
        self._writer.write(call)
        head = await self._reader.readuntil(b"\r\n\r\n")
        seconds = time.monotonic() - began
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        await self._reader.readexactly(length)
        return Called(int(head[9:12]), seconds)

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


async def call_for(port: int, call: bytes, callers: int, seconds: float) -> Sequence[Called]:
    """Call again and again for so long, from so many connections."""
    until = time.monotonic() + seconds
    called: list[Called] = []

    async def repeat() -> None:
        caller = await Caller.connect(port)
        while time.monotonic() < until:
            called.append(await caller.call(call))
        caller.close()

    await asyncio.gather(*(repeat() for _ in range(callers)))
    return called


async def call_in_company(port: int, call: bytes, callers: int, per_second: float) -> Sequence[Called]:
    """Call once from each of so many connections, begun one after the other; all wait at the same time."""
    connected = [await Caller.connect(port) for _ in range(callers)]
    began = time.monotonic()

    async def one(number: int, caller: Caller) -> Called:
        await asyncio.sleep(began + number / per_second - time.monotonic())
        return await caller.call(call)

    called = await asyncio.gather(*(one(number, caller) for number, caller in enumerate(connected)))
    for caller in connected:
        caller.close()
    return called
