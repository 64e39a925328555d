"""Bodies of calls: receives and parses them, within limits of media type, size, time and nesting."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final, TypeVar

from starlette.requests import ClientDisconnect, Request

from producer_tools.gateway.policy import GatewayPolicy
from producer_tools.gateway.problems import refusal, validation_refusal
from producer_tools.gateway.strict_json import NotStrictJsonError, parse
from schemas.console.text import decimal
from schemas.contract import GatewayCode

Value = TypeVar("Value")

_JSON: Final = "application/json"
_MOST: Final = 1 << 40


class Bodies:
    """Reads the bodies of all calls, within the bounds of ``policy`` and ``max_bytes`` for each.

    Raises ``ProblemError`` (413, 415, 408, 503, 400), and ``ClientDisconnect`` where the caller has hung up.
    """

    def __init__(self, policy: GatewayPolicy, max_bytes: int) -> None:
        self._policy = policy
        self._max_bytes = max_bytes
        self._buffered = 0
        self._parser = ThreadPoolExecutor(1, thread_name_prefix="body-parser")

    @property
    def buffered_bytes(self) -> int:
        """Size of all bodies that are being received or parsed, which the policy bounds."""
        return self._buffered

    def close(self) -> None:
        self._parser.shutdown(wait=False, cancel_futures=True)

    async def receive(self, request: Request) -> bytes:
        """Return the whole body of a request with a JSON body.

        Raises ``ProblemError``: 408 too slow, 413 too large, 415 not JSON by its type, 503 too much at once.
        """
        declared = decimal(request.headers.get("content-length"), _MOST)
        if declared is not None and declared > self._max_bytes:
            raise refusal(GatewayCode.REQUEST_TOO_LARGE, limit=self._max_bytes)
        if not _is_json(request):
            raise refusal(GatewayCode.UNSUPPORTED_MEDIA_TYPE)
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._policy.arrival_seconds):
                async for chunk in request.stream():
                    size += len(chunk)
                    self._buffered += len(chunk)
                    if size > self._max_bytes:
                        raise refusal(GatewayCode.REQUEST_TOO_LARGE, limit=self._max_bytes)
                    if self._buffered > self._policy.buffered_body_bytes:
                        raise refusal(GatewayCode.GATEWAY_BUSY, problem="Too many large bodies arrive at once")
                    chunks.append(chunk)
        except TimeoutError:
            raise refusal(GatewayCode.REQUEST_TIMEOUT, seconds=f"{self._policy.arrival_seconds:g}") from None
        finally:
            self._buffered -= size
        return b"".join(chunks)

    async def parse(self, body: bytes) -> object:
        """Return the JSON value of a body; a large one is parsed on a thread. Raises ``ProblemError`` (400)."""
        return await self.work(len(body), lambda: self.value_of(body))

    def value_of(self, body: bytes) -> object:
        """Return the JSON value of a body at once, on the calling thread. Raises ``ProblemError`` (400)."""
        try:
            return parse(body, self._policy.max_nesting)
        except NotStrictJsonError as error:
            raise validation_refusal([("", f"the body cannot be read: {error}")], 1) from None

    async def work(self, size: int, do: Callable[[], Value]) -> Value:
        """Do what takes time in proportion to a body of ``size`` bytes: at once, or on the thread for large ones."""
        if size <= self._policy.inline_body_bytes:
            return do()
        with self._counted(size):
            return await asyncio.get_running_loop().run_in_executor(self._parser, do)

    @contextmanager
    def _counted(self, size: int) -> Iterator[None]:
        self._buffered += size
        try:
            yield
        finally:
            self._buffered -= size


def _is_json(request: Request) -> bool:
    """Whether the headers say that the body is JSON in UTF-8, and not compressed."""
    media_type, *parameters = (part.strip().lower() for part in request.headers.get("content-type", "").split(";"))
    charsets = [value for name, _, value in (each.partition("=") for each in parameters) if name.strip() == "charset"]
    return (
        media_type == _JSON
        and all(value.strip('" ') in {"utf-8", "utf8", "us-ascii"} for value in charsets)
        and request.headers.get("content-encoding", "identity").lower() == "identity"
    )


__all__ = ["Bodies", "ClientDisconnect"]
