"""Brokers whose settings do not suit: what doctor, the tools and the service make of each."""

import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from producer_tools.sandbox.mirakl import Effect, Fault
from tests.integration.contract import wire
from tests.integration.contract.deployment import Deployment, administered, deployed, record
from tests.support.fixtures import running
from tests.support.kafka import BROKER_SETTINGS, KafkaProcess
from tests.support.parts import free_port
from tests.support.service import environment
from tests.support.topics import create_topics

REQUESTS = 3_000
SHORT_MAP = 200
"""Characters; the map of so many requests that are answered in any order takes more."""
QUIET_SECONDS = 20.0


def a_broker(**settings: str) -> Iterator[KafkaProcess]:
    """A broker with a second listener, ``EXT``, whose advertised port nobody listens at."""
    settings = {name.replace("_", "."): value for name, value in settings.items()}
    listeners = {"EXT": ("PLAINTEXT", free_port(), free_port())}
    yield from running(lambda: KafkaProcess({**BROKER_SETTINGS, **settings}, listeners=listeners))


@pytest.fixture(scope="module")
def broker() -> Iterator[KafkaProcess]:
    yield from a_broker(offset_metadata_max_bytes=str(SHORT_MAP), group_max_session_timeout_ms="9000")


@pytest.fixture(scope="module")
def deployment(broker: KafkaProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    topics = create_topics(broker.bootstrap, partitions=1)
    with deployed(broker.bootstrap, topics, tmp_path_factory.mktemp("deployment")) as made:
        made.key()
        yield made


def examined(deployment: Deployment, **settings: str) -> tuple[int, list[str]]:
    code, out, _ = administered({**deployment.environment, **settings}, "doctor", "--output", "json")
    rows = json.loads(out)
    return code, [f"{row['level']} {row['subject']}: {row['message']}" for row in rows if row["level"] != "OK"]


def test_doctor_compares_the_bounds_of_the_brokers(deployment: Deployment) -> None:
    code, found = examined(deployment)
    assert 1 == code
    assert any(each.startswith("FAIL") and "9000 ms" in each and "never join" in each for each in found), found
    assert any(each.startswith("WARN") and f"offset.metadata.max.bytes is {SHORT_MAP}" in each for each in found)


@pytest.mark.parametrize("program", ["doctor", "run", "results", "send"])
def test_an_advertised_address_that_does_not_answer_ends_with_6(
    broker: KafkaProcess, deployment: Deployment, tmp_path: Path, program: str
) -> None:
    outside = {**deployment.environment, "RESYNC_KAFKA__BOOTSTRAP_SERVERS": broker.addresses["EXT"]}
    (tmp_path / "key").write_text(deployment.keys[0])
    command = {
        "doctor": ["consumer", "doctor"],
        "run": ["consumer", "run"],
        "results": ["producer_tools", "results"],
        "send": ["producer_tools", "send", "--api-key-file", str(tmp_path / "key"), "--product", "A:B"],
    }[program]
    done = subprocess.run(
        [sys.executable, "-m", *command],
        env=environment(outside),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert 6 == done.returncode, done.stderr
    assert "advertised" in done.stdout + done.stderr


@pytest.mark.slow
def test_short_maps_are_committed_where_the_broker_takes_no_others(deployment: Deployment) -> None:
    deployment.specification("fast")
    slow = deployment.specification("slow", "--inactive")
    deployment.mirakl.script("slow", Fault(effect=Effect.DELAY, delay=40.0))
    picked = random.Random(7)
    requests = [
        record(
            deployment.keys[0],
            wire.request(wire.pairs(1, f"P{n}"), specification=slow if picked.random() < 0.05 else None),
        )
        for n in range(REQUESTS)
    ]
    session = {"RESYNC_KAFKA__PROPERTIES": '{"session.timeout.ms": 8000}', "RESYNC_CALL_TIMEOUT": "60s"}
    with deployment.service(**session) as service:
        outcomes = deployment.outcomes  # which follows from here on
        coordinates = deployment.send(*requests)
        time.sleep(QUIET_SECONDS)
        answered = sum(1 for each in coordinates if each in outcomes.results)
        assert 0.9 * REQUESTS < answered < REQUESTS
        assert 200 == service.status("/readyz")
        metrics = service.get("/metrics").text
        assert "resync_progress_maps_cut_total 0.0" not in metrics
        assert any("offset.metadata.max.bytes" in line["event"] for line in service.log())
        outcomes.wait(coordinates, timeout=90)
    assert {1} == {len(outcomes.results[each]) for each in coordinates}


@pytest.mark.slow
def test_without_room_for_a_transaction_log_no_call_is_made_and_the_property_is_named(tmp_path: Path) -> None:
    for broker in a_broker(transaction_state_log_replication_factor="3", transaction_state_log_min_isr="2"):
        topics = create_topics(broker.bootstrap, partitions=1)
        with deployed(broker.bootstrap, topics, tmp_path) as deployment:
            deployment.specification("shop")
            code, found = examined(deployment)
            assert 1 == code
            assert any(each.startswith("FAIL") and "replication.factor is 3, and there are 1" in each for each in found)
            assert any(each.startswith("FAIL transactions") for each in found)
            service = deployment.service()
            service.start()
            coordinates = deployment.send(record(deployment.key(), wire.request(wire.pairs(1))))
            time.sleep(QUIET_SECONDS)
            told = service.get("/readyz")
            service.kill()
            assert 503 == told.status_code
            assert "transaction.state.log.replication.factor" in told.text
            assert [] == deployment.mirakl.submissions("shop")
            assert deployment.outcomes.quiet(coordinates)
