"""Changes by hand in either database, and troubles of our own: nothing is answered, nothing is lost."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from tests.integration.contract.deployment import Deployment, deployed, record
from tests.integration.contract.wire import request
from tests.support.kafka import Kafka
from tests.support.parts import wait_until
from tests.support.postgres import Postgres, new_database
from tests.support.service import Service
from tests.support.topics import Topics, create_topics

PROMISED_SECONDS = 5.0


@dataclass(frozen=True)
class Running:
    """A replica, an operator's key, and SQL by hand on its database."""

    deployment: Deployment
    service: Service
    key: str
    sql: Callable[[str], object]

    def answer(self) -> str:
        [result] = self.deployment.ask(self.key, request())
        return str(result["error"]["code"] if result["error"] else result["status"])

    def comes_to(self, expected: str) -> None:
        """Within the promised time the answer is this one."""
        wait_until(lambda: self.answer() == expected, timeout=PROMISED_SECONDS, what=expected)

    def waits_through(self, trouble: str, heal: Callable[[], object]) -> None:
        """The trouble is named, nobody is answered; afterwards everybody is, rightly."""
        self.becomes(503)
        assert trouble.lower() in self.service.get("/readyz").text.lower()
        assert 200 == self.service.status("/livez")
        sent = self.deployment.send(record(self.key, request()), record("wrong", request()), record(None, request([])))
        time.sleep(2)
        assert self.deployment.outcomes.quiet(sent)
        heal()
        self.deployment.outcomes.wait(sent, 30)
        results = [self.deployment.result(each) for each in sent]
        codes = [result["error"]["code"] if result["error"] else result["status"] for result in results]
        assert ["SYNCHRONIZED", "API_KEY_INVALID", "API_KEY_MISSING"] == codes
        self.becomes(200)

    def becomes(self, status: int) -> None:
        wait_until(lambda: self.service.status("/readyz") == status, timeout=20, what=f"/readyz is {status}")


def running(bootstrap: str, topics: Topics, folder: Path, url: str = "") -> Iterator[Running]:
    with deployed(bootstrap, topics, folder, url) as deployment:
        deployment.specification("only")
        key = deployment.key()

        def sql(statement: str) -> None:
            if url:
                with psycopg.connect(url.replace("+psycopg", "")) as server:
                    server.execute(statement.encode())
                return
            file = sqlite3.connect(folder / "mirakl-resync.db")
            with file:
                file.execute(statement)
            file.close()

        with deployment.service() as replica:
            yield Running(deployment, replica, key, sql)
            assert "Traceback" not in replica.output()


@pytest.fixture
def on_sqlite(kafka_bootstrap: str, topics: Topics, tmp_path: Path) -> Iterator[Running]:
    yield from running(kafka_bootstrap, topics, tmp_path)


@pytest.fixture
def on_postgres(kafka_bootstrap: str, topics: Topics, tmp_path: Path, own_postgres: Postgres) -> Iterator[Running]:
    yield from running(kafka_bootstrap, topics, tmp_path, new_database(own_postgres.url))


@pytest.mark.slow
@pytest.mark.parametrize("database", ["on_sqlite", "on_postgres"])
def test_what_is_changed_by_hand_counts_within_five_seconds(database: str, request: pytest.FixtureRequest) -> None:
    live: Running = request.getfixturevalue(database)
    for statement, expected in {
        "update client_specifications set suspended = true": "CLIENT_SPECIFICATION_SUSPENDED",
        "update client_specifications set suspended = false, active = false": "NO_ACTIVE_CLIENT_SPECIFICATION",
        "update client_specifications set active = true, credential = 'x'": "CLIENT_SPECIFICATION_UNUSABLE",
        "update api_keys set expires_at = '2020-01-01 00:00:00'": "API_KEY_INVALID",
        "update api_keys set expires_at = null, role = 'SUPPLIER'": "OPERATOR_REQUIRED",
        "update api_keys set role = 'OPERATOR', revoked = true": "API_KEY_INVALID",
        "update api_keys set revoked = false": "CLIENT_SPECIFICATION_UNUSABLE",
        "delete from client_specifications": "NO_ACTIVE_CLIENT_SPECIFICATION",
    }.items():
        live.sql(statement)
        live.comes_to(expected)
    live.deployment.specification("another")
    live.comes_to("SYNCHRONIZED")


@pytest.mark.slow
def test_a_database_file_that_is_gone_is_waited_for(on_sqlite: Running, tmp_path: Path) -> None:
    assert "SYNCHRONIZED" == on_sqlite.answer()
    file, away = tmp_path / "mirakl-resync.db", tmp_path / "away.db"
    file.rename(away)
    on_sqlite.waits_through("mirakl-resync.db", lambda: away.rename(file))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("harm", "heal", "named"),
    [("stop", "start", "postgresql+psycopg://resync:***@"), ("pause", "resume", "the database")],
    ids=["stop-start", "pause-resume"],
)
def test_a_database_server_that_is_gone_is_waited_for(
    on_postgres: Running, own_postgres: Postgres, harm: str, heal: str, named: str
) -> None:
    assert "SYNCHRONIZED" == on_postgres.answer()
    getattr(own_postgres, harm)()
    on_postgres.waits_through(named, getattr(own_postgres, heal))


@pytest.mark.slow
def test_without_any_api_key_nobody_is_answered(on_sqlite: Running) -> None:
    assert "SYNCHRONIZED" == on_sqlite.answer()
    on_sqlite.sql("create table kept as select * from api_keys")
    on_sqlite.sql("delete from api_keys")
    on_sqlite.waits_through("api-keys issue", lambda: on_sqlite.sql("insert into api_keys select * from kept"))


@pytest.mark.slow
def test_brokers_that_are_gone_are_waited_for(own_kafka: Kafka, tmp_path: Path) -> None:
    topics = create_topics(own_kafka.bootstrap)
    for live in running(own_kafka.bootstrap, topics, tmp_path):
        assert "SYNCHRONIZED" == live.answer()
        own_kafka.kill()
        live.becomes(503)
        assert "broker" in live.service.get("/readyz").text
        assert 200 == live.service.status("/livez")
        own_kafka.start()
        [sent] = live.deployment.send(record(live.key, request()))
        assert "SYNCHRONIZED" == live.deployment.result(sent, timeout=60)["status"]
        live.becomes(200)
