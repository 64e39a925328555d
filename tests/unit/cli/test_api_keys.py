"""``api-keys``, as an operator meets it."""

import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.conftest import Run


def listed(run: Run) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(run("api-keys", "list", "--output", "json").out)
    return rows


def test_a_new_key_is_alone_on_stdout_and_stored_as_its_hash(stores: Run, tmp_path: Path) -> None:
    ran = stores("api-keys", "issue", "--name", "monitoring")
    assert 0 == ran.code
    (key,) = ran.out.splitlines()
    assert len(key) > 40
    assert key not in ran.err
    stored = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert key.encode() not in stored
    assert sha256(key.encode()).hexdigest().encode() in stored


def test_a_key_is_for_an_operator_of_the_default_tenant_and_has_no_end(stores: Run) -> None:
    stores("api-keys", "issue", "--name", "monitoring")
    (row,) = listed(stores)
    assert ("default", "monitoring", "OPERATOR") == (row["tenant"], row["name"], row["role"])
    assert (None, False) == (row["expires_at"], row["revoked"])
    assert {"id", "tenant", "name", "role", "created_at", "expires_at", "revoked", "can_sign"} == row.keys()


def test_a_key_may_have_another_role_tenant_and_life(stores: Run) -> None:
    options = ("--role", "SUPPLIER", "--tenant", "north", "--expires-in", "90d")
    assert "valid until" in stores("api-keys", "issue", "--name", "ada", *options).err
    (row,) = listed(stores)
    assert ("SUPPLIER", "north") == (row["role"], row["tenant"])
    life = datetime.fromisoformat(row["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=89, hours=23) < life < timedelta(days=90)


def test_a_revoked_key_stays_listed_as_that(stores: Run) -> None:
    stores("api-keys", "issue", "--name", "ada", "--tenant", "north")
    assert 2 == stores("api-keys", "revoke", "ada").code
    assert 0 == stores("api-keys", "revoke", "ada", "--tenant", "north").code
    assert [True] == [row["revoked"] for row in listed(stores)]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--expires-in", "soon"), "'soon' is not a duration: write it like"),
        (("--expires-in", "0s"), "expired already"),
        (("--expires-in", "9999999999d"), "beyond the year 9999"),
        (("--role", "ADMIN"), "'ADMIN' is not one of"),
        (("--tenant", " "), "tenant"),
    ],
)
def test_wrong_input_makes_no_key(stores: Run, options: tuple[str, ...], complaint: str) -> None:
    ran = stores("api-keys", "issue", "--name", "ada", *options)
    assert (2, "") == (ran.code, ran.out)
    assert complaint in ran.err
    assert [] == listed(stores)


def test_the_list_shows_which_keys_can_sign(stores: Run) -> None:
    ran = stores("api-keys", "issue", "--name", "erp", "--signing")
    assert 0 == ran.code
    assert "able to sign" in ran.err
    assert "able to sign" not in stores("api-keys", "issue", "--name", "monitoring").err
    assert {"erp": True, "monitoring": False} == {row["name"]: row["can_sign"] for row in listed(stores)}
    assert "can sign" in stores("api-keys", "list").out


def test_a_key_that_can_sign_needs_encryption_keys(stores: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RESYNC_ENCRYPTION_KEYS")
    ran = stores("api-keys", "issue", "--name", "erp", "--signing")
    assert (2, "") == (ran.code, ran.out)
    assert "RESYNC_ENCRYPTION_KEYS" in ran.err
    assert [] == listed(stores)


def test_keys_need_the_database_alone(stores: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESYNC_ENCRYPTION_KEYS", "nonsense")
    monkeypatch.setenv("RESYNC_REQUEST_DEADLINE", "nonsense")
    assert 0 == stores("api-keys", "issue", "--name", "ada").code
