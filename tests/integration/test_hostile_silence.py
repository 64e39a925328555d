"""What stands still: a thread of ours ends the process with evidence, a broker that is away does not."""

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from schemas.process.watchdog import EXIT_STUCK
from tests.integration.contract.deployment import Deployment, deployed, record
from tests.integration.contract.wire import pairs, request
from tests.support.kafka import Kafka
from tests.support.service import Service
from tests.support.topics import Topics, create_topics

OUTAGE_SECONDS = 25
"""In the scaled time of ``tests.support.stuck`` more than four minutes: twice what one producer call may last."""
PATIENCE_SECONDS = 90


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
    """What it had read is answered once by the next process, whatever it had done with it."""
    with deployed(kafka_bootstrap, topics, tmp_path) as deployment:
        key = deployment.key()
        deployment.specification("shop")
        now = tmp_path / "now"
        with _service(deployment, what, now) as service:
            asked = _ask(deployment, key, 100)
            deployment.outcomes.wait(asked, PATIENCE_SECONDS)
            now.touch()
            asked += _ask(deployment, key, 100)
            assert EXIT_STUCK == service.wait_end(PATIENCE_SECONDS)
        said = service.output()
        assert f"watchdog: {heartbeat}: no progress for" in said
        assert f"Leaving with exit code {EXIT_STUCK}" in said
        assert "_stand_still" in _stack(said, thread)
        assert {"MainThread", "kafka-owner", "kafka-committer"} <= {*re.findall(r"(?m)^Thread (\S+) \(", said)}
        assert key not in said

        with deployment.service("next"):
            _answered_once(deployment, asked)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("leave", "come_back"),
    [
        (lambda broker: broker.pause(), lambda broker: broker.resume()),
        (lambda broker: broker.kill(), lambda broker: broker.start()),
    ],
    ids=["frozen", "killed"],
)
def test_a_broker_that_is_away_for_minutes_is_waited_for(
    own_kafka: Kafka, tmp_path: Path, leave: Callable[[Kafka], None], come_back: Callable[[Kafka], None]
) -> None:
    topics = create_topics(own_kafka.bootstrap)
    with deployed(own_kafka.bootstrap, topics, tmp_path) as deployment:
        key = deployment.key()
        deployment.specification("shop")
        with _service(deployment, "nothing", tmp_path / "never") as service:
            deployment.outcomes.wait(_ask(deployment, key, 1), PATIENCE_SECONDS)
            asked = _ask(deployment, key, 2000)
            leave(own_kafka)
            alive, until = [], time.monotonic() + OUTAGE_SECONDS
            while time.monotonic() < until:
                alive.append(service.status("/livez"))
                time.sleep(1)
            assert 503 == service.status("/readyz")
            come_back(own_kafka)

            _answered_once(deployment, asked)
            _answered_once(deployment, _ask(deployment, key, 10))
            assert {200} == {*alive}
            assert service.running


def _service(deployment: Deployment, what: str, now: Path) -> Service:
    return Service(deployment.environment, deployment.folder, program=("tests.support.stuck", what, str(now)))


def _ask(deployment: Deployment, key: str, count: int) -> list[tuple[int, int]]:
    return deployment.send(*[record(key, request(pairs(1))) for _ in range(count)])


def _answered_once(deployment: Deployment, asked: list[tuple[int, int]]) -> None:
    deployment.outcomes.wait(asked, PATIENCE_SECONDS)
    assert {1} == {len(deployment.outcomes.results[each]) for each in asked}


def _stack(said: str, thread: str) -> str:
    """What the report says of one thread."""
    return said.split(f"\nThread {thread} (", 1)[1].split("\nThread ", 1)[0]
