"""``doctor`` without brokers: it looks on after each failure and names each remedy."""

import json
import sqlite3
from contextlib import closing
from typing import Any

import pytest
from cryptography.fernet import Fernet

from consumer.adapters.kafka import topic_admin as kafka_admin
from tests.support.policies import adjust
from tests.unit.cli.conftest import Ran, Run


@pytest.fixture(autouse=True)
def _no_broker(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001  clears the environment first
    monkeypatch.setenv("RESYNC_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
    adjust(monkeypatch, kafka_admin, "ADMIN", reach_timeout=0.2)


def examined(run: Run) -> tuple[Ran, dict[str, dict[str, Any]]]:
    ran = run("doctor", "--output", "json")
    return ran, {row["subject"]: row for row in json.loads(ran.out)}


def test_unreachable_brokers_alone_end_with_6(stores: Run) -> None:
    stores("api-keys", "issue", "--name", "ada")
    ran, rows = examined(stores)
    assert 6 == ran.code
    assert ["brokers"] == [subject for subject, row in rows.items() if row["level"] == "FAIL"]
    assert "127.0.0.1:1" in rows["brokers"]["message"]
    assert "RESYNC_KAFKA__BOOTSTRAP_SERVERS" in rows["brokers"]["remedy"]


def test_a_database_without_keys_and_clients_is_not_ready(stores: Run) -> None:
    ran, rows = examined(stores)
    assert 1 == ran.code
    assert "FAIL" == rows["API keys"]["level"]
    assert "api-keys issue" in rows["API keys"]["remedy"]
    assert "WARN" == rows["client specifications"]["level"]


def test_a_missing_database_names_its_remedy(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESYNC_ENCRYPTION_KEYS", Fernet.generate_key().decode())
    ran, rows = examined(run)
    assert 1 == ran.code
    assert "FAIL" == rows["database"]["level"]
    assert "db upgrade" in rows["database"]["remedy"]


def test_a_database_of_a_newer_release_is_fine_while_it_lists_this_one(stores: Run) -> None:
    with closing(sqlite3.connect("mirakl-resync.db")) as database, database:
        database.execute("INSERT INTO supported_revisions VALUES ('9999')")
    _, rows = examined(stores)
    assert "OK" == rows["database"]["level"]
    assert "newer release (schema 9999), which supports this one" in rows["database"]["message"]


def test_a_database_that_lost_a_table_names_its_remedy(stores: Run) -> None:
    with closing(sqlite3.connect("mirakl-resync.db")) as database:
        database.execute("DROP TABLE api_keys")
    ran, rows = examined(stores)
    assert 1 == ran.code
    assert "has lost api_keys." in rows["database"]["message"]
    assert rows["database"]["remedy"].startswith("Restore it from a backup")


def test_a_registry_that_is_unreachable_names_its_remedy_as_a_sentence(
    stores: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores("api-keys", "issue", "--name", "ada")
    monkeypatch.setenv("RESYNC_SCHEMA_REGISTRY__URL", "http://127.0.0.1:1")
    ran, rows = examined(stores)
    assert 6 == ran.code
    row = rows["schema registry"]
    assert row["message"].endswith(").")
    assert "Check that it runs. Check RESYNC_SCHEMA_REGISTRY__URL, including its path." == row["remedy"]


def test_keys_that_cannot_be_used_are_a_risk(stores: Run) -> None:
    stores("api-keys", "issue", "--name", "ada", "--role", "SUPPLIER")
    stores("api-keys", "issue", "--name", "bob")
    stores("api-keys", "revoke", "bob")
    _, rows = examined(stores)
    assert "WARN" == rows["API keys"]["level"]


def test_keys_that_cannot_sign_are_a_risk_where_only_signatures_are_accepted(
    stores: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores("api-keys", "issue", "--name", "ada")
    monkeypatch.setenv("RESYNC_ACCEPT_CREDENTIALS", "signature")
    _, rows = examined(stores)
    assert "WARN" == rows["API keys"]["level"]
    assert "no valid operator's key can sign" in rows["API keys"]["message"]
    assert "--signing" in rows["API keys"]["remedy"]

    stores("api-keys", "issue", "--name", "bob", "--signing")
    _, rows = examined(stores)
    assert ("OK", "1 of 2 may resynchronize.") == (rows["API keys"]["level"], rows["API keys"]["message"])


def test_a_credential_of_another_key_fails_and_is_named(stores: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    add = ("clients", "add", "--name", "acme", "--url", "https://acme.mirakl.net", "--credential-file", "-")
    stores(*add, stdin=b"hunter2")
    monkeypatch.setenv("RESYNC_ENCRYPTION_KEYS", Fernet.generate_key().decode())
    ran, rows = examined(stores)
    assert 1 == ran.code
    assert "FAIL" == rows["stored row"]["level"]
    assert "'acme'" in rows["stored row"]["message"]
    assert "hunter2" not in ran.out


def test_all_missing_settings_are_named_before_anything_is_looked_at(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RESYNC_KAFKA__BOOTSTRAP_SERVERS")
    ran = run("doctor")
    assert (2, "") == (ran.code, ran.out)
    assert "RESYNC_KAFKA__BOOTSTRAP_SERVERS is not set." in ran.err
    assert "RESYNC_ENCRYPTION_KEYS is not set." in ran.err


def test_what_librdkafka_refuses_is_a_wrong_setting(stores: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESYNC_KAFKA__PROPERTIES", '{"security.protocol": "nonsense"}')
    ran, rows = examined(stores)
    assert (2, "FAIL") == (ran.code, rows["settings"]["level"])
    assert "RESYNC_KAFKA__PROPERTIES" in rows["settings"]["message"]
    assert "security.protocol" in rows["settings"]["message"]
