"""One deployment of the service, as its operators and neighbours see it."""

import asyncio
import contextlib
import io
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, TypeAlias
from unittest.mock import patch

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition
from cryptography.fernet import Fernet

from consumer.cli import main
from producer_tools.cli import main as tools
from producer_tools.sandbox.mirakl import Fault, MiraklSimulator, Rules
from tests.integration.contract import wire
from tests.integration.contract.wire import Event
from tests.support.records import RawRecord, ReadRecord, read_message, send_raw
from tests.support.service import Service
from tests.support.topics import Topics

Coordinates: TypeAlias = tuple[int, int]
Headers: TypeAlias = tuple[tuple[str, bytes | None], ...]

CREDENTIAL = "mirakl-front-key-of-the-acceptance"


class Mirakl:
    """The simulated Mirakl on a thread of its own."""

    def __init__(self) -> None:
        self.shouted: list[str] = []
        self.simulator = MiraklSimulator(seed=7, shout=self.shouted.append)
        self._loop = asyncio.new_event_loop()
        self._serving = threading.Event()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="mirakl")

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._serving.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()

    def script(self, instance: str, *faults: Fault) -> None:
        """These faults from now on, and no other."""
        self.simulator.clear_faults(instance)
        for fault in faults:
            self.simulator.add_fault(fault, instance)

    def rules(self, instance: str, rules: Rules) -> None:
        self.simulator.set_rules(rules, instance)

    def submissions(self, instance: str) -> list[dict[str, str]]:
        """The products of each call that was taken in."""
        return [submission.products for submission in self.simulator.journal.search(instance)]

    def _run(self) -> None:
        async def serve() -> None:
            async with self.simulator.serving():
                self._serving.set()
                await self._stop.wait()

        self._loop.run_until_complete(serve())


class Outcomes:
    """Follows results and dead letters as a ``read_committed`` subscriber, by the request's coordinates."""

    def __init__(self, bootstrap: str, topics: Topics) -> None:
        self._topics = topics
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": f"acceptance-{uuid.uuid4()}",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 50,
                "log_level": 0,
            }
        )
        self.results: dict[Coordinates, list[ReadRecord]] = {}
        self.dead_letters: dict[Coordinates, list[ReadRecord]] = {}
        self._arrived = threading.Condition()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="outcomes")
        places = []
        for topic in (topics.results, topics.dead_letters):
            partitions = self._consumer.list_topics(topic, timeout=10).topics[topic].partitions
            places += [TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in partitions]
        self._consumer.assign(places)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._consumer.close()

    def wait(self, wanted: Sequence[Coordinates], timeout: float = 20) -> None:
        """Until each of these requests has an outcome."""
        deadline = time.monotonic() + timeout
        with self._arrived:
            while missing := [each for each in wanted if each not in self.results and each not in self.dead_letters]:
                if not self._arrived.wait(deadline - time.monotonic()):
                    raise TimeoutError(f"{len(missing)} of {len(wanted)} have no outcome, such as {missing[:3]}")

    def quiet(self, wanted: Sequence[Coordinates]) -> bool:
        """None of these has an outcome."""
        with self._arrived:
            return not any(each in self.results or each in self.dead_letters for each in wanted)

    def _run(self) -> None:
        while not self._stop.is_set():
            for message in self._consumer.consume(1000, 0.02):
                error = message.error()
                if error is not None:
                    if error.code() != KafkaError._ALL_BROKERS_DOWN and not error.retriable():
                        raise KafkaException(error)
                    continue
                self._note(message.topic(), read_message(message))

    def _note(self, topic: str | None, record: ReadRecord) -> None:
        prefix, where = (
            ("resync-request-", self.results) if topic == self._topics.results else ("dlq.", self.dead_letters)
        )
        coordinates = int(record.header(f"{prefix}partition") or -1), int(record.header(f"{prefix}offset") or -1)
        with self._arrived:
            where.setdefault(coordinates, []).append(record)
            self._arrived.notify_all()


@dataclass
class Deployment:
    """Stores, topics and a Mirakl; ``service`` runs a replica."""

    bootstrap: str
    topics: Topics
    folder: Path
    mirakl: Mirakl
    database_url: str = ""
    settings: dict[str, str] = field(default_factory=dict)
    encryption_key: str = field(default_factory=lambda: Fernet.generate_key().decode())

    def __post_init__(self) -> None:
        self.database_url = self.database_url or f"sqlite:///{self.folder / 'mirakl-resync.db'}"
        (self.folder / "credential").write_text(CREDENTIAL)
        self.administer("db", "upgrade")
        self._outcomes: Outcomes | None = None
        self.keys: list[str] = []

    @property
    def environment(self) -> dict[str, str]:
        return {
            "RESYNC_KAFKA__BOOTSTRAP_SERVERS": self.bootstrap,
            "RESYNC_DATABASE_URL": self.database_url,
            "RESYNC_ENCRYPTION_KEYS": self.encryption_key,
            **self.topics.environment,
            **self.settings,
        }

    def service(self, name: str = "service", **settings: str) -> Service:
        return Service({**self.environment, **settings}, self.folder, name)

    # Administration

    def administer(self, *arguments: str) -> str:
        """Run a command of ``mirakl-resync-consumer``; its output."""
        code, out, err = administered(self.environment, *arguments)
        assert code == 0, err
        return out.strip()

    def tool(self, key: str, *arguments: str) -> tuple[int, str, str]:
        """Run a command of ``mirakl-resync`` with this key: exit code, stdout, stderr."""
        return administered({**self.environment, "RESYNC_API_KEY": key}, *arguments, program=tools)

    def key(self, tenant: str = "default", role: str = "OPERATOR") -> str:
        """Issue an API key."""
        name = uuid.uuid4().hex[:8]
        key = self.administer("api-keys", "issue", "--name", name, "--tenant", tenant, "--role", role)
        self.keys.append(key)
        return key

    def specification(self, instance: str, *options: str, tenant: str = "default") -> str:
        """Add a client specification that calls this instance of Mirakl; its id."""
        return self.administer(
            *("clients", "add", "--name", instance, "--url", self.mirakl.simulator.url(instance)),
            *("--credential-file", str(self.folder / "credential"), "--tenant", tenant),
            *options,
        )

    # Requests and their outcomes

    @property
    def outcomes(self) -> Outcomes:
        if self._outcomes is None:
            self._outcomes = Outcomes(self.bootstrap, self.topics)
        return self._outcomes

    def close(self) -> None:
        if self._outcomes is not None:
            self._outcomes.close()

    def send(self, *records: RawRecord, compression: str = "none") -> list[Coordinates]:
        """Write records as they are."""
        return send_raw(self.bootstrap, self.topics.requests, records, compression=compression)

    def ask(self, key: str | None, *events: Event, timeout: float = 20) -> list[Event]:
        """Send requests of an operator, wait for their results."""
        coordinates = self.send(*(record(key, event) for event in events))
        return [self.result(each, timeout) for each in coordinates]

    def result(self, coordinates: Coordinates, timeout: float = 20) -> Event:
        """The one result of this request."""
        return wire.read_result(self.result_record(coordinates, timeout).value)

    def result_record(self, coordinates: Coordinates, timeout: float = 20) -> ReadRecord:
        self.outcomes.wait([coordinates], timeout)
        assert coordinates not in self.outcomes.dead_letters
        [found] = self.outcomes.results[coordinates]
        return found

    def dead_letter(self, coordinates: Coordinates, timeout: float = 20) -> ReadRecord:
        """The one dead letter of this record."""
        self.outcomes.wait([coordinates], timeout)
        assert coordinates not in self.outcomes.results
        [found] = self.outcomes.dead_letters[coordinates]
        return found


def operator(key: str | None) -> Headers:
    """The headers of an operator's request."""
    return (("dj-client", b"OPERATOR"), *((("dj-api-key", key.encode()),) if key is not None else ()))


def record(key: str | None, event: Event, *more: tuple[str, bytes | None], partition: int | None = None) -> RawRecord:
    """An operator's request as a record."""
    return RawRecord(wire.single_object(event), None, (*operator(key), *more), partition)


def administered(
    environment: Mapping[str, str], *arguments: str, program: Callable[[Sequence[str]], int] = main
) -> tuple[int, str, str]:
    """Run the administration, or another program, in this process: exit code, stdout, stderr."""
    out, err = io.StringIO(), io.StringIO()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RESYNC_")}
    with (
        patch.dict(os.environ, {**kept, **environment}, clear=True),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = program(arguments)
    return code, out.getvalue(), err.getvalue()


@contextlib.contextmanager
def deployed(
    bootstrap: str, topics: Topics, folder: Path, database_url: str = "", **settings: str
) -> Iterator[Deployment]:
    """A deployment without a running service."""
    with Mirakl() as mirakl:
        deployment = Deployment(bootstrap, topics, folder, mirakl, database_url, settings)
        try:
            yield deployment
        finally:
            deployment.close()
