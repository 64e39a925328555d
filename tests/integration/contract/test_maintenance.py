"""Maintenance of the database under load: no request waits for it."""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from tests.integration.contract.deployment import Coordinates, Deployment, deployed, record
from tests.integration.contract.wire import request
from tests.support.service import ROOT, Service
from tests.support.topics import Topics

MIGRATION = """
import sqlalchemy as sa
from alembic import op

revision = "0099"
down_revision = "{ours}"


def upgrade():
    op.add_column("client_specifications", sa.Column("region", sa.String(16)))
    op.add_column("api_keys", sa.Column("uses", sa.Integer, nullable=False, server_default="0"))
    op.create_table("regions", sa.Column("name", sa.String(16), primary_key=True))
"""
INTERVAL_SECONDS = 0.3
PARTITIONS = 4
UNNOTICED_SECONDS = 5.0
"""A replica that cannot confirm its directory for so long closes its intake."""


class Load(threading.Thread):
    """Asks on every partition, until told to stop."""

    def __init__(self, deployment: Deployment, key: str) -> None:
        super().__init__(name="load", daemon=True)
        self._deployment = deployment
        self._key = key
        self._stop_asking = threading.Event()
        self.sent: list[Coordinates] = []

    def run(self) -> None:
        while not self._stop_asking.wait(INTERVAL_SECONDS):
            asked = [record(self._key, request(), partition=number) for number in range(PARTITIONS)]
            self.sent += self._deployment.send(*asked)

    def stop(self) -> list[Coordinates]:
        self._stop_asking.set()
        self.join()
        return self.sent


@pytest.fixture
def later(tmp_path: Path) -> dict[str, str]:
    """The environment of a later release: this one's sources, with one more migration."""
    tree = tmp_path / "later"
    for room in ("consumer", "schemas"):
        shutil.copytree(ROOT / room, tree / room, ignore=shutil.ignore_patterns("__pycache__"))
    stores = tree / "consumer" / "adapters" / "stores"
    tables = (stores / "tables.py").read_text()
    found = next(line for line in tables.splitlines() if line.startswith("SCHEMA_REVISIONS"))
    ours = found.rstrip(")").split('"')[-2]
    (stores / "tables.py").write_text(tables.replace(found, found.replace(f'"{ours}"', f'"{ours}", "0099"')))
    (stores / "migrations" / "versions" / "v0099_later.py").write_text(MIGRATION.format(ours=ours))
    return {"PYTHONPATH": str(tree), "PYTHONSAFEPATH": "1"}


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def deployment(
    request: pytest.FixtureRequest, kafka_bootstrap: str, topics: Topics, tmp_path: Path
) -> Iterator[Deployment]:
    url = "" if request.param == "sqlite" else str(request.getfixturevalue("postgres_database"))
    with deployed(kafka_bootstrap, topics, tmp_path, url) as made:
        yield made


def upgrade(deployment: Deployment, later: dict[str, str]) -> str:
    """Run the later release's `db upgrade` as a program of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RESYNC_")}
    command = [sys.executable, "-m", "consumer", "db", "upgrade"]
    environment |= {**deployment.environment, **later}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert 0 == ran.returncode, ran.stderr
    return ran.stderr


def ready(*replicas: Service) -> None:
    """Start them together, and wait until all are ready."""
    for each in replicas:
        each.start()
    for each in replicas:
        each.wait_ready()


def seconds(deployment: Deployment, coordinates: Coordinates) -> float:
    """Return the time from the request to its one result."""
    result = deployment.result(coordinates)
    assert "SYNCHRONIZED" == result["status"]
    return float(result["completedAt"] - result["requestedAt"]) / 1000


@pytest.mark.slow
def test_a_migration_of_a_later_release_disturbs_nobody(deployment: Deployment, later: dict[str, str]) -> None:
    """Two replicas: one is killed and restarted on the migrated database, the other replaced by the later release."""
    deployment.specification("only")
    load = Load(deployment, deployment.key())

    def replica(name: str, **settings: str) -> Service:
        return deployment.service(name, RESYNC_KAFKA__GROUP_INSTANCE_ID=name[0], **settings)

    on_sqlite = deployment.database_url.startswith("sqlite")
    first, second, newer = replica("a"), replica("b"), replica("a-later", **later)
    with ExitStack() as stack:
        for each in (first, second, newer):
            stack.callback(each.kill)
        ready(first, second)
        load.start()
        stack.callback(load.stop)
        assert "upgraded to this release (schema 0099)" in upgrade(deployment, later)
        deployment.key()  # a change that every replica has to read from the migrated tables
        meanwhile = list(load.sent)
        deployment.outcomes.wait(meanwhile)
        assert max(seconds(deployment, each) for each in meanwhile) < UNNOTICED_SECONDS

        second.kill()
        second.start()
        if not on_sqlite:  # one host: there, all is replaced at once
            assert 0 == first.terminate()
            ready(newer)
            assert 0 == newer.terminate()
            first.start()
        second.wait_ready()
        first.wait_ready()
        sent = load.stop()
        deployment.outcomes.wait(sent, 30)
        assert all(seconds(deployment, each) >= 0 for each in sent)
        for each in (first, second) if on_sqlite else (first, second, newer):
            assert "Traceback" not in each.output()
            assert "database" not in "".join(line["event"] for line in each.log() if line["level"] == "error")


@pytest.mark.slow
def test_encryption_keys_are_rotated_under_load(kafka_bootstrap: str, topics: Topics, tmp_path: Path) -> None:
    """A replica that knows both keys notices nothing; afterwards the new one is enough."""
    with deployed(kafka_bootstrap, topics, tmp_path) as deployment:
        deployment.specification("only")
        old, new = deployment.encryption_key, Fernet.generate_key().decode()
        load = Load(deployment, deployment.key())
        deployment.encryption_key = f"{old},{new}"
        with deployment.service() as replica, ExitStack() as stack:
            load.start()
            stack.callback(load.stop)
            deployment.encryption_key = f"{new},{old}"
            while len(load.sent) < 5 * PARTITIONS:
                deployment.administer("encryption-key", "rotate")
                deployment.key()  # read after the rotation, or its issuer waits for it
            sent = load.stop()
            deployment.outcomes.wait(sent)
            assert max(seconds(deployment, each) for each in sent) < UNNOTICED_SECONDS
            assert 0 == replica.terminate()
            assert "Traceback" not in replica.output()
        deployment.encryption_key = new
        with deployment.service("afterwards"):
            [result] = deployment.ask(load._key, request())
            assert "SYNCHRONIZED" == result["status"]
