"""All that a run needs around it: a broker of its own, a database, a registry, a simulated Mirakl, replicas."""

import fcntl
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from consumer.adapters.stores import ApiKeys, ClientSpecifications, Encryption, create_engine, new_key
from consumer.adapters.stores.revisions import read_supported
from consumer.adapters.stores.schema import upgrade
from tests.chaos.releases import Release
from tests.chaos.workload import PRODUCTS_PER_CALL, Client
from tests.support.kafka import BROKER_SETTINGS, Kafka, KafkaProcess, real_kafka
from tests.support.parts import PartMissing, answers, free_port
from tests.support.postgres import new_database, real_postgres
from tests.support.process import ChildProcess
from tests.support.registry import RegistryProcess
from tests.support.service import Service, environment
from tests.support.topics import Topics, create_topics

START_SECONDS = 60
CREDENTIAL = "chaos-credential"
FIRST_READ_LOCK, READ_LOCKS = 123, 5
"""Bytes of SQLite's shared-memory file."""
CONSUMER_SESSION_SECONDS = 10
"""KIP-848 leaves the session to the broker, whose default is 45 s: as short as that of the classic protocol, so that
more faults fit into a run."""
KIP_848 = {
    "group.consumer.session.timeout.ms": str(CONSUMER_SESSION_SECONDS * 1000),
    "group.consumer.min.session.timeout.ms": str(CONSUMER_SESSION_SECONDS * 1000),
    "group.consumer.heartbeat.interval.ms": "1000",
    "group.consumer.min.heartbeat.interval.ms": "1000",
}


class Database:
    """Where the service keeps its stores; ``away`` makes it unusable for a while."""

    url: str

    @contextmanager
    def away(self) -> Iterator[None]:
        """As long as the block lasts."""
        raise NotImplementedError

    def remove(self) -> None:
        """Delete it."""


class SqliteDatabase(Database):
    """A file; away: locked, against readers too."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "chaos.db"
        self.url = f"sqlite:///{self._file}"

    @contextmanager
    def away(self) -> Iterator[None]:
        """Hold the locks that every reader needs one of (https://sqlite.org/walformat.html, "WAL Locks")."""
        with Path(f"{self._file}-shm").open("a+b") as shared:
            fcntl.lockf(shared, fcntl.LOCK_EX, READ_LOCKS, FIRST_READ_LOCK)
            yield


class PostgresDatabase(Database):
    """A server of its own; away: stopped."""

    def __init__(self) -> None:
        self._server = real_postgres()
        self._server.start()
        self.url = new_database(self._server.url)

    @contextmanager
    def away(self) -> Iterator[None]:
        """Stopped in good order."""
        self._server.stop()
        yield
        self._server.start()

    def remove(self) -> None:
        """End the server too."""
        self._server.remove()


class Mirakl:
    """The simulated Mirakl as a process, which keeps its port and its journal over restarts."""

    def __init__(self, folder: Path, latency: str, jitter: str, tail: str) -> None:
        self.port = free_port()
        self.journal = folder / "mirakl-journal.jsonl"
        arguments = ["--port", str(self.port), "--journal", str(self.journal)]
        arguments += ["--latency", latency, "--jitter", jitter, "--tail", tail]
        self._process = ChildProcess(
            [sys.executable, "-m", "producer_tools.sandbox.mirakl", *arguments],
            log=folder / "mirakl.log",
            environment=environment({}),
        )

    def start(self) -> None:
        """Start, also again after :meth:`kill`."""
        self._process.start()
        self._process.wait_ready(lambda: answers(self.port), timeout=START_SECONDS)

    def kill(self) -> None:
        """Connections are refused from now on."""
        self._process.end(signal.SIGKILL)

    def url(self, client: Client) -> str:
        """Base URL of a client's instance."""
        return f"http://127.0.0.1:{self.port}/c/{client.name}"

    def script(self, fault: Mapping[str, object], client: Client | None) -> None:
        """A fault from now on, of one instance or of all."""
        self._control("POST", client, fault)

    def heal(self, client: Client | None = None) -> None:
        """No fault any more."""
        self._control("DELETE", client, None)

    def violations(self) -> list[str]:
        """Calls that must never be made, by the simulator's own account."""
        log = self._process.output().splitlines()
        return [line for line in log if line.startswith("VIOLATION")]

    def _control(self, method: str, client: Client | None, body: Mapping[str, object] | None) -> None:
        url = f"http://127.0.0.1:{self.port}/_control/faults"
        query = {} if client is None else {"instance": client.name}
        httpx.request(method, url, params=query, json=body, timeout=10).raise_for_status()


@dataclass(slots=True)
class Replica:
    """One process of the service, which may be down."""

    name: str
    service: Service
    wanted: bool = False
    """It should be running: if it is not, it has ended by itself."""
    frozen: bool = False

    def start(self, *, wait: bool = False) -> None:
        """Start it."""
        self.wanted = True
        self.service.start()
        if wait:
            self.service.wait_ready()

    def kill(self) -> None:
        """``kill -9``."""
        self.wanted = False
        self.service.kill()

    def freeze(self) -> None:
        """Give it no processor."""
        self.frozen = True
        self.service.pause()

    def thaw(self) -> None:
        """Go on."""
        self.frozen = False
        self.service.resume()

    def terminate(self) -> int | None:
        """SIGTERM; the exit code, or ``None`` where it does not end: then the stacks of its threads are in its log."""
        self.wanted = False
        try:
            return self.service.terminate()
        except subprocess.TimeoutExpired:
            self.service.signal(signal.SIGABRT)
            return None


@dataclass(frozen=True, slots=True)
class Plan:
    """What the stage has to hold."""

    partitions: int
    clients: tuple[Client, ...]
    replicas: int
    protocol: str = "classic"
    static: bool = False
    database: str = "sqlite"
    registry: bool = False
    latency: str = "30ms"
    jitter: str = "100ms"
    tail: str = "0.02:1500ms"
    settings: Mapping[str, str] = field(default_factory=dict)
    products_per_call: int = PRODUCTS_PER_CALL
    concurrent_calls: int = 4
    release: Release | None = None
    """Tree whose commands make the database and whose service the replicas are; ``None``: the one at hand."""


class Stage:
    """The running parts."""

    def __init__(self, plan: Plan, folder: Path, broker: Kafka, database: Database) -> None:
        self.plan = plan
        self.folder = folder
        self.broker = broker
        self.database = database
        self.registry: RegistryProcess | None = None
        self.mirakl = Mirakl(folder, plan.latency, plan.jitter, plan.tail)
        self.topics: Topics = create_topics(broker.bootstrap, partitions=plan.partitions)
        self.settings = {
            "RESYNC_KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap,
            "RESYNC_KAFKA__GROUP_PROTOCOL": plan.protocol,
            "RESYNC_DATABASE_URL": database.url,
            "RESYNC_ENCRYPTION_KEYS": new_key(),
            "RESYNC_LOG__FORMAT": "json",
            "PYTHONFAULTHANDLER": "1",
            **self.topics.environment,
            **plan.settings,
        }
        """Environment of a replica, but for its name and its release."""
        self.api_key = self._fill_database() if plan.release is None else self._filled_by(plan.release)
        self.replicas = [self.replica(f"replica-{number}") for number in range(1, plan.replicas + 1)]

    def replica(self, name: str, release: Release | None = None) -> Replica:
        """One more, not yet started; of the plan's release where none is given."""
        release = release or self.plan.release
        own = {"RESYNC_KAFKA__GROUP_INSTANCE_ID": name} if self.plan.static else {}
        sources = {} if release is None else release.settings
        return Replica(name, Service({**self.settings, **own, **sources}, self.folder, name))

    def change(self, place: int, release: Release) -> None:
        """Let another release take a replica's place; the one that is there must have ended."""
        self.replicas[place] = self.replica(self.replicas[place].name, release)

    def supported_revisions(self) -> list[str]:
        """Revisions whose programs may use the database."""
        engine = create_engine(self.settings["RESYNC_DATABASE_URL"])
        try:
            with engine.connect() as connection:
                return sorted(read_supported(connection))
        finally:
            engine.dispose()

    def end(self) -> None:
        """Kill all that runs here."""
        for replica in self.replicas:
            replica.kill()
        self.mirakl.kill()

    def _fill_database(self) -> str:
        engine = create_engine(self.settings["RESYNC_DATABASE_URL"])
        try:
            upgrade(engine)
            specifications = ClientSpecifications(engine, Encryption([self.settings["RESYNC_ENCRYPTION_KEYS"]]))
            for client in self.plan.clients:
                specifications.add(
                    client.name,
                    self.mirakl.url(client),
                    CREDENTIAL,
                    id=client.id,
                    products_per_call=self.plan.products_per_call,
                    concurrent_calls=self.plan.concurrent_calls,
                )
            return ApiKeys(engine).issue("chaos").key
        finally:
            engine.dispose()

    def _filled_by(self, release: Release) -> str:
        """Make the database with a release's own commands: another tree's modules cannot be imported beside ours."""
        release.run(self.settings, "db", "upgrade")
        for client in self.plan.clients:
            what = ["--name", client.name, "--url", self.mirakl.url(client), "--id", client.id]
            what += ["--products-per-call", str(self.plan.products_per_call)]
            what += ["--concurrent-calls", str(self.plan.concurrent_calls), "--credential-file", "-"]
            release.run(self.settings, "clients", "add", *what, given=CREDENTIAL)
        return release.run(self.settings, "api-keys", "issue", "--name", "chaos")


@contextmanager
def prepared(plan: Plan, folder: Path) -> Iterator[Stage]:
    """Start broker, database, Mirakl and replicas; wait until all replicas are ready. Raises :class:`PartMissing`."""
    with ExitStack() as stack:
        broker = own_broker(folder)
        stack.callback(broker.remove)
        broker.start()
        database = PostgresDatabase() if plan.database == "postgres" else SqliteDatabase(folder)
        stack.callback(database.remove)
        stage = Stage(plan, folder, broker, database)
        stack.callback(stage.end)
        stage.mirakl.start()
        for replica in stage.replicas:
            replica.start()
        for replica in stage.replicas:
            replica.service.wait_ready()
        yield stage


def own_broker(folder: Path) -> Kafka:
    """A process rather than a container, whose proxy would take its share of the processors; its log stays there."""
    settings = {**BROKER_SETTINGS, **KIP_848}
    try:
        return KafkaProcess(settings, java_options=(), log=folder / "broker.log")
    except PartMissing:
        return real_kafka(settings)


def new_folder() -> Path:
    """Where the logs of a run go."""
    return Path(tempfile.mkdtemp(prefix=f"chaos-{time.strftime('%H%M%S')}-"))
