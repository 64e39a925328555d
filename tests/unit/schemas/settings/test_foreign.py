"""Values that only a library finds wrong are mistakes of the settings, told before anything starts."""

import json
import time
from pathlib import Path

import certifi
import pytest

from producer_tools.environment import SENDING, tool_settings
from producer_tools.errors import MisconfiguredError
from schemas.settings import SettingsError, load

REGISTRY = "RESYNC_SCHEMA_REGISTRY__URL"
DATABASE = "RESYNC_DATABASE_URL"
PROPERTIES = "RESYNC_KAFKA__PROPERTIES"
POSTGRESQL = "postgresql+psycopg://user:s3cret@host/db"


def mistake(environ: dict[str, str]) -> str:
    with pytest.raises(SettingsError) as caught:
        load(environ)
    assert len(caught.value.mistakes) == 1, caught.value.mistakes
    assert "s3cret" not in caught.value.mistakes[0]
    return caught.value.mistakes[0]


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://one:8081,http://two:8081", "name one URL"),
        ("http://one:80a1", "host or port"),
        ("http://one:99999", "host or port"),
        ("http://one:0", "1 to 65535"),
        ("http://[one]:8081", "host or port"),
        ("http://[::1", "host or port"),
        ("https://user:s3cret@registry.example.com", "leave the credentials out"),
        ("https://registry.example.com/path?a=b", "query"),
        ("https://registry.example.com/#a", "query"),
        ("https://xn--i-7iq.ws", "not a valid name"),
        ("https://" + "a" * 64 + ".example.com", "host"),
        ("https://re gistry", "host"),
        ("registry.example.com:8081", "write a URL"),
        ("ftp://registry.example.com", "write a URL"),
        ("https://", "write a URL"),
    ],
)
def test_a_registry_url_that_cannot_be_used(url: str, why: str) -> None:
    said = mistake({REGISTRY: url})

    assert said.startswith(f"{REGISTRY}: ")
    assert why in said
    with pytest.raises(MisconfiguredError, match=REGISTRY):
        tool_settings(SENDING, environ={REGISTRY: url, "RESYNC_KAFKA__BOOTSTRAP_SERVERS": "b:1"})


@pytest.mark.parametrize(
    "url",
    [
        "https://registry.example.com",
        "http://127.0.0.1:8081/apis/ccompat/v7/",
        "http://[::1]:8081",
        "https://bücher.example",
        "https://xn--bcher-kva.example",
        "http://schema_registry:8081",
    ],
)
def test_a_registry_url_that_can_be_used(url: str) -> None:
    assert load({REGISTRY: url}).schema_registry.url == url.rstrip("/")


@pytest.mark.parametrize(
    "content", [None, b"", b"not PEM", b"-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----"]
)
@pytest.mark.parametrize("variable", ["RESYNC_SCHEMA_REGISTRY__CA_FILE", "RESYNC_MIRAKL__CA_FILE", "SSL_CERT_FILE"])
def test_a_file_of_authorities_that_is_none(tmp_path: Path, variable: str, content: bytes | None) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)

    assert mistake({variable: str(file)}).startswith(f"{variable}: ")
    assert mistake({variable: str(tmp_path)}).startswith(f"{variable}: ")


def test_the_authorities_of_others_are_taken(tmp_path: Path) -> None:
    load({"SSL_CERT_FILE": certifi.where(), "SSL_CERT_DIR": f"{tmp_path}:/", REGISTRY: "https://r"})


def test_a_folder_of_authorities_that_does_not_exist(tmp_path: Path) -> None:
    assert mistake({"SSL_CERT_DIR": f"{tmp_path}:/missing"}).startswith("SSL_CERT_DIR: there is no readable")


def test_a_command_without_tls_does_not_look_at_authorities() -> None:
    load({"SSL_CERT_FILE": "/missing", "HTTPS_PROXY": "socks5://x"}, uses=["kafka", "topics", "schema_registry"])


@pytest.mark.parametrize("proxy", ["ftp://proxy:1", "http://proxy:a", "socks5://proxy:1080", "http://a..b"])
def test_a_proxy_that_cannot_be_used(proxy: str) -> None:
    assert mistake({"https_proxy": proxy, REGISTRY: "https://r"}).startswith("https_proxy: ")
    load({"https_proxy": "proxy:3128", REGISTRY: "https://r"})


@pytest.mark.parametrize(
    ("proxy", "why"),
    [
        ("proxy:3128", "not the URL of a proxy"),
        ("ftp://proxy:1", "not the URL of a proxy"),
        ("http://user:s3cret@proxy:a", "not the URL of a proxy"),
        ("http://user:s3cret#1@proxy:3128", "not the URL of a proxy"),
        ("http://user:1/s3cret@proxy:3128", "percent-encoded"),
        ("http://proxy:0", "1 to 65535"),
        ("http://proxy:99999", "1 to 65535"),
        ("http://proxy:3128/path", "path"),
        ("socks5://user:s3cret@proxy:1080", "SOCKS"),
        ("http://a..b", "not the URL of a proxy"),
    ],
)
def test_a_proxy_to_mirakl_that_cannot_be_used(proxy: str, why: str) -> None:
    said = mistake({"RESYNC_MIRAKL__PROXY_URL": proxy})

    assert said.startswith("RESYNC_MIRAKL__PROXY_URL: ")
    assert why in said


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy"])
def test_the_proxy_of_the_environment_is_checked_where_it_is_used(variable: str) -> None:
    said = mistake({variable: "socks5://user:s3cret@proxy"})
    assert said.startswith(f"{variable}: SOCKS proxies are not supported")
    load({variable: "socks5://proxy", "RESYNC_MIRAKL__PROXY_URL": "http://proxy:3128"})
    load({variable: "socks5://proxy"}, uses=["database_url", "insecure_hosts", "mirakl"])
    load({"ALL_PROXY": "socks5://proxy"})


@pytest.mark.parametrize("registry", [{}, {REGISTRY: "https://r"}])
@pytest.mark.parametrize("lower", ["http://proxy:3128", ""])
def test_a_proxy_that_a_lower_case_name_hides_is_not_judged(lower: str, registry: dict[str, str]) -> None:
    load({"HTTPS_PROXY": "socks5://proxy", "https_proxy": lower, **registry})
    assert mistake({"HTTPS_PROXY": lower, "https_proxy": "socks5://proxy", **registry}).startswith("https_proxy: ")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+asyncpg://user:s3cret@host/db",
        "mysql://user:s3cret@host/db",
        "postgresql+psycopg://user:s3cret@host:99999/db",
        "postgresql+psycopg://user:s3cret@host:54a2/db",
        "postgresql+psycopg://user:s3@cret@host/db",
        f"{POSTGRESQL}?sslmode=required",
        f"{POSTGRESQL}?ssl_mode=require",
        f"{POSTGRESQL}?connect_timeout=soon",
        f"{POSTGRESQL}?target_session_attrs=writable",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///file.db?mode=ro",
        "sqlite://host/file.db",
    ],
)
def test_a_database_url_that_sqlalchemy_or_the_driver_refuses(url: str) -> None:
    assert mistake({DATABASE: url}).startswith(f"{DATABASE}: ")


@pytest.mark.parametrize(
    "url",
    [
        POSTGRESQL,
        f"{POSTGRESQL}?sslmode=require&connect_timeout=5&options=-c%20search_path%3Da&application_name=x",
        "postgresql+psycopg://user:s3cret@/db?host=one:5432&host=two:5433&target_session_attrs=read-write",
        "postgresql+psycopg:///db?host=/var/run/postgresql",
        "sqlite:////var/lib/resync.db",
    ],
)
def test_a_database_url_that_can_be_used_is_taken_at_once(url: str) -> None:
    began = time.monotonic()
    assert load({DATABASE: url}).database_url.get_secret_value() == url
    assert time.monotonic() - began < 1


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("[" * 100_000, "write a JSON object"),
        ('{"client.id": "\\ud800"}', "cannot take"),
        ('{"client.id": "a\\u0000b"}', "cannot take"),
        (json.dumps({"ssl.key.location": "/missing/key.pem"}), "cannot be read"),
        ('{"linger.ms": ' + "9" * 5000 + "}", "write a JSON object"),
    ],
)
def test_properties_that_librdkafka_could_not_take(value: str, why: str) -> None:
    assert why in mistake({PROPERTIES: value})


@pytest.mark.parametrize("brokers", ["broker:0", "broker:65536", "broker:99999", "[::1]:70000"])
def test_ports_of_brokers_are_in_range(brokers: str) -> None:
    assert "1 to 65535" in mistake({"RESYNC_KAFKA__BOOTSTRAP_SERVERS": brokers})


@pytest.mark.parametrize("host", ["a" * 64, "not a host", "a..b", "http://host"])
def test_an_admin_host_that_name_resolution_would_raise_on(host: str) -> None:
    assert mistake({"RESYNC_ADMIN__HOST": host}).startswith("RESYNC_ADMIN__HOST: ")


def test_a_user_name_with_a_colon() -> None:
    environ = {"RESYNC_SCHEMA_REGISTRY__USERNAME": "a:b", "RESYNC_SCHEMA_REGISTRY__PASSWORD": "s3cret"}

    with pytest.raises(SettingsError, match="colon"):
        load(environ)


@pytest.mark.parametrize("path", ["/dev/zero", "/", "/missing", "a\0b"])
def test_a_file_that_holds_no_value(path: str) -> None:
    assert mistake({"RESYNC_API_KEY_FILE": path}).startswith("RESYNC_API_KEY_FILE: ")
