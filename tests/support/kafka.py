"""A real Apache Kafka: one KRaft node, as a container or as a process."""

import base64
import os
import signal
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from shutil import rmtree
from typing import Protocol

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.support.java import downloaded, find_java, maven
from tests.support.parts import Part, PartMissing, docker_runs, free_port, wait_until
from tests.support.process import ChildProcess

VERSION = "4.3.1"
IMAGE = f"apache/kafka:{VERSION}"
START_SECONDS = 60

BROKER_SETTINGS = {
    "node.id": "1",
    "process.roles": "broker,controller",
    "controller.listener.names": "CONTROLLER",
    "auto.create.topics.enable": "false",
    # One node: the internal topics can have one replica only; few partitions form and load quickly.
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    # A killed broker may register again once its old registration has expired: 9 s by default. It leads what it led
    # before until then, and Kafka 4.3.1 may take half a load of committed offsets for all of them where that ends
    # while it still loads: so not sooner than a busy machine loads.
    "broker.session.timeout.ms": "6000",
    "broker.heartbeat.interval.ms": "300",
}

POM = """<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>mirakl.resync</groupId><artifactId>kafka</artifactId><version>1</version><dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{version}</version></dependency>
<dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId>
<version>2.25.4</version></dependency></dependencies></project>
"""

LOG4J = """Configuration:
  Appenders:
    Console: {name: STDOUT, PatternLayout: {pattern: "%d %p %c{1} %m%n"}}
  Loggers:
    Root: {level: WARN, AppenderRef: [{ref: STDOUT}]}
    # how much of the committed offsets a coordinator has loaded, and when; which transaction markers were never written
    Logger:
    - {name: org.apache.kafka.coordinator.common.runtime.CoordinatorRuntime, level: INFO}
    - {name: kafka.coordinator.transaction.TransactionMarkerChannelManager, level: INFO}
"""


class Kafka(Part, Protocol):
    """A broker; ``bootstrap`` stays the same over restarts."""

    @property
    def bootstrap(self) -> str:
        """``host:port``."""


def real_kafka(settings: Mapping[str, str] | None = None) -> Kafka:
    """A broker of its own, not yet started, with these further broker ``settings``.

    Raises :class:`PartMissing`.
    """
    merged = {**BROKER_SETTINGS, **(settings or {})}
    if docker_runs():
        from tests.support.containers import KafkaContainer, image_available

        if image_available(IMAGE):
            return KafkaContainer(merged)
    return KafkaProcess(merged)


class KafkaProcess:
    """A broker from the published jars. The jars take 45 MB in the cache, the broker 400 MB of memory."""

    def __init__(
        self,
        settings: Mapping[str, str],
        *,
        java_options: tuple[str, ...] = ("-XX:TieredStopAtLevel=1",),
        listeners: Mapping[str, tuple[str, int, int]] | None = None,
        log: Path | None = None,
    ) -> None:
        """``listeners``: further ones, name -> (security protocol, port, advertised port).

        ``log``: without it, the log is in the broker's own folder and is removed with it.
        """
        jars = downloaded(f"kafka-{VERSION}", _download_jars)
        self._folder = Path(tempfile.mkdtemp(prefix="kafka-"))
        self._log = log or self._folder / "log"
        port, controller_port = free_port(), free_port()
        self.bootstrap = f"127.0.0.1:{port}"
        all_listeners = {"PLAINTEXT": ("PLAINTEXT", port, port), **(listeners or {})}
        self.addresses = {name: f"127.0.0.1:{bound}" for name, (_, bound, _) in all_listeners.items()}
        """Where each listener can be reached, whatever it advertises."""
        addresses = [f"{name}://127.0.0.1:{bound}" for name, (_, bound, _) in all_listeners.items()]
        advertised = [f"{name}://127.0.0.1:{told}" for name, (_, _, told) in all_listeners.items()]
        protocols = ["CONTROLLER:PLAINTEXT", *(f"{name}:{each[0]}" for name, each in all_listeners.items())]
        self._properties = self._folder / "server.properties"
        self._properties.write_text(
            _properties(
                {
                    **settings,
                    "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
                    "listeners": ",".join([*addresses, f"CONTROLLER://127.0.0.1:{controller_port}"]),
                    "advertised.listeners": ",".join(advertised),
                    "listener.security.protocol.map": ",".join(protocols),
                    "log.dirs": str(self._folder / "data"),
                }
            )
        )
        logging = self._folder / "log4j2.yaml"
        logging.write_text(LOG4J)
        self._java = [find_java(17), "-XX:+UseSerialGC", "-Xmx512m", *java_options]
        self._java += [f"-Dlog4j2.configurationFile={logging}", "-cp", f"{jars}/*"]
        self._broker = self._program("kafka.Kafka", str(self._properties))

    def start(self) -> None:
        """Format the storage the first time, start, wait until the broker answers."""
        if not (self._folder / "data").exists():
            self._format()
        self._broker.start()
        self._broker.wait_ready(lambda: broker_answers(self.bootstrap), timeout=START_SECONDS)

    def stop(self) -> None:
        """Controlled shutdown."""
        self._broker.end()

    def kill(self) -> None:
        """As a crash would."""
        self._broker.end(signal.SIGKILL)

    def pause(self) -> None:
        """Freeze the broker."""
        self._broker.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Thaw the broker."""
        self._broker.send(signal.SIGCONT)

    def remove(self) -> None:
        """Kill the broker and delete its data: nobody will read them again."""
        self.kill()
        rmtree(self._folder)

    def _format(self) -> None:
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        formatting = self._program(
            "kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", f"--config={self._properties}"
        )
        formatting.start()
        if formatting.wait(START_SECONDS) != 0:
            raise RuntimeError(f"Kafka's storage could not be formatted:\n{formatting.output()[-2000:]}")

    def _program(self, main: str, *arguments: str) -> ChildProcess:
        return ChildProcess([*self._java, main, *arguments], log=self._log)


def broker_answers(bootstrap: str) -> bool:
    """Whether a broker answers with metadata: an open port alone may be Docker's proxy."""
    try:
        return bool(AdminClient({"bootstrap.servers": bootstrap, "log_level": 0}).list_topics(timeout=1).brokers)
    except KafkaException:
        return False


def given_bootstrap() -> str | None:
    """The broker of ``TEST_KAFKA_BOOTSTRAP``, which the tests use but never disturb."""
    bootstrap = os.environ.get("TEST_KAFKA_BOOTSTRAP")
    if bootstrap:
        wait_until(lambda: broker_answers(bootstrap), timeout=10, what=f"TEST_KAFKA_BOOTSTRAP={bootstrap} answers")
    return bootstrap


def _download_jars(folder: Path) -> None:
    try:
        (folder / "pom.xml").write_text(POM.format(version=VERSION))
        maven("dependency:copy-dependencies", f"-DoutputDirectory={folder}", "-DincludeScope=runtime", folder=folder)
    except PartMissing as missing:
        raise PartMissing(
            f"Apache Kafka: no Docker engine with {IMAGE}, and as a process: {missing}. "
            "Start Docker, or install Java 17 and Maven, or set TEST_KAFKA_BOOTSTRAP"
        ) from missing


def _properties(settings: Mapping[str, str]) -> str:
    return "".join(f"{name}={value}\n" for name, value in settings.items())
