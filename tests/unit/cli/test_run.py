"""``run`` where something is missing: one message, an exit code, no traceback."""

import pytest
from cryptography.fernet import Fernet

from consumer.adapters.kafka import topic_admin as kafka_admin
from tests.support.policies import adjust
from tests.unit.cli.conftest import Run


@pytest.fixture(autouse=True)
def _settings(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001  clears the environment first
    monkeypatch.setenv("RESYNC_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("RESYNC_ENCRYPTION_KEYS", Fernet.generate_key().decode())
    adjust(monkeypatch, kafka_admin, "ADMIN", reach_timeout=0.2)


def test_a_missing_database_ends_it(run: Run) -> None:
    ran = run("run")
    assert 1 == ran.code
    assert "`mirakl-resync-consumer db upgrade`" in ran.err
    assert "Traceback" not in ran.err


def test_unreachable_brokers_end_it_with_6(run: Run) -> None:
    run("db", "upgrade")
    ran = run("run")
    assert 6 == ran.code
    assert "RESYNC_KAFKA__BOOTSTRAP_SERVERS" in ran.err
    assert "Traceback" not in ran.err


def test_what_it_needs_is_named_at_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RESYNC_KAFKA__BOOTSTRAP_SERVERS")
    monkeypatch.delenv("RESYNC_ENCRYPTION_KEYS")
    ran = run("run")
    assert 2 == ran.code
    assert 2 == ran.err.count(" is not set. ")
