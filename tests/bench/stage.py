"""All that a run needs around it: broker, preloaded topic, database, simulated Mirakl."""

import sys
import tempfile
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx

from consumer.adapters.stores import ApiKeys, ClientSpecifications, Encryption, create_engine, new_key
from consumer.adapters.stores.schema import upgrade
from tests.bench.workload import WITH_KEY, Form, Workload, preload
from tests.support.kafka import BROKER_SETTINGS, Kafka, KafkaProcess, given_bootstrap, real_kafka
from tests.support.parts import PartMissing, answers, free_port
from tests.support.process import ChildProcess
from tests.support.service import environment
from tests.support.topics import Topics, create_topics, delete_topics

START_SECONDS = 60
CREDENTIAL = "bench-credential"
"""Credential of every client specification at its Mirakl."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Of each client specification."""

    products_per_call: int
    concurrent_calls: int


@dataclass(frozen=True, slots=True)
class Mirakl:
    """How the simulated Mirakl behaves; durations as its command line takes them."""

    latency: str
    tail: str = "0:0s"
    dead: frozenset[int] = frozenset()
    """Client specifications whose instance never answers."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What is the same in all runs of one benchmark."""

    bootstrap: str
    partitions: int
    workload: Workload
    requests: Mapping[Form, str]
    """The topics that hold the workload, by its form."""
    limits: Limits
    mirakl_port: int
    settings: dict[str, str]
    """Of the service."""
    folder: Path

    @contextmanager
    def topics(self, *, preloaded: bool = True, form: Form = WITH_KEY) -> Iterator[Topics]:
        """Results and dead letters of one run, and a group that has read nothing."""
        made = create_topics(self.bootstrap, partitions=self.partitions)
        try:
            yield replace(made, requests=self.requests[form]) if preloaded else made
        finally:
            delete_topics(self.bootstrap, made)

    def base_urls(self) -> dict[str, str]:
        """Return the base URL of each client specification's Mirakl, by the id of the client specification."""
        workload, numbers = self.workload, range(self.workload.specifications)
        return {workload.specification_id(each): _base_url(self.mirakl_port, workload.name(each)) for each in numbers}

    def issue_key(self) -> str:
        """Issue one more API key, for a sender of requests that are not preloaded."""
        engine = create_engine(self.settings["RESYNC_DATABASE_URL"])
        try:
            return ApiKeys(engine).issue(f"bench-{uuid.uuid4().hex[:6]}").key
        finally:
            engine.dispose()

    @contextmanager
    def mirakl(self, behaviour: Mirakl) -> Iterator["RunningMirakl"]:
        """The simulated Mirakl as a process of its own."""
        arguments = ["--port", str(self.mirakl_port), "--seed", "1"]
        arguments += ["--latency", behaviour.latency, "--tail", behaviour.tail]
        for specification in sorted(behaviour.dead):
            arguments += ["--dead", self.workload.name(specification)]
        process = ChildProcess(
            [sys.executable, "-m", "producer_tools.sandbox.mirakl", *arguments],
            log=self.folder / "mirakl.log",
            environment=environment({}),
        )
        process.start()
        try:
            process.wait_ready(lambda: answers(self.mirakl_port), timeout=START_SECONDS)
            yield RunningMirakl(process.pid, self.mirakl_port)
        finally:
            process.end()

    @contextmanager
    def collector(self) -> Iterator["RunningCollector"]:
        """A collector of spans as a process of its own."""
        port = free_port()
        process = ChildProcess(
            [sys.executable, "-m", "tests.bench.collector", str(port)],
            log=self.folder / "collector.log",
            environment=environment({}),
        )
        process.start()
        try:
            process.wait_ready(lambda: answers(port), timeout=START_SECONDS)
            yield RunningCollector(process.pid, port)
        finally:
            process.end()


@dataclass(frozen=True, slots=True)
class RunningCollector:
    """A collector of spans."""

    pid: int
    port: int

    @property
    def settings(self) -> dict[str, str]:
        """What makes the service export there."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.port}"}

    def spans(self) -> int:
        """Spans that have arrived."""
        return int(httpx.get(f"http://127.0.0.1:{self.port}/", timeout=60).text)


@dataclass(frozen=True, slots=True)
class RunningMirakl:
    """The simulated Mirakl, and what it counted."""

    pid: int
    port: int

    def calls(self) -> int:
        """CM21 calls that were taken in."""
        state = httpx.get(f"http://127.0.0.1:{self.port}/_control/state", timeout=10).json()
        if state["violation_count"]:
            raise RuntimeError(f"the simulated Mirakl saw calls that must never be made: {state['violations'][:3]}")
        return sum(instance["counters"]["taken_in_calls"] for instance in state["instances"].values())


@contextmanager
def prepared(
    workload: Workload,
    partitions: int,
    limits: Limits,
    settings: dict[str, str],
    *,
    forms: Collection[Form] = (WITH_KEY,),
    bootstrap: str | None = None,
) -> Iterator[Stage]:
    """Start a broker unless one is given; fill the database, and a topic for each form."""
    with ExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-"))
        bootstrap = bootstrap or stack.enter_context(broker())
        folder, mirakl_port = Path(name), free_port()
        own = {"RESYNC_DATABASE_URL": f"sqlite:///{folder}/bench.db", "RESYNC_ENCRYPTION_KEYS": new_key()}
        api_key = _fill_database(own, workload, limits, mirakl_port)
        own |= {"RESYNC_KAFKA__BOOTSTRAP_SERVERS": bootstrap, "RESYNC_LOG__FORMAT": "json", **settings}
        made = {form: create_topics(bootstrap, partitions=partitions) for form in forms}
        try:
            for form, topics in made.items():
                preload(bootstrap, topics.requests, partitions, workload, api_key, form)
            requests = {form: topics.requests for form, topics in made.items()}
            yield Stage(bootstrap, partitions, workload, requests, limits, mirakl_port, own, folder)
        finally:
            for topics in made.values():
                delete_topics(bootstrap, topics)


def _fill_database(settings: dict[str, str], workload: Workload, limits: Limits, mirakl_port: int) -> str:
    """Make the tables, the client specifications and an API key, which is returned."""
    engine = create_engine(settings["RESYNC_DATABASE_URL"])
    try:
        upgrade(engine)
        encryption = Encryption([settings["RESYNC_ENCRYPTION_KEYS"]])
        specifications = ClientSpecifications(engine, encryption)
        for number in range(workload.specifications):
            name = workload.name(number)
            specifications.add(
                name,
                _base_url(mirakl_port, name),
                CREDENTIAL,
                id=workload.specification_id(number),
                products_per_call=limits.products_per_call,
                concurrent_calls=limits.concurrent_calls,
            )
        return ApiKeys(engine, encryption).issue("bench", signing=True).key
    finally:
        engine.dispose()


def _base_url(mirakl_port: int, name: str) -> str:
    return f"http://127.0.0.1:{mirakl_port}/c/{name}"


@contextmanager
def broker() -> Iterator[str]:
    """The broker of ``TEST_KAFKA_BOOTSTRAP``, or one of its own; its address."""
    given = given_bootstrap()
    if given:
        yield given
        return
    own = _own_broker()
    try:
        own.start()
        yield own.bootstrap
    finally:
        own.remove()


def _own_broker() -> Kafka:
    """A process rather than a container, whose proxy would take its share of the processors.

    Its quick compiler alone, as in the tests: the thorough one would be at work through all rounds.
    """
    try:
        return KafkaProcess(BROKER_SETTINGS)
    except PartMissing:
        return real_kafka()
