"""The start of ``run``: what it imports, and how it spares the garbage collector.

A static member's partitions are silent while its process starts, and most of a start is imports.
"""

import gc
import subprocess
import sys
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from cryptography.fernet import Fernet

from consumer.adapters.kafka import topic_admin
from consumer.adapters.stores import create_engine
from consumer.adapters.stores.schema import upgrade
from consumer.preflight import check_brokers
from schemas.settings import KafkaSettings, Settings
from tests.support.service import environment

NEEDED_BY_OTHERS = {
    "alembic": "`db upgrade`",
    "consumer.adapters.stores.schema": "`db upgrade`",
    "consumer.adapters.stores.rotation": "`encryption-key rotate`",
    "consumer.cli.doctor": "`doctor`",
    "consumer.processes": "`run --processes`",
    "consumer.adapters.schema_registry": "a schema registry",
    "schemas.registry.client": "a schema registry",
    "httpcore": "a schema registry",
    "h11": "a schema registry, and the gateway",
    "consumer.adapters.stores.postgresql": "PostgreSQL",
    "psycopg": "PostgreSQL",
    "sqlalchemy.dialects.postgresql": "PostgreSQL",
    "opentelemetry": "spans",
    "starlette": "the gateway",
    "uvicorn": "the gateway",
    "yaml": "the gateway",
    "jsonschema": "tests",
    "multiprocessing": "nothing",
    "unittest": "tests",
}
"""Modules that ``run`` on SQLite without a registry does not use, and what uses them."""

COLLECTIONS = """
import gc
from schemas.console.startup import collect_rarely
from schemas.process.memory import collect_only_new_objects, keep_imports
collect_rarely()
def collections(): return sum(generation["collections"] for generation in gc.get_stats())
before = collections()
import consumer.cli.run, consumer.cli.access, consumer.preflight, consumer.service
keep_imports()
imported = gc.get_freeze_count()
print(imported > 50_000, collections() - before)
class Cycle:
    def __init__(self): self.itself = self
    def __del__(self): print("collected")
Cycle()
collect_only_new_objects()
print(gc.get_freeze_count() - imported < 10_000, gc.get_threshold()[0])
"""


def test_run_imports_nothing_that_only_others_need(tmp_path: Path) -> None:
    """It ends, when everything is imported, since the embedded broker has no topics."""
    database = f"sqlite:///{tmp_path / 'stores.db'}"
    upgrade(create_engine(database))
    producer = Producer({"test.mock.num.brokers": 1, "log_level": 0})
    (broker,) = producer.list_topics(timeout=10).brokers.values()
    settings = {
        "RESYNC_KAFKA__BOOTSTRAP_SERVERS": f"{broker.host}:{broker.port}",
        "RESYNC_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
        "RESYNC_DATABASE_URL": database,
    }
    ended = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "consumer", "run"],
        env=environment(settings),
        capture_output=True,
        text=True,
        check=False,
    )
    imported = {line.rpartition("|")[2].strip() for line in ended.stderr.splitlines() if line.startswith("import time")}

    assert "topics ensure" in ended.stderr
    assert {"consumer.service", "consumer.engine.core", "consumer.adapters.mirakl.client"} <= imported
    assert {} == {name: use for name, use in NEEDED_BY_OTHERS.items() if name in imported}


def test_what_is_imported_is_never_searched_for_garbage_and_what_is_made_later_is() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", COLLECTIONS], env=environment({}), capture_output=True, text=True, check=True
    )

    assert ["True 0", "collected", "True 100000"] == ended.stdout.splitlines()


def test_the_clients_of_the_checks_end_with_the_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a garbage collection: what is alive when the service has been imported is never collected."""
    gone: list[str] = []

    class Client(AdminClient):
        def __del__(self) -> None:
            gone.append("client")

    monkeypatch.setattr(topic_admin, "AdminClient", Client)
    producer = Producer({"test.mock.num.brokers": 1, "log_level": 0})
    (broker,) = producer.list_topics(timeout=10).brokers.values()
    bootstrap = KafkaSettings(bootstrap_servers=f"{broker.host}:{broker.port}")
    gc.disable()
    try:
        check_brokers(Settings(kafka=bootstrap), thorough=False)
        assert ["client"] == gone
    finally:
        gc.enable()
