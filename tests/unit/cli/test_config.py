"""``config show``, ``encryption-key`` and ``db upgrade``."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from schemas.settings import SETTINGS
from tests.unit.cli.conftest import Run


def test_all_settings_are_shown_with_their_source_and_without_secrets(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESYNC_API_KEY", "hunter2")
    monkeypatch.setenv("RESYNC_KAFKA__PROPERTIES", '{"sasl.password": "hunter2"}')
    ran = run("config", "show", "--output", "json")
    rows = {row["name"]: row for row in json.loads(ran.out)}
    assert [setting.name for setting in SETTINGS] == list(rows)
    assert ("***", "environment") == (rows["RESYNC_API_KEY"]["value"], rows["RESYNC_API_KEY"]["source"])
    assert "hunter2" not in ran.out + run("config", "show").out


def test_all_mistakes_are_shown_at_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESYNC_CALL_TIMEOUT", "soon")
    monkeypatch.setenv("RESYNC_ADMIN__PORT", "http")
    ran = run("config", "show")
    assert (2, "") == (ran.code, ran.out)
    assert "RESYNC_CALL_TIMEOUT: " in ran.err
    assert "RESYNC_ADMIN__PORT: " in ran.err


def test_an_encryption_key_works_and_is_new_each_time(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESYNC_ENCRYPTION_KEYS_FILE", "/not/there/yet")
    keys = [run("encryption-key").out.strip() for _ in range(2)]
    assert 2 == len(set(keys))
    for key in keys:
        Fernet(key)


def test_an_upgrade_makes_the_tables_once(run: Run) -> None:
    first, second = run("db", "upgrade"), run("db", "upgrade")
    assert (0, 0) == (first.code, second.code)
    assert "upgraded to this release" in first.err
    assert "already of this release" in second.err


def test_a_database_of_a_newer_release_is_left_alone_and_named_as_that(stores: Run) -> None:
    with closing(sqlite3.connect("mirakl-resync.db")) as hand, hand:
        hand.execute("INSERT INTO supported_revisions VALUES ('9999')")
    ran = stores("db", "upgrade")
    assert 0 == ran.code
    assert "already of a newer release (schema 9999), which supports this one" in ran.err
    with closing(sqlite3.connect("mirakl-resync.db")) as hand, hand:
        hand.execute("DELETE FROM supported_revisions WHERE revision <> '9999'")
    for command in (("db", "upgrade"), ("clients", "list")):
        refused = stores(*command)
        assert 1 == refused.code
        assert "no longer supports programs of this one" in refused.err
        assert "Run that release of the program" in refused.err


@pytest.mark.parametrize("content", [None, b"no database, but something else\n"])
def test_an_upgrade_leaves_alone_what_is_no_database(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None
) -> None:
    other = tmp_path / "other"
    if content is None:
        other.mkdir()
    else:
        other.write_bytes(content)
    other.chmod(0o755)
    monkeypatch.setenv("RESYNC_DATABASE_URL", f"sqlite:///{other}")
    assert 1 == run("db", "upgrade").code
    assert 0o755 == other.stat().st_mode & 0o777
