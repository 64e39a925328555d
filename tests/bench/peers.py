"""Peers of the service: Java programs that do the same job as plainly as a good engineer would, or with a library.

They tell how the service's pace compares with what others would have built; the bare loop, which calls nobody, tells
how far it is from the bound. Their sources are in ``tests/bench/java``.
"""

import hashlib
import shutil
from enum import StrEnum
from pathlib import Path

from schemas.avro import released
from tests.bench.programs import SideBySide
from tests.bench.stage import CREDENTIAL, Stage
from tests.support.java import downloaded, find_java, maven
from tests.support.parts import PartMissing
from tests.support.process import ChildProcess
from tests.support.topics import Topics

SOURCES = Path(__file__).with_name("java")
JVM = ("-Xmx512m", "-XX:+UseParallelGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
"""The parallel collector takes a fifth less CPU time than the default, G1. A larger heap does not make it faster."""


class Peer(StrEnum):
    """A peer, by its name on the command line and in the table."""

    JAVA_BARRIER = "java-barrier"
    """Exactly once: polls, calls, waits for all calls, commits one transaction."""
    PARALLEL_CONSUMER = "parallel-consumer"
    """At least once: Confluent's library, many threads with one batch each."""

    @property
    def at_least_once(self) -> bool:
        """Whether it repeats results where partitions move."""
        return self is Peer.PARALLEL_CONSUMER

    @property
    def main_class(self) -> str:
        """The Java class to run."""
        return "".join(map(str.capitalize, self.split("-")))


def peers(peer: Peer, stage: Stage, topics: Topics, processes: int) -> SideBySide:
    """Processes of one peer, which share a group; none is started.

    Raises :class:`PartMissing` where Java or Maven is missing.
    """
    try:
        java, folder = find_java(17), compiled()
    except PartMissing as missing:
        raise PartMissing(f"{peer}: {missing}. Install a JDK 17 and Maven") from missing
    settings = stage.folder / f"{topics.group}.properties"
    settings.write_text(_properties(stage, topics))
    command = [java, *JVM, "-cp", f"{folder}/target/classes:{folder}/jars/*", peer.main_class, str(settings)]
    return SideBySide(
        ChildProcess([*command, str(number)], log=stage.folder / f"{topics.group}-{number}.log")
        for number in range(processes)
    )


def compiled() -> Path:
    """The folder with the peers' classes and jars, made once for each state of the sources."""
    sources = sorted(SOURCES.iterdir())
    digest = hashlib.sha256(b"\0".join(source.read_bytes() for source in sources)).hexdigest()[:12]

    def compile_in(folder: Path) -> None:
        for source in sources:
            shutil.copy(source, folder)
        maven("compiler:compile", "dependency:copy-dependencies", folder=folder)

    return downloaded(f"bench-peers-{digest}", compile_in)


def _properties(stage: Stage, topics: Topics) -> str:
    values = {
        "bootstrap": stage.bootstrap,
        "group": topics.group,
        "requests": topics.requests,
        "results": topics.results,
        "requests.schema": _written(stage.folder / "requests.avsc", released.requests()[-1].text),
        "results.schema": _written(stage.folder / "results.avsc", released.results()[-1].text),
        "credential": CREDENTIAL,
        "requests.per.call": max(1, stage.limits.products_per_call // stage.workload.products),
        "concurrent.calls": stage.limits.concurrent_calls,
        **{f"client.{identity}": base_url for identity, base_url in stage.base_urls().items()},
    }
    return "".join(f"{name}={value}\n" for name, value in values.items())


def _written(file: Path, text: str) -> str:
    file.write_text(text)
    return str(file)
