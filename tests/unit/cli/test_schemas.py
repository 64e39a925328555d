"""``schemas`` where no registry can be reached."""

import pytest

from tests.unit.cli.conftest import Run


@pytest.mark.parametrize("command", ["register", "check"])
def test_an_unreachable_registry_ends_with_6_and_what_to_do(
    run: Run, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("RESYNC_SCHEMA_REGISTRY__URL", "http://127.0.0.1:1")
    monkeypatch.setenv("RESYNC_SCHEMA_REGISTRY__USERNAME", "user")
    monkeypatch.setenv("RESYNC_SCHEMA_REGISTRY__PASSWORD", "hunter2")
    ran = run("schemas", command)
    assert (6, "") == (ran.code, ran.out)
    assert "RESYNC_SCHEMA_REGISTRY__URL" in ran.err
    assert "hunter2" not in ran.err


def test_a_registry_has_to_be_named(run: Run) -> None:
    ran = run("schemas", "check")
    assert (2, "") == (ran.code, ran.out)
    assert "RESYNC_SCHEMA_REGISTRY__URL is not set." in ran.err
