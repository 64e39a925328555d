"""``encryption-key rotate``, and where people see which keys are in use."""

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from consumer.adapters.stores import Encryption
from tests.support.policies import adjust
from tests.unit.cli.conftest import Run

OLD, NEW, OTHER = (Fernet.generate_key().decode() for _ in range(3))
NEW_PRINT, OLD_PRINT = Encryption([NEW, OLD]).fingerprints


@pytest.fixture
def filled(run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """One credential and one signing secret of the old key; both keys are set, the new one first."""
    monkeypatch.setenv("RESYNC_ENCRYPTION_KEYS", OLD)
    Path("credential").write_text("front-key")
    for command in (
        ("db", "upgrade"),
        ("clients", "add", "--name", "acme", "--url", "https://acme.example", "--credential-file", "credential"),
        ("api-keys", "issue", "--name", "erp", "--signing"),
    ):
        assert 0 == run(*command).code
    monkeypatch.setenv("RESYNC_ENCRYPTION_KEYS", f"{NEW},{OLD}")
    return run


def keys_shown(run: Run) -> str:
    rows: list[dict[str, Any]] = json.loads(run("config", "show", "--output", "json").out)
    return next(str(row["value"]) for row in rows if row["name"] == "RESYNC_ENCRYPTION_KEYS")


def examined(run: Run) -> list[tuple[str, str]]:
    rows: list[dict[str, Any]] = json.loads(run("doctor", "--output", "json").out)
    return [(row["level"], f"{row['message']} {row['remedy']}") for row in rows if row["subject"] == "encryption keys"]


def test_it_says_how_much_it_wrote_and_which_keys_can_go(filled: Run) -> None:
    ran = filled("encryption-key", "rotate")
    assert (0, "") == (ran.code, ran.out)
    assert f"Wrote 1 credential and 1 signing secret anew with the first encryption key ({NEW_PRINT})." in ran.err
    assert f"No secret needs {OLD_PRINT} any more." in ran.err


def test_before_a_rollback_it_says_what_to_do_afterwards(filled: Run) -> None:
    ran = filled("encryption-key", "rotate", "--unbound")
    assert 0 == ran.code
    assert "bound to no client specification now" in ran.err
    assert "Run `mirakl-resync-consumer encryption-key rotate` when all replicas run this release again." in ran.err


def test_it_has_the_keys_in_use_looked_at_again_before_one_is_removed(
    filled: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that has the old key first can store a secret right after the rotation."""
    said = filled("encryption-key", "rotate").err
    assert f"Put {NEW_PRINT} first in every environment" in said
    assert "remove the others when `mirakl-resync-consumer doctor` or `config show` counts no secret of theirs" in said
    monkeypatch.setenv("RESYNC_ENCRYPTION_KEYS", f"{OLD},{NEW}")
    assert 0 == filled("clients", "set", "acme", "--credential-file", "credential").code
    monkeypatch.setenv("RESYNC_ENCRYPTION_KEYS", f"{NEW},{OLD}")
    assert f"*** ({NEW_PRINT}: 1 secrets), *** ({OLD_PRINT}: 1 secrets)" == keys_shown(filled)


def test_the_keys_in_use_are_shown_by_fingerprint(filled: Run) -> None:
    assert f"*** ({NEW_PRINT}: 0 secrets), *** ({OLD_PRINT}: 2 secrets)" == keys_shown(filled)
    filled("encryption-key", "rotate")
    assert f"*** ({NEW_PRINT}: 2 secrets), *** ({OLD_PRINT}: 0 secrets)" == keys_shown(filled)


def test_no_output_shows_a_key(filled: Run) -> None:
    for command in (("config", "show"), ("encryption-key", "rotate")):
        ran = filled(*command)
        assert not any(key in ran.out + ran.err for key in (OLD, NEW))


def test_without_a_database_config_show_still_shows_everything(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESYNC_ENCRYPTION_KEYS", f"{NEW},{OLD}")
    ran = run("config", "show")
    assert 0 == ran.code
    assert "It is not known which encryption keys are in use: The database" in ran.err
    assert f"*** ({NEW_PRINT}), *** ({OLD_PRINT})" == keys_shown(run)


def test_doctor_says_which_keys_are_still_needed(filled: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESYNC_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
    adjust(monkeypatch, "consumer.adapters.kafka.topic_admin", "ADMIN", reach_timeout=0.2)
    (_, first), (level, other) = examined(filled)
    assert f"({NEW_PRINT}) encrypts 0 stored secrets" in first
    assert "WARN" == level
    assert f"({OLD_PRINT}) still encrypts 2 stored secrets." in other
    assert "`mirakl-resync-consumer encryption-key rotate`" in other
    filled("encryption-key", "rotate")
    (_, first), (level, other) = examined(filled)
    assert f"({NEW_PRINT}) encrypts 2 stored secrets" in first
    assert "OK" == level
    assert f"({OLD_PRINT}) is not in use: it can be removed." in other


def test_a_secret_of_a_key_that_is_lost_is_named(filled: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESYNC_ENCRYPTION_KEYS", OTHER)
    ran = filled("encryption-key", "rotate")
    assert 1 == ran.code
    assert "Wrote 0 credentials and 0 signing secrets" in ran.err
    assert "error: The secret of client specification 'acme' of tenant 'default'" in ran.err
    assert "error: The secret of API key 'erp' of tenant 'default'" in ran.err


def test_it_needs_the_database_and_the_keys(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = run("encryption-key", "rotate")
    assert 2 == ran.code
    assert "RESYNC_ENCRYPTION_KEYS" in ran.err
    monkeypatch.setenv("RESYNC_ENCRYPTION_KEYS", NEW)
    ran = run("encryption-key", "rotate")
    assert 1 == ran.code
    assert "db upgrade" in ran.err
