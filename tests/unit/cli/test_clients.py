"""``clients``, as an operator meets it."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from schemas.settings.secret_files import LARGEST_BYTES
from tests.unit.cli.conftest import Run

URL = "https://acme.mirakl.net"
ADD = ("clients", "add", "--url", URL, "--credential-file", "-")


def add(run: Run, name: str, *options: str) -> str:
    ran = run(*ADD, "--name", name, *options, stdin=b"hunter2\n")
    assert 0 == ran.code, ran.err
    return ran.out.strip()


def listed(run: Run, *options: str) -> dict[str, dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(run("clients", "list", "--output", "json", *options).out)
    return {row["name"]: row for row in rows}


def test_a_new_client_prints_its_id_alone_and_is_active(stores: Run) -> None:
    row_id = add(stores, "acme")
    row = listed(stores)["acme"]
    assert row_id == row["id"]
    assert {
        "tenant": "default",
        "base_url": URL,
        "auth_scheme": "bearer",
        "active": True,
        "suspended": False,
        "products_per_call": 1000,
        "concurrent_calls": 4,
        "calls_per_hour": None,
    }.items() <= row.items()
    assert {"created_at", "updated_at"} <= row.keys()


def test_all_options_are_kept(stores: Run) -> None:
    row_id = "7d9f0c52-6c1e-4b4f-9d0f-0c7c2f2f8f11"
    options = ("--auth", "api-key", "--inactive", "--id", row_id.upper(), "--tenant", "north")
    limits = ("--products-per-call", "5", "--concurrent-calls", "2", "--calls-per-hour", "60")
    assert row_id == add(stores, "acme", *options, *limits)
    assert {
        "tenant": "north",
        "auth_scheme": "api-key",
        "active": False,
        "products_per_call": 5,
        "concurrent_calls": 2,
        "calls_per_hour": 60,
    }.items() <= listed(stores)["acme"].items()


def test_no_command_shows_a_credential(stores: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESYNC_MIRAKL__PROXY_URL", "http://127.0.0.1:1")  # no test looks for a real Mirakl
    shown = add(stores, "acme")
    for ran in (stores("clients", "list"), stores("clients", "list", "--output", "json"), stores("doctor")):
        shown += ran.out + ran.err
    assert "hunter2" not in shown
    assert b"hunter2" not in b"".join(file.read_bytes() for file in tmp_path.iterdir())


def test_a_change_touches_what_is_given_and_nothing_else(stores: Run) -> None:
    add(stores, "acme", "--calls-per-hour", "60")
    assert 0 == stores("clients", "set", "acme", "--name", "emca", "--concurrent-calls", "9").code
    row = listed(stores)["emca"]
    assert (9, 60, True) == (row["concurrent_calls"], row["calls_per_hour"], row["active"])
    assert 0 == stores("clients", "set", row["id"], "--calls-per-hour", "unlimited").code
    assert listed(stores)["emca"]["calls_per_hour"] is None


def test_a_new_credential_replaces_the_old_one(stores: Run, tmp_path: Path) -> None:
    add(stores, "acme")
    (tmp_path / "new.key").write_text("hunter3\n")

    def stored() -> object:
        with sqlite3.connect(tmp_path / "mirakl-resync.db") as connection:
            return connection.execute("SELECT credential FROM client_specifications").fetchone()[0]

    before = stored()
    assert 0 == stores("clients", "set", "acme", "--credential-file", "new.key").code
    assert before != stored()


def test_only_a_new_credential_needs_the_encryption_keys(stores: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    add(stores, "acme")
    monkeypatch.setenv("RESYNC_ENCRYPTION_KEYS_FILE", "/does/not/exist")
    monkeypatch.delenv("RESYNC_ENCRYPTION_KEYS")
    assert 0 == stores("clients", "set", "acme", "--concurrent-calls", "1").code
    assert 0 == stores("clients", "list").code
    refused = stores("clients", "set", "acme", "--credential-file", "-", stdin=b"hunter3")
    assert 2 == refused.code
    assert "RESYNC_ENCRYPTION_KEYS_FILE" in refused.err


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        ("RESYNC_ENCRYPTION_KEYS", "", "RESYNC_ENCRYPTION_KEYS is not set"),
        ("RESYNC_ENCRYPTION_KEYS", "garbage", "RESYNC_ENCRYPTION_KEYS: number 1 of 1 is not a Fernet key"),
        ("RESYNC_ENCRYPTION_KEYS_FILE", "/does/not/exist", "RESYNC_ENCRYPTION_KEYS_FILE: cannot read"),
    ],
)
def test_a_new_origin_says_what_is_wrong_with_the_encryption_keys(
    stores: Run, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, complaint: str
) -> None:
    add(stores, "acme")
    monkeypatch.delenv("RESYNC_ENCRYPTION_KEYS")
    monkeypatch.setenv(variable, value)
    refused = stores("clients", "set", "acme", "--url", "https://other.mirakl.net")
    assert 2 == refused.code
    assert complaint in refused.err
    assert URL == listed(stores)["acme"]["base_url"]


@pytest.mark.parametrize(
    ("value", "shown"), [("CAST(X'ff41' AS BLOB)", "b'\\xffA'"), ("9e999", "inf"), ("'x' || char(155)", "x\x9b")]
)
def test_a_value_of_another_type_leaves_the_list_json(stores: Run, tmp_path: Path, value: str, shown: str) -> None:
    """SQLite takes anything into any column, and people write into it by hand."""
    add(stores, "acme")
    with closing(sqlite3.connect(tmp_path / "mirakl-resync.db")) as connection, connection:
        connection.execute("PRAGMA ignore_check_constraints = 1")
        connection.execute(f"UPDATE client_specifications SET products_per_call = {value}")  # noqa: S608 - ours
    ran = stores("clients", "list", "--output", "json")
    assert 0 == ran.code
    (row,) = json.loads(ran.out, parse_constant=pytest.fail)
    assert shown == row["products_per_call"]
    assert ran.out.replace("\n", "").isprintable()


@pytest.mark.parametrize(
    ("command", "change"),
    [
        ("deactivate", {"active": False}),
        ("activate", {"active": True}),
        ("suspend", {"suspended": True}),
        ("resume", {"suspended": False}),
    ],
)
def test_a_client_is_switched_by_name_or_id(stores: Run, command: str, change: dict[str, bool]) -> None:
    row_id = add(stores, "acme", "--tenant", "north")
    for identifier in (("acme", "--tenant", "north"), (row_id,)):
        ran = stores("clients", command, *identifier)
        assert (0, "") == (ran.code, ran.out)
        assert change.items() <= listed(stores)["acme"].items()


def test_a_removed_client_is_gone(stores: Run) -> None:
    add(stores, "acme")
    assert 0 == stores("clients", "remove", "acme").code
    ran = stores("clients", "list")
    assert (0, "") == (ran.code, ran.out)
    assert "clients add" in ran.err


def test_the_list_is_of_all_tenants_or_of_one(stores: Run) -> None:
    add(stores, "acme")
    add(stores, "emca", "--tenant", "north")
    assert ["acme", "emca"] == sorted(listed(stores))
    assert ["emca"] == list(listed(stores, "--tenant", "north"))


def test_in_a_pipe_the_table_has_one_whole_line_a_row(stores: Run) -> None:
    row_id = add(stores, "a" * 200)
    header, row = stores("clients", "list").out.splitlines()
    assert header.startswith("id ")
    assert [row_id, "default", "a" * 200, URL, "bearer", "yes", "no", "1000", "4", "-"] == row.split()


def test_what_would_steer_a_terminal_is_shown_as_an_escape(stores: Run, tmp_path: Path) -> None:
    add(stores, "acme")
    with sqlite3.connect(tmp_path / "mirakl-resync.db") as connection:
        connection.execute("UPDATE client_specifications SET name = 'a' || char(27) || '[31m'")
    out = stores("clients", "list").out
    assert "\x1b" not in out
    assert r"a\x1b[31m" in out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("clients", "set", "acme"), "Nothing to change"),
        (("clients", "set", "nobody", "--name", "x"), "There is no 'nobody' in tenant 'default'"),
        (("clients", "remove", "acme", "--tenant", "north"), "not in tenant 'north' but in 'default'"),
        ((*ADD, "--name", "acme"), "acme"),
        ((*ADD, "--name", "other", "--id", "nonsense"), "must be a UUID"),
        ((*ADD, "--name", "other", "--url", "http://mirakl.example.com"), "https"),
        ((*ADD, "--name", "other", "--products-per-call", "0"), "products_per_call must be a whole number"),
        ((*ADD, "--name", "other", "--calls-per-hour", "many"), "neither a whole number nor `unlimited`"),
        ((*ADD, "--name", "other", "--credential-file", "/no/file"), "cannot read '/no/file'"),
        ((*ADD, "--name", "other", "--credential-file", "/dev/zero"), "'/dev/zero' is larger than 1048576 bytes. Name"),
        (("clients", "add", "--name", "other"), "Missing option '--url'"),
    ],
)
def test_wrong_input_is_said_in_one_sentence_and_changes_nothing(
    stores: Run, arguments: tuple[str, ...], complaint: str
) -> None:
    add(stores, "acme")
    before = listed(stores)
    ran = stores(*arguments, stdin=b"hunter2")
    assert (2, "") == (ran.code, ran.out)
    assert complaint in ran.err
    assert before == listed(stores)


def test_a_credential_without_end_on_standard_input_is_refused(stores: Run) -> None:
    ran = stores(*ADD, "--name", "acme", stdin=bytes(LARGEST_BYTES + 1))
    assert (2, "") == (ran.code, ran.out)
    assert f"'-' is larger than {LARGEST_BYTES} bytes" in ran.err


@pytest.mark.parametrize("credential", [b"", b"\n", b"two\nlines", b"\xff\xfe"])
def test_what_is_no_credential_is_refused_and_not_repeated(stores: Run, credential: bytes) -> None:
    ran = stores(*ADD, "--name", "acme", stdin=credential)
    assert (2, "") == (ran.code, ran.out)
    assert "The credential" in ran.err
    assert "lines" not in ran.err


def test_plain_http_is_for_hosts_that_are_named_insecure(stores: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESYNC_INSECURE_HOSTS", "Simulator")
    add(stores, "acme", "--url", "http://simulator:8090")
    assert "http://simulator:8090" == listed(stores)["acme"]["base_url"]


def test_a_host_that_is_not_allowed_is_refused_where_it_is_given(stores: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    add(stores, "acme", "--url", "https://elsewhere.example")
    monkeypatch.setenv("RESYNC_MIRAKL__ALLOWED_HOSTS", "*.mirakl.net")
    assert 0 == stores("clients", "set", "acme", "--concurrent-calls", "2").code
    for arguments in (
        ("clients", "set", "acme", "--url", "https://other.example"),
        ("clients", "add", "--name", "other", "--credential-file", "-", "--url", "https://other.example"),
    ):
        ran = stores(*arguments, stdin=b"hunter2")
        assert (2, "") == (ran.code, ran.out)
        assert "RESYNC_MIRAKL__ALLOWED_HOSTS" in ran.err
    assert 0 == stores("clients", "set", "acme", "--url", URL).code
    assert [URL] == [row["base_url"] for row in listed(stores).values()]


def test_a_mistake_in_the_way_out_keeps_nobody_from_suspending_a_client(
    stores: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(stores, "acme")
    monkeypatch.setenv("RESYNC_MIRAKL__PROXY_URL", "nonsense")
    monkeypatch.setenv("RESYNC_MIRAKL__CA_FILE", "/missing")
    assert 0 == stores("clients", "suspend", "acme").code
    assert 2 == stores(*ADD, "--name", "other", stdin=b"hunter2").code


def test_without_a_database_the_remedy_is_named(run: Run) -> None:
    ran = run("clients", "list")
    assert (1, "") == (ran.code, ran.out)
    assert "`mirakl-resync-consumer db upgrade`" in ran.err


def test_set_promises_no_defaults_where_it_leaves_alone_what_is_not_given(run: Run) -> None:
    assert "[default: bearer]" in run("clients", "add", "--help").out
    assert "[default: bearer]" not in run("clients", "set", "--help").out


def test_on_a_narrow_terminal_each_field_has_a_line(stores: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    row_id = add(stores, "acme")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)

    lines = stores("clients", "list").out.splitlines()

    assert lines[0].split() == ["id", row_id]
    assert ["url", URL] in [line.split() for line in lines]
    assert max(map(len, lines)) <= 80
