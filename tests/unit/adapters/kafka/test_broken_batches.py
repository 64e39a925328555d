"""Batches that cannot be unpacked, and brokers that do not say where the log ends: polling goes on."""

from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, KafkaException

from consumer.adapters.kafka import broken_batches
from consumer.adapters.kafka.broken_batches import BrokenBatches
from consumer.adapters.kafka.policy import READING


class SilentBrokers:
    """Each query for the bounds of a log takes its whole timeout."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.asked: list[int] = []
        self.answer: tuple[int, int] | None = None

    def watermarks(self, partition: int) -> tuple[int, int]:
        self.asked.append(partition)
        if self.answer is not None:
            return self.answer
        self.now += READING.watermark_timeout
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "Local: Timed out", retriable=True))


@pytest.fixture
def brokers(monkeypatch: pytest.MonkeyPatch) -> SilentBrokers:
    brokers = SilentBrokers()
    monkeypatch.setattr(broken_batches, "time", SimpleNamespace(monotonic=lambda: brokers.now))
    return brokers


def batches_on(brokers: SilentBrokers) -> BrokenBatches:
    return BrokenBatches(brokers, SimpleNamespace(read_to={}))  # type: ignore[arg-type]  # what is used of them


def test_errors_of_many_partitions_cost_one_query_while_the_brokers_are_silent(brokers: SilentBrokers) -> None:
    """24 of them, 2 s each, would exceed ``max.poll.interval.ms``."""
    broken, began = batches_on(brokers), brokers.now
    for partition in range(24):
        broken.met(partition, 7, 1, set())

    assert READING.watermark_timeout == brokers.now - began
    assert {} == broken.searches


def test_the_search_begins_once_the_brokers_answer_again(brokers: SilentBrokers) -> None:
    broken = batches_on(brokers)
    broken.met(0, 7, 1, set())
    brokers.now += READING.retry
    brokers.answer = (0, 20)
    for partition in range(3):
        broken.met(partition, 7, 1, set())

    assert {0, 1, 2} == broken.searches.keys()
