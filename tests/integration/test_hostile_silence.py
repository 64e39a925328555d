"""What stands still: a thread of ours ends the process with evidence, a broker that is away does not."""

import sys
import time
from pathlib import Path

import pytest

from consumer.adapters.watchdog import EXIT_STUCK
from tests.integration.contract.deployment import deployed, record
from tests.integration.contract.wire import pairs, request
from tests.support.kafka import Kafka
from tests.support.parts import free_port
from tests.support.process import ChildProcess
from tests.support.service import environment
from tests.support.topics import Topics, create_topics

OUTAGE_SECONDS = 15
"""In the scaled time of ``tests.support.stuck``: two and a half minutes."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "heartbeat", "thread"),
    [
        ("owner", "kafka owner thread", "kafka-owner"),
        ("core", "engine core", "MainThread"),
        ("producer", "producer call", "kafka-committer"),
    ],
)
def test_a_thread_that_stands_still_ends_the_process_with_the_stacks_of_all(
    kafka_bootstrap: str, topics: Topics, tmp_path: Path, what: str, heartbeat: str, thread: str
) -> None:
    with deployed(kafka_bootstrap, topics, tmp_path) as deployment:
        key = deployment.key()
        deployment.specification("shop")
        service = _service(deployment.environment, tmp_path, what)
        try:
            began = time.monotonic()
            while service.running and time.monotonic() < began + 60:
                deployment.send(record(key, request(pairs(1))))
                time.sleep(1)
            assert EXIT_STUCK == service.wait(10)
        finally:
            service.end()
    said = service.output()
    assert f"watchdog: {heartbeat}: no progress for" in said
    assert f"Thread {thread} (" in said
    assert "sleep" in said or what == "producer"
    assert key not in said


@pytest.mark.slow
def test_a_broker_that_is_away_for_minutes_is_waited_for(own_kafka: Kafka, tmp_path: Path) -> None:
    topics = create_topics(own_kafka.bootstrap)
    with deployed(own_kafka.bootstrap, topics, tmp_path) as deployment:
        key = deployment.key()
        deployment.specification("shop")
        service = _service(deployment.environment, tmp_path, "nothing")
        try:
            [first] = deployment.send(record(key, request(pairs(1))))
            deployment.result(first, timeout=60)
            under_way = deployment.send(*[record(key, request(pairs(1))) for _ in range(2000)])
            own_kafka.pause()
            time.sleep(OUTAGE_SECONDS)
            own_kafka.resume()
            deployment.outcomes.wait(under_way, timeout=90)
            assert service.running
            assert all(len(deployment.outcomes.results[each]) == 1 for each in under_way)
        finally:
            service.end()


def _service(settings: dict[str, str], folder: Path, what: str) -> ChildProcess:
    admin = {"RESYNC_ADMIN__HOST": "127.0.0.1", "RESYNC_ADMIN__PORT": str(free_port())}
    service = ChildProcess(
        [sys.executable, "-m", "tests.support.stuck", what],
        log=folder / "stuck.log",
        environment=environment({**settings, **admin}),
    )
    service.start()
    return service
