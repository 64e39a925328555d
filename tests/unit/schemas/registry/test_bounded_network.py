"""A registry that answers without end is left in good time, whatever it sends: real sockets, a server of our own."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from schemas.avro.framing import SchemaRef
from schemas.avro.writer_schema import SchemaError
from schemas.registry.address import RegistryAddress
from schemas.registry.client import SchemaRegistry
from schemas.registry.errors import RegistryError
from schemas.registry.questions import Missing
from tests.support.certificates import self_signed

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
@pytest.mark.cost
def test_an_answer_without_end_is_a_trouble_in_good_time(answer: Callable[[socket.socket], None]) -> None:
    with serving(answer) as address, SchemaRegistry(address) as registry:
        began, worked = time.monotonic(), time.thread_time()

        with pytest.raises(RegistryError):
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


def certificate(folder: Path) -> Path:
    """A key and a certificate for 127.0.0.1 that it signed itself, in one file."""
    made = self_signed("127.0.0.1")
    file = folder / "registry.pem"
    file.write_bytes(made.key + made.certificate)
    return file


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_registry_that_demands_a_client_certificate_is_a_trouble(tmp_path: Path, version: ssl.TLSVersion) -> None:
    """With TLS 1.3 the alert comes only behind the handshake, in the place of the answer."""
    pem = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = version
    context.load_cert_chain(pem)
    context.load_verify_locations(pem)
    context.verify_mode = ssl.CERT_REQUIRED

    def serve(server: socket.socket) -> None:
        with suppress(OSError):
            while True:
                peer, _ = server.accept()
                with peer, suppress(OSError), context.wrap_socket(peer, server_side=True) as encrypted:
                    encrypted.recv(1)

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, args=(server,), daemon=True).start()
        address = RegistryAddress(f"https://127.0.0.1:{server.getsockname()[1]}", ca_file=pem, timeout=5)
        with (
            SchemaRegistry(address) as registry,
            pytest.raises(RegistryError, match="client certificate") as told,
        ):
            registry.schema(ID_7)
    assert told.value.status is None


def test_tls_connections_keep_the_bounds(tmp_path: Path) -> None:
    pem = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)

    def answer(peer: socket.socket) -> None:
        with context.wrap_socket(peer, server_side=True) as encrypted:
            while True:
                encrypted.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)

    def serve(server: socket.socket) -> None:
        with suppress(OSError):
            peer, _ = server.accept()
            answer(peer)

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, args=(server,), daemon=True).start()
        address = RegistryAddress(f"https://127.0.0.1:{server.getsockname()[1]}", ca_file=pem, timeout=5)
        with SchemaRegistry(address) as registry, pytest.raises(RegistryError, match="informational"):
            registry.schema(ID_7)
