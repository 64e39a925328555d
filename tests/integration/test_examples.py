"""The commands of examples/README.md, run as they are written there."""

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.contract import REQUESTS_TOPIC, RESULTS_TOPIC
from tests.integration.contract import wire
from tests.integration.contract.deployment import Deployment, deployed
from tests.support.java import downloaded, find_java, maven
from tests.support.kafka import VERSION
from tests.support.parts import PartMissing
from tests.support.records import RawRecord, read_topic, send_raw
from tests.support.service import ROOT, environment
from tests.support.topics import create_topics, delete_topics

SOURCES = ROOT / "examples" / "java"
PAGE = (ROOT / "examples" / "README.md").read_text()
BUILD, JAVA, PRODUCE, CONSUME, KEYS = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
RUN_SECONDS = 60

CONSOLE_TOOLS = ("kafka-tools", "kafka-tools-api", "kafka-server-common", "kafka-clients")
"""What the console tools of Kafka's distribution need of it."""
POM = """<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>tests</groupId><artifactId>kafka-tools</artifactId><version>1</version><dependencies>{dependencies}
<dependency><groupId>net.sf.jopt-simple</groupId><artifactId>jopt-simple</artifactId><version>5.0.4</version></dependency>
<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-nop</artifactId><version>1.7.36</version></dependency>
</dependencies></project>
"""
DEPENDENCY = (
    "<dependency><groupId>org.apache.kafka</groupId><artifactId>{name}</artifactId><version>{version}</version>"
    "<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions></dependency>"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the Java examples, built, and beside it ``bin`` with the console tools."""
    folder = tmp_path_factory.mktemp("examples") / "java"
    try:
        java, javac = _compiler()
        fetch, compile_ = BUILD.splitlines()
        pom = (SOURCES / "pom.xml").read_text()
        name = hashlib.sha256(pom.encode()).hexdigest()[:12]
        fetched = downloaded(f"examples-{name}", lambda cache: _fetch(cache, pom, shlex.split(fetch)[1:]))
        tools = downloaded(f"kafka-tools-{VERSION}", _fetch_tools)
    except PartMissing as missing:
        message = f"Java examples: {missing}. Install a JDK of 17 or newer, and Maven"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(message)
    shutil.copytree(SOURCES, folder, ignore=shutil.ignore_patterns("lib", "classes"))
    (folder / "lib").symlink_to(fetched / "lib")
    _console_tool(folder, java, tools, "kafka-console-producer.sh", "org.apache.kafka.tools.ConsoleProducer")
    _console_tool(folder, java, tools, "kafka-console-consumer.sh", "org.apache.kafka.tools.consumer.ConsoleConsumer")
    _console_tool(folder, java, tools, "java", "")
    run(folder, compile_.replace("javac", str(javac)), {})
    return folder


def _compiler() -> tuple[Path, Path]:
    java = Path(find_java(17)).resolve()
    javac = java.with_name("javac")
    if not javac.exists():
        raise PartMissing(f"there is no javac beside {java}")
    return java, javac


def _fetch(cache: Path, pom: str, arguments: list[str]) -> None:
    (cache / "pom.xml").write_text(pom)
    maven(*arguments, folder=cache)


def _fetch_tools(cache: Path) -> None:
    dependencies = "".join(DEPENDENCY.format(name=name, version=VERSION) for name in CONSOLE_TOOLS)
    _fetch(cache, POM.format(dependencies=dependencies), ["dependency:copy-dependencies", "-DoutputDirectory=lib"])


def _console_tool(folder: Path, java: Path, tools: Path, name: str, program: str) -> None:
    """Write what Kafka's distribution has in ``bin``; the compiler's second stage would cost more than it gains."""
    script = folder / "bin" / name
    script.parent.mkdir(exist_ok=True)
    path = f'-cp "$CLASSPATH:{tools}/lib/*" {program}' if program else ""
    script.write_text(f'#!/bin/sh\nexec {java} -XX:TieredStopAtLevel=1 {path} "$@"\n')
    script.chmod(0o755)


def run(folder: Path, block: str, settings: dict[str, str]) -> list[str]:
    """Run a block of the page in the folder of the Java examples; the lines of stdout."""
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    ran = subprocess.run(
        ["/bin/bash", "-eu", "-c", f"CLASSPATH=\n{block}"],
        cwd=folder,
        env={**environment(settings), "PATH": path, "RESYNC_EXAMPLES_SCHEMAS": str(ROOT / "schemas")},
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    assert 0 == ran.returncode, ran.stdout + ran.stderr
    return ran.stdout.splitlines()


@pytest.fixture(scope="module")
def deployment(
    kafka_bootstrap: str, schema_registry_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """The service with a registry, where one client specification is active."""
    topics = create_topics(kafka_bootstrap)
    settings = {"RESYNC_SCHEMA_REGISTRY__URL": schema_registry_url}
    with deployed(kafka_bootstrap, topics, tmp_path_factory.mktemp("deployment"), **settings) as made:
        made.administer("schemas", "register")
        made.specification("shop")
        made.key()
        with made.service():
            yield made
    delete_topics(kafka_bootstrap, topics)


@pytest.mark.registry
def test_the_commands_of_the_page_ask_and_are_answered(folder: Path, deployment: Deployment) -> None:
    """Java and the console tools, requests and results, each with a registry and without."""
    topics = deployment.topics
    settings = {**deployment.environment, "RESYNC_API_KEY": deployment.keys[0]}
    unframed = {name: value for name, value in settings.items() if name != "RESYNC_SCHEMA_REGISTRY__URL"}

    answers = [json.loads(line) for line in run(folder, JAVA, settings)]
    assert [("SYNCHRONIZED", 2)] == [(each["status"], each["synchronizedProducts"]) for each in answers]

    run(folder, PRODUCE, unframed)
    first, second = sorted(read_topic(deployment.bootstrap, topics.requests), key=lambda each: each.timestamp)
    assert (b"\x00", b"\xc3\x01") == ((first.value or b"")[:1], (second.value or b"")[:2])
    deployment.outcomes.wait([(second.partition, second.offset)])
    assert any("MKL-003" in products for products in deployment.mirakl.submissions("shop"))
    alien = {"requestId": "other-framing", **{name: answers[0][name] for name in answers[0] if name != "requestId"}}
    send_raw(
        deployment.bootstrap, topics.results, [RawRecord(wire.single_object(alien, wire.RESULT), b"other-framing")]
    )

    enough = "--max-messages 3 --timeout-ms 10000"
    shown = [json.loads(line) for line in run(folder, CONSUME.replace("--timeout-ms 10000", enough), settings)]
    keys = run(folder, KEYS.replace("--timeout-ms 10000", enough), settings)
    assert {answers[0]["requestId"], "other-framing"} < {each["requestId"] for each in shown}
    assert {each["requestId"] for each in shown} == {line.split("\t")[1] for line in keys}
    assert 2 == sum("resync-tenant:default" in line for line in keys)


def test_the_page_names_the_topics_as_they_are_by_default() -> None:
    names = set(re.findall(r":-([\w.-]+)\}", PAGE))

    assert {REQUESTS_TOPIC, RESULTS_TOPIC} == names
    assert all(f'"{name}"' in (SOURCES / "Events.java").read_text() for name in names)
