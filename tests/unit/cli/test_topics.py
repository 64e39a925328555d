"""``topics`` where no broker can be reached."""

import pytest

from consumer.adapters.kafka import topic_admin as kafka_admin
from tests.support.policies import adjust
from tests.unit.cli.conftest import Run


def test_unreachable_brokers_end_with_6_and_what_to_do(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESYNC_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
    adjust(monkeypatch, kafka_admin, "ADMIN", reach_timeout=0.2)
    ran = run("topics", "ensure")
    assert (6, "") == (ran.code, ran.out)
    assert ran.err.startswith("error: No broker of 127.0.0.1:1 answered within 0.2 s")
    assert "RESYNC_KAFKA__BOOTSTRAP_SERVERS" in ran.err


@pytest.mark.parametrize("options", [("--partitions", "0"), ("--retention-days", "-1"), ("--replication-factor", "x")])
def test_wrong_numbers_are_wrong_usage(run: Run, options: tuple[str, str]) -> None:
    ran = run("topics", "ensure", *options)
    assert (2, "") == (ran.code, ran.out)
    assert options[0] in ran.err
