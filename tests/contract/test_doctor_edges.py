"""``doctor`` at its edges, over sockets: certificates on the way that calls take, and clocks. Nothing is called."""

import asyncio
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from consumer.adapters.certificates import CertificateLook, check_certificates
from consumer.adapters.clocks import http_date, reading
from consumer.adapters.kafka.certificates import broker_certificates
from consumer.adapters.kafka.trial import Address
from consumer.adapters.mirakl.certificates import mirakl_certificates
from consumer.adapters.mirakl.way_out import WayOut
from consumer.adapters.stores import create_engine
from consumer.adapters.stores.clock import database_clock
from schemas.registry.address import RegistryAddress
from schemas.registry.client import Greeting, SchemaRegistry
from schemas.settings import load
from tests.contract.test_kafka_tls import serving
from tests.support.certificates import PrivateAuthority
from tests.support.proxies import RecordingProxy


class Servers:
    """A private authority, and servers that it has certified."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._authority = PrivateAuthority()
        self.ca_file = folder / "ca.pem"
        self.ca_file.write_bytes(self._authority.certificate)

    def tls(self, days: float) -> ssl.SSLContext:
        return self._authority.server_side("127.0.0.1", self._folder, days)


@pytest.fixture
def servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Servers:
    for variable in ("https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    return Servers(tmp_path)


def subjects(looks: list[CertificateLook]) -> dict[str, str]:
    """Return the level of each finding by subject."""
    return {each.subject: str(each.level) for each in check_certificates(looks, datetime.now(UTC))}


def test_each_mirakl_shows_its_certificate_once_and_receives_nothing(servers: Servers) -> None:
    received: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.read())
        writer.close()

    async def story() -> list[CertificateLook]:
        proxy = RecordingProxy()
        lasting = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=servers.tls(100))
        ending = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=servers.tls(2))
        ended = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=servers.tls(-0.5))
        first, second, third = (each.sockets[0].getsockname()[1] for each in (lasting, ending, ended))
        urls = [f"https://127.0.0.1:{port}" for port in (first, first, second, third, 1)]
        urls += [f"https://127.0.0.1:{first}/api", "http://127.0.0.1:1", "https://mirakl.invalid"]
        async with proxy.serving():
            proxy.target = ("127.0.0.1", second)
            proxied = load(
                {
                    "RESYNC_MIRAKL__CA_FILE": str(servers.ca_file),
                    "RESYNC_MIRAKL__PROXY_URL": f"http://127.0.0.1:{proxy.port}",
                },
                uses=["mirakl"],
            )
            direct = load({"RESYNC_MIRAKL__CA_FILE": str(servers.ca_file)}, uses=["mirakl"])
            looks = await mirakl_certificates(urls, WayOut.of(direct.mirakl), 10.0)
            (through,) = await mirakl_certificates([f"https://127.0.0.1:{second}"], WayOut.of(proxied.mirakl), 10.0)
        assert 1 == len(proxy.received)
        assert through.certificate is not None
        for server in (lasting, ending, ended):
            server.close()
        assert [f"Mirakl at 127.0.0.1:{port}" for port in (first, second, third, 1)] == [
            each.server for each in looks if "invalid" not in each.server
        ]
        return list(looks)

    looks = asyncio.run(story())
    found = {each.subject: each for each in check_certificates(looks, datetime.now(UTC))}
    assert {"WARN"} == {str(each.level) for subject, each in found.items() if subject != "certificates"}
    assert "1 last" in found["certificates"].message
    said = " ".join(each.message for each in found.values())
    for words in ("in 1 days", "certificate has expired", "connection refused", "the host name cannot be looked up"):
        assert words in said
    assert not any(received)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_brokers_show_their_certificates_also_untrusted_ones(servers: Servers, version: ssl.TLSVersion) -> None:
    ending, lasting = servers.tls(3), servers.tls(90)
    ending.maximum_version = lasting.maximum_version = version
    with serving(ending) as first, serving(lasting) as second, serving(None) as plain:
        addresses = [
            Address(number, "127.0.0.1", int(each.rpartition(":")[2]), None)
            for number, each in enumerate((first, second, plain), 1)
        ]
        addresses.append(Address(4, "127.0.0.1", 1, "Connection refused"))
        found = subjects(broker_certificates({"security.protocol": "SASL_SSL"}, addresses))
    assert {f"broker 1 at {first}": "WARN", f"broker 3 at {plain}": "WARN", "certificates": "OK"} == found
    assert [] == broker_certificates({"security.protocol": "SASL_PLAINTEXT"}, addresses)


@pytest.fixture
def greeted(servers: Servers) -> Callable[[dict[str, str], bool], Greeting]:
    """Ask a registry whose answer has these headers, with or without TLS."""

    def ask(headers: dict[str, str], encrypted: bool) -> Greeting:  # noqa: FBT001 - a row of a table
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response_only(404)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        server = HTTPServer(("127.0.0.1", 0), Handler)
        if encrypted:
            server.socket = servers.tls(5).wrap_socket(server.socket, server_side=True)
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        url = f"{'https' if encrypted else 'http'}://127.0.0.1:{server.server_address[1]}"
        try:
            with SchemaRegistry(RegistryAddress(url, ca_file=servers.ca_file)) as registry:
                return registry.greet()
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    return ask


def test_a_registry_shows_certificate_and_clock_with_any_answer(
    greeted: Callable[[dict[str, str], bool], Greeting],
) -> None:
    late = format_datetime(datetime.fromtimestamp(time.time() - 100, UTC), usegmt=True)
    shown = greeted({"Date": late}, True)  # noqa: FBT003 - a row of a table
    assert {"schema registry": "WARN"} == subjects([CertificateLook("schema registry", shown.certificate)])
    date = http_date(shown.date)
    assert date is not None
    certain = reading("the registry", date.timestamp(), shown.before, shown.after, 1.0).certain
    assert 97 < certain <= 100
    plain = greeted({"Date": late, "Age": "90"}, False)  # noqa: FBT003 - a row of a table
    assert (None, None) == (plain.certificate, plain.date)


def test_a_file_has_no_clock() -> None:
    assert database_clock(create_engine("sqlite:///resync.db")) is None


def test_the_clock_of_postgresql_is_read(postgres_database: str) -> None:
    found = database_clock(create_engine(postgres_database))
    assert found is not None
    assert 0.5 > found.certain
    assert 1.0 > found.uncertainty
