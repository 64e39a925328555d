"""Committed offsets that the log does not hold: what is gone is counted, what is there gets its outcome."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # public, not re-exported

from tests.integration.contract import wire
from tests.integration.contract.deployment import Deployment, deployed, record
from tests.integration.contract.wire import Event, pairs, request
from tests.support.parts import wait_until
from tests.support.records import RawRecord
from tests.support.service import Service
from tests.support.topics import Topics

pytestmark = pytest.mark.slow

PARTITION = 0


@pytest.fixture
def own(kafka_bootstrap: str, topics: Topics, tmp_path: Path) -> Iterator[Deployment]:
    """A deployment for this test alone, whose first request has been answered, and which is down."""
    with deployed(kafka_bootstrap, topics, tmp_path) as deployment:
        deployment.key()
        deployment.specification("shop")
        with deployment.service("before") as before:
            [first] = deployment.send(asked(deployment))
            deployment.result(first)
            assert 0 == before.terminate()
        yield deployment


def asked(deployment: Deployment) -> RawRecord:
    return record(deployment.keys[0], request(pairs(1)), partition=PARTITION)


def resets(service: Service) -> int:
    lines = service.get("/metrics").text.splitlines()
    return int(float(next(line.split()[1] for line in lines if line.startswith("resync_offset_resets_total "))))


def await_reset(service: Service) -> None:
    """Metrics tell of the engine as it was a moment ago."""
    wait_until(lambda: resets(service) > 0, timeout=10, what="the reset is counted")


def test_records_that_expired_unread_are_counted_and_the_rest_is_answered(own: Deployment) -> None:
    expired = own.send(asked(own), asked(own))
    rest = own.send(asked(own), asked(own))
    admin = AdminClient({"bootstrap.servers": own.bootstrap})
    for deleted in admin.delete_records([TopicPartition(own.topics.requests, *rest[0])]).values():
        deleted.result(10)
    with own.service("after") as after:
        assert ["SYNCHRONIZED"] * 2 == [own.result(each)["status"] for each in rest]
        await_reset(after)
        assert 1 == resets(after)
        assert f"records from offset {expired[0][1]} to {expired[1][1]} are gone unread" in after.output()
    assert own.outcomes.quiet(expired)


def test_an_offset_beyond_the_log_begins_anew(own: Deployment) -> None:
    """A log that was lost, or a group's offsets that were moved by hand."""
    [waiting] = own.send(asked(own))
    admin = AdminClient({"bootstrap.servers": own.bootstrap})
    beyond = ConsumerGroupTopicPartitions(own.topics.group, [TopicPartition(own.topics.requests, PARTITION, 1000)])
    for altered in admin.alter_consumer_group_offsets([beyond]).values():
        altered.result(10)
    with own.service("after") as after:
        assert "SYNCHRONIZED" == own.result(waiting)["status"]
        await_reset(after)
        time.sleep(1)  # nothing sends the reading back once more
        assert 1 == resets(after)


def made_anew(own: Deployment) -> None:
    """Delete the requests topic and create it again at once."""
    admin = AdminClient({"bootstrap.servers": own.bootstrap})
    admin.delete_topics([own.topics.requests])[own.topics.requests].result(10)

    def created() -> bool:
        try:
            admin.create_topics([NewTopic(own.topics.requests, 1, 1)])[own.topics.requests].result(10)
        except KafkaException:
            return False
        return True

    wait_until(created, timeout=20, what="the topic is made anew")


def test_a_topic_made_anew_while_the_service_runs_is_answered_from_its_start(own: Deployment) -> None:
    """The position that was committed for the former topic lies inside of the new one."""
    with own.service("running") as service:
        own.outcomes.wait(own.send(*[asked(own) for _ in range(5)]))
        service.pause()
        made_anew(own)
        events = ask_anew(own)
        service.resume()
        answers_all(own, service, events)


def test_a_topic_made_anew_while_the_service_is_down_is_answered_from_its_start(own: Deployment) -> None:
    made_anew(own)
    events = ask_anew(own)
    with own.service("after") as service:
        wait_until(lambda: not unanswered(own, events), timeout=60, what="the new topic's requests are answered")
        assert service.running


def ask_anew(own: Deployment) -> list[Event]:
    events = [request(pairs(1)) for _ in range(20)]
    own.send(*[record(own.keys[0], each, partition=PARTITION) for each in events])
    return events


def answers_all(own: Deployment, service: Service, events: Sequence[Event]) -> None:
    wait_until(lambda: not unanswered(own, events), timeout=60, what="the new topic's requests are answered")
    assert "was deleted and created again" in service.output()
    await_reset(service)


def unanswered(own: Deployment, events: Sequence[Event]) -> set[str]:
    """Ids of requests that have no result."""
    results = [each for found in list(own.outcomes.results.values()) for each in list(found)]
    return {each["requestId"] for each in events} - {wire.read_result(each.value)["requestId"] for each in results}
