"""``schemas register|check`` and the registry's part of ``doctor``, on a real registry."""

import json
from typing import Any

import pytest

from tests.support.policies import adjust
from tests.support.topics import unused_topics
from tests.unit.cli.conftest import Run, run, stores  # noqa: F401  fixtures


@pytest.fixture
def program(stores: Run, schema_registry_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:  # noqa: F811
    """The program with a registry, and topics whose subjects nobody uses."""
    settings = {**unused_topics().environment, "RESYNC_SCHEMA_REGISTRY__URL": schema_registry_url}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return stores


def test_schemas_are_missing_until_they_are_registered(program: Run) -> None:
    before = program("schemas", "check")
    assert 1 == before.code
    assert 2 == before.err.count("v1 is not registered. Run mirakl-resync-consumer schemas register.")
    registered = program("schemas", "register", "--output", "json")
    assert 0 == registered.code
    rows: list[dict[str, Any]] = json.loads(registered.out)
    assert [1, 1] == [row["version"] for row in rows]
    after = program("schemas", "check", "--output", "json")
    assert 0 == after.code
    assert rows == json.loads(after.out)


def test_registering_once_more_gives_the_same_ids(program: Run) -> None:
    assert program("schemas", "register").out == program("schemas", "register").out


def test_the_doctor_names_the_remedy(program: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESYNC_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
    adjust(monkeypatch, "consumer.adapters.kafka.topic_admin", "ADMIN", reach_timeout=0.2)

    def found() -> list[tuple[str, str]]:
        rows = json.loads(program("doctor", "--output", "json").out)
        return [(row["level"], row["remedy"]) for row in rows if row["subject"] == "schema registry"]

    missing = ("FAIL", "Run mirakl-resync-consumer schemas register.")
    assert {("OK", ""), missing} == set(found())
    program("schemas", "register")
    assert [("OK", "")] == found()
