"""``clients check`` against a simulated Mirakl over sockets: each trouble gets its sentence, and nothing is sent."""

import asyncio
import gzip
import json
import sqlite3
import ssl
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event, Thread

import httpx
import pytest
from cryptography.fernet import Fernet

from consumer.adapters.mirakl.check import UNKNOWN_TRACKING_ID, judge
from producer_tools.sandbox.mirakl import MiraklSimulator, Rules
from producer_tools.sandbox.mirakl.wire import Delivery, Request
from tests.support.certificates import PrivateAuthority
from tests.support.parts import free_port
from tests.support.proxies import RecordingProxy
from tests.unit.cli.conftest import Ran, Run, run

__all__ = ["run"]  # a fixture

CREDENTIAL = "mirakl-s3cret"
JSON = {"content-type": "application/json"}


class WatchedMirakl(MiraklSimulator):
    """Keeps what it is asked."""

    def __init__(self) -> None:
        super().__init__(seed=1, shout=lambda _: None)
        self.asked: list[tuple[str, str]] = []

    def answer(self, request: Request) -> Delivery:
        self.asked.append((request.method, request.target))
        return super().answer(request)


@contextmanager
def served(
    mirakl: WatchedMirakl, tls: ssl.SSLContext | None = None, proxy: RecordingProxy | None = None
) -> Iterator[str]:
    """Serve on a thread of its own, since the command has a loop of its own; provides the base URL."""
    ready, done = Event(), Event()

    async def serve() -> None:
        async with mirakl.serving(ssl_context=tls):
            if proxy is None:
                ready.set()
                await asyncio.to_thread(done.wait)
                return
            proxy.target = ("127.0.0.1", int(mirakl.base_url.rpartition(":")[2]))
            async with proxy.serving():
                ready.set()
                await asyncio.to_thread(done.wait)

    thread = Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert ready.wait(10)
    try:
        yield mirakl.base_url
    finally:
        done.set()
        thread.join()


@pytest.fixture
def stores(run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    for variable in ("https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("RESYNC_ENCRYPTION_KEYS", Fernet.generate_key().decode())
    assert run("db", "upgrade").code == 0
    return run


def add(run: Run, name: str, url: str, *options: str) -> Ran:
    added = run(
        *("clients", "add", "--name", name, "--url", url, "--credential-file", "-"),
        *options,
        stdin=CREDENTIAL.encode(),
    )
    assert 0 == added.code, added.err
    return added


def checked(run: Run, *arguments: str) -> tuple[int, dict[str, dict[str, str]]]:
    """Return the exit code and the rows by name."""
    ran = run("clients", "check", "--output", "json", *arguments)
    assert CREDENTIAL not in ran.out + ran.err
    return ran.code, {row["name"]: row for row in json.loads(ran.out)}


def test_a_good_client_passes_with_one_question_and_no_synchronization(stores: Run) -> None:
    mirakl = WatchedMirakl()
    with served(mirakl) as base_url:
        added = add(stores, "acme", f"{base_url}/c/acme/api/")
        assert f"clients check {added.out.strip()}" in added.err
        assert "clients check" in stores("clients", "set", "acme", "--auth", "api-key").err
        code, rows = checked(stores)
    assert (0, "OK", "") == (code, rows["acme"]["level"], rows["acme"]["remedy"])
    assert [("GET", f"/c/acme/api/mcm/products/synchronization/{UNKNOWN_TRACKING_ID}")] == mirakl.asked
    assert 0 == mirakl.counters("acme").calls


def test_each_failing_client_gets_its_sentence_and_the_others_pass(stores: Run, tmp_path: Path) -> None:
    mirakl = WatchedMirakl()
    tls = PrivateAuthority().server_side("127.0.0.1", tmp_path)
    with served(mirakl) as base_url, served(WatchedMirakl(), tls) as unknown_authority:
        mirakl.set_rules(Rules(revoked=True), instance="revoked")
        add(stores, "good", f"{base_url}/c/good")
        add(stores, "revoked", f"{base_url}/c/revoked", "--tenant", "north", "--inactive")
        add(stores, "wrong-path", f"{base_url}/shop")
        add(stores, "down", f"http://127.0.0.1:{free_port()}")
        add(stores, "no-name", "https://mirakl.invalid")
        add(stores, "untrusted", unknown_authority)
        add(stores, "no-tls", base_url.replace("http:", "https:"))
        assert 0 == stores("clients", "suspend", "good").code
        code, rows = checked(stores)
        assert 1 == code
        assert 0 == checked(stores, "good")[0]
        assert {"revoked"} == checked(stores, "--tenant", "north")[1].keys()
        assert {"good", "revoked"} == checked(stores, "good", rows["revoked"]["id"], rows["good"]["id"])[1].keys()
    expected = {
        "good": ("accepts the credential (HTTP 404: ", ""),
        "revoked": ("refuses the credential (HTTP 401: Unauthorized)", "--credential-file"),
        "wrong-path": ("this is not Mirakl's API", "base URL"),
        "down": ("connection refused", "RESYNC_MIRAKL__PROXY_URL"),
        "no-name": ("the host name cannot be looked up", "host of the base URL"),
        "untrusted": ("the certificate is not accepted", "RESYNC_MIRAKL__CA_FILE"),
        "no-tls": ("TLS failed", "whether https is spoken"),
    }
    assert expected.keys() == rows.keys()
    for name, (message, remedy) in expected.items():
        assert message in rows[name]["message"]
        assert remedy in rows[name]["remedy"]
        assert ("OK" if name == "good" else "FAIL") == rows[name]["level"]


def test_a_client_behind_a_proxy_is_checked_through_it(
    stores: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, proxy = PrivateAuthority(), RecordingProxy()
    (tmp_path / "ca.pem").write_bytes(authority.certificate)
    with served(WatchedMirakl(), authority.server_side("127.0.0.1", tmp_path), proxy) as base_url:
        add(stores, "acme", base_url)
        monkeypatch.setenv("RESYNC_MIRAKL__CA_FILE", str(tmp_path / "ca.pem"))
        monkeypatch.setenv("RESYNC_MIRAKL__PROXY_URL", f"http://resync:pr0xy@127.0.0.1:{proxy.port}")
        assert 0 == checked(stores)[0]
        assert 1 == len(proxy.received)
        monkeypatch.setenv("RESYNC_MIRAKL__PROXY_URL", f"http://resync:pr0xy@127.0.0.1:{free_port()}")
        ran = stores("clients", "check")
        assert 1 == ran.code
        assert "no connection to the proxy: connection refused" in ran.out
        assert "Check RESYNC_MIRAKL__PROXY_URL" in ran.out
        assert "pr0xy" not in ran.out + ran.err
        monkeypatch.setenv("RESYNC_MIRAKL__ALLOWED_HOSTS", "*.mirakl.net")
        assert "RESYNC_MIRAKL__ALLOWED_HOSTS" in checked(stores)[1]["acme"]["remedy"]


def test_a_client_that_does_not_exist_or_keys_that_are_missing_are_wrong_usage(
    stores: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "There is no 'nobody'" in stores("clients", "check", "nobody").err
    empty = stores("clients", "check")
    assert (0, "") == (empty.code, empty.out)
    assert "clients add" in empty.err
    monkeypatch.delenv("RESYNC_ENCRYPTION_KEYS")
    assert 2 == stores("clients", "check").code


@pytest.mark.parametrize(
    ("status", "headers", "body", "message", "remedy"),
    [
        (404, JSON, b'{"message": "no such synchronization", "status": 404}', "", ""),
        (
            404,
            JSON | {"content-encoding": "gzip"},
            gzip.compress(b'{"message": "no such synchronization"}', mtime=0),
            "",
            "",
        ),
        (404, {}, b"", "not a JSON object (HTTP 404)", "--url"),
        (404, JSON, b'["no such synchronization"]', "not a JSON object", "--url"),
        (404, {"content-type": "text/plain"}, b"404 page not found\n", "404 page not found", "--url"),
        (404, {"content-type": "text/html"}, b"<html>Not Found</html>", "not Mirakl's API", "--url"),
        (404, {}, b"  <!doctype html>", "not Mirakl's API", "--url"),
        (401, JSON, b'{"message": "Unauthorized"}', "refuses the credential", "--auth"),
        (403, JSON, b'{"message": "Forbidden"}', "forbids the call", "product synchronization"),
        (403, {"content-type": "text/html"}, b"<h1>Blocked</h1>", "forbids the call", "firewall"),
        (200, {"content-type": "text/html"}, b"<title>Log in</title>", "login page", "--url"),
        (200, JSON, b'{"tracking_id": "x", "status": "COMPLETE"}', "cannot exist", "--url"),
        (204, {}, b"", "cannot exist", "--url"),
        (302, {"location": "https://u:p@login.example/?key=x"}, b"", "login.example", "--url"),
        (301, {}, b"", "leads elsewhere", "--url"),
        (400, JSON, b"{}", "HTTP 400", "--url"),
        (405, JSON, b"{}", "HTTP 405", "--url"),
        (429, {"retry-after": "90"}, b"", "quota", "after 90 s"),
        (429, {}, b"", "quota", "later."),
        (503, {"content-type": "text/html"}, b"<h1>Maintenance</h1>", "HTTP 503: Maintenance", "later"),
        (504, {}, b"", "HTTP 504", "later"),
    ],
)
def test_what_an_answer_says(status: int, headers: Mapping[str, str], body: bytes, message: str, remedy: str) -> None:
    result = judge(status, httpx.Headers(headers), body, CREDENTIAL)
    assert (not message) == result.passed
    assert message in result.message
    assert remedy in result.remedy
    assert "u:p" not in result.message


def test_what_a_404_says_is_shown_since_a_gateway_may_have_said_it() -> None:
    result = judge(404, httpx.Headers(JSON), b'{"message": "no Route matched with those values"}', CREDENTIAL)
    assert "no Route matched with those values" in result.message
    assert "are good" not in result.message


def test_a_row_that_the_service_cannot_read_fails_and_one_that_it_can_is_checked(stores: Run) -> None:
    """Rows may be written by hand, past the constraints: as with an id in capitals, or none."""
    with served(WatchedMirakl()) as base_url:
        for name in ("capitals", "good", "not-a-uuid"):
            add(stores, name, f"{base_url}/c/{name}")
        (file,) = Path().glob("*.db")
        with closing(sqlite3.connect(file)) as connection, connection:
            connection.execute("PRAGMA ignore_check_constraints = ON")
            connection.execute("UPDATE client_specifications SET id = upper(id) WHERE name = 'capitals'")
            connection.execute("UPDATE client_specifications SET id = 'acme-1' WHERE name = 'not-a-uuid'")
        code, rows = checked(stores)
        assert (1, 1) == (code, checked(stores, "not-a-uuid")[0])
        assert 0 == checked(stores, "capitals")[0]
    assert {"capitals": "OK", "good": "OK", "not-a-uuid": "FAIL"} == {name: row["level"] for name, row in rows.items()}
    assert "'acme-1' is left out: its id is not a UUID." in rows["not-a-uuid"]["message"]


def test_a_mirakl_that_repeats_the_credential_is_not_quoted_with_it() -> None:
    result = judge(401, httpx.Headers(JSON), json.dumps({"message": f"no such key: {CREDENTIAL}"}).encode(), CREDENTIAL)
    assert CREDENTIAL not in result.message
