"""What librdkafka says where a TLS server does not suit is understood: a wrong CA or certificate is not an outage."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from consumer.adapters.kafka.broker_errors import BrokerUnreachableError, NotLetInError
from consumer.adapters.kafka.topic_admin import TopicAdmin
from schemas.settings import KafkaSettings
from tests.support.certificates import self_signed


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that signs itself, with its key, in one PEM file."""
    made = self_signed("127.0.0.1")
    file = tmp_path_factory.mktemp("tls") / "certificate.pem"
    file.write_bytes(made.certificate + made.key)
    return file


@contextmanager
def serving(context: ssl.SSLContext | None) -> Iterator[str]:
    """Accept connections, shake hands and say nothing; without a context not even that, but words that are not TLS."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

        def answer(connection: socket.socket) -> None:
            try:
                if context is None:
                    connection.recv(1024)
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                    connection.close()
                else:
                    with context.wrap_socket(connection, server_side=True) as wrapped:
                        while wrapped.recv(4096):
                            pass
            except OSError:
                connection.close()

        threading.Thread(target=accept, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


def reach(bootstrap: str, **properties: str) -> None:
    settings = KafkaSettings(bootstrap_servers=bootstrap, properties={"security.protocol": "SSL", **properties})
    TopicAdmin(settings, reach_timeout=4.0).metadata()


def server_context(certificate: Path, *, wants_certificate: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    if wants_certificate:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(certificate)
    return context


def test_a_certificate_that_we_do_not_trust_is_told_as_such(certificate: Path) -> None:
    with serving(server_context(certificate)) as bootstrap, pytest.raises(NotLetInError, match=r"ssl\.ca\.location"):
        reach(bootstrap)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_certificate_that_is_wanted_is_told_as_such(certificate: Path, version: ssl.TLSVersion) -> None:
    context = server_context(certificate, wants_certificate=True)
    context.maximum_version = version
    with serving(context) as bootstrap, pytest.raises(NotLetInError, match=r"ssl\.certificate\.location"):
        reach(bootstrap, **{"ssl.ca.location": str(certificate)})


def test_a_port_without_tls_is_told_as_such() -> None:
    with serving(None) as bootstrap, pytest.raises(NotLetInError, match=r"security\.protocol"):
        reach(bootstrap)


def test_a_server_that_shakes_hands_and_says_nothing_is_unreachable(certificate: Path) -> None:
    with (
        serving(server_context(certificate)) as bootstrap,
        pytest.raises(BrokerUnreachableError, match="not answer"),
    ):
        reach(bootstrap, **{"ssl.ca.location": str(certificate)})
