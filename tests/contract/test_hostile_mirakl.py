"""A hostile Mirakl of one client does not slow the calls of another one down."""

import asyncio
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from consumer.domain.calls import CallFailure, Receipt
from tests.contract.test_leases import ACCEPTED, listening, read_request
from tests.support.mirakl import PRODUCTS, calling, specification

HOSTILE_CALLS = 4
MEDIAN_SECONDS = 0.15
"""Seconds of one call of the other client. Undisturbed it takes 1 to 2 ms; machines that run tests are busy."""

_HOSTILE_PEER = """
import socket, sys, threading
answer, repeated = (eval(argument) for argument in sys.argv[1:])
def serve(connection):
    with connection:
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.recv(65536)
            connection.sendall(answer)
            while True:
                connection.sendall(repeated)
        except OSError:
            pass
with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
    print(listener.getsockname()[1], flush=True)
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""


@contextmanager
def hostile_peer(answer: bytes, repeated: bytes) -> Iterator[str]:
    """A process of its own that answers each request, then sends the same bytes again and again."""
    command = [sys.executable, "-c", _HOSTILE_PEER, repr(answer), repr(repeated)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("answer", "repeated"),
    [
        (b"", b"HTTP/1.1 103 Early Hints\r\n" + b"Link: </x>\r\n" * 40 + b"\r\n"),
        (b"", b"HTTP/1.1 103 E\r\n\r\n" * 4000),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 10_000),
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 10_000),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
    ],
    ids=["1xx with headers", "short 1xx", "single chunks", "many chunks", "headers", "single bytes"],
)
def test_endless_answers_of_one_client_keep_no_other_waiting(answer: bytes, repeated: bytes) -> None:
    async def honest(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            writer.write(ACCEPTED)

    async def story() -> list[float]:
        loop, seconds = asyncio.get_running_loop(), list[float]()
        async with listening(honest) as base_url, calling(5.0) as cm21:
            with hostile_peer(answer, repeated) as hostile_url:

                async def call_again_and_again() -> None:
                    while True:
                        outcome = await cm21.synchronize(specification(hostile_url), PRODUCTS)
                        assert not isinstance(outcome, Receipt)

                hostile = [asyncio.create_task(call_again_and_again()) for _ in range(HOSTILE_CALLS)]
                await asyncio.sleep(0.1)
                until = loop.time() + 1.0
                while loop.time() < until:
                    began = loop.time()
                    assert Receipt("t-1") == await cm21.synchronize(specification(base_url), PRODUCTS)
                    seconds.append(loop.time() - began)
                    await asyncio.sleep(0.01)
                for task in hostile:
                    task.cancel()
                await asyncio.gather(*hostile, return_exceptions=True)
        return seconds

    seconds = asyncio.run(story())
    assert statistics.median(seconds) < MEDIAN_SECONDS


def test_an_endless_answer_ends_at_a_bound_and_not_with_the_time_for_a_call() -> None:
    async def story(url: str) -> None:
        async with calling(60.0) as cm21:
            outcome = await asyncio.wait_for(cm21.synchronize(specification(url), PRODUCTS), 20)
        assert isinstance(outcome, CallFailure)
        assert outcome.may_have_reached

    with hostile_peer(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n") as url:
        asyncio.run(story(url))
