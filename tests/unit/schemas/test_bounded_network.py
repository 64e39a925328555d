"""A registry that answers without end is left in good time, whatever it sends: real sockets, a server of our own."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from schemas.framing import SchemaRef
from schemas.registry import Missing, RegistryAddress, RegistryTroubleError, SchemaRegistry
from schemas.resolution import SchemaError

ID_7 = SchemaRef.from_id(7)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


def response(body: bytes) -> bytes:
    return HEAD + b"content-length: %d\r\n\r\n" % len(body) + body


@contextmanager
def serving(answer: Callable[[socket.socket], None]) -> Iterator[RegistryAddress]:
    """A server that answers each connection by this, until the other side has gone."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    peer, _ = server.accept()
                    with peer, suppress(OSError):
                        peer.recv(65536)
                        answer(peer)

        threading.Thread(target=serve, daemon=True).start()
        yield RegistryAddress(f"http://127.0.0.1:{server.getsockname()[1]}", timeout=2.0)


def endless(head: bytes, piece: bytes) -> Callable[[socket.socket], None]:
    def answer(peer: socket.socket) -> None:
        peer.sendall(head)
        while True:
            peer.sendall(piece)

    return answer


def slow_informational(peer: socket.socket) -> None:
    while True:
        peer.sendall(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n")
        time.sleep(0.05)


@pytest.mark.parametrize(
    "answer",
    [
        endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
        endless(b"", b"HTTP/1.1 103 Early Hints\r\nx: y\r\n\r\n"),
        endless(HEAD + b"transfer-encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 1000),
        endless(HEAD[:17], b"x: y\r\n"),
        slow_informational,
    ],
    ids=["100s", "103s", "chunks of one byte", "headers", "slow 103s"],
)
def test_an_answer_without_end_is_a_trouble_in_good_time(answer: Callable[[socket.socket], None]) -> None:
    with serving(answer) as address, SchemaRegistry(address) as registry:
        began, worked = time.monotonic(), time.thread_time()

        with pytest.raises(RegistryTroubleError):
            registry.schema(ID_7)

        assert time.monotonic() - began < address.timeout + 1
        assert time.thread_time() - worked < 1


def test_a_schema_that_the_registry_never_stops_sending_is_refused() -> None:
    answer = endless(HEAD + b"content-length: 99999999\r\n\r\n", b'{"schema": "' + b"x" * 65536)
    with serving(answer) as address, SchemaRegistry(address) as registry, pytest.raises(SchemaError, match="more than"):
        registry.schema(ID_7)


def test_common_answers_are_read_over_one_connection() -> None:
    """A few informational responses, and chunks of a usual size, are in order."""
    body = b'{"schema": "' + b"x" * 200_000 + b'"}'
    chunked = b"".join(
        b"%x\r\n%s\r\n" % (len(body[at : at + 50]), body[at : at + 50]) for at in range(0, len(body), 50)
    )
    answers = iter(
        [
            b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + response(body),
            HEAD + b"transfer-encoding: chunked\r\n\r\n" + chunked + b"0\r\n\r\n",
            b"HTTP/1.1 404 Not Found\r\ncontent-length: 21\r\n\r\n" + b'{"error_code": 40403}',
        ]
    )
    connections = []

    def answer(peer: socket.socket) -> None:
        connections.append(peer)
        for each in answers:
            peer.sendall(each)
            peer.recv(65536)

    with serving(answer) as address, SchemaRegistry(address) as registry:
        assert ["x" * 200_000, "x" * 200_000, Missing()] == [registry.schema(ID_7) for _ in range(3)]
    assert len(connections) == 1
