"""At least once: offsets are committed after everything is acknowledged."""

from collections.abc import Callable, Sequence

import pytest
from confluent_kafka import KafkaError, TopicPartition

from consumer.adapters.kafka.at_least_once import AtLeastOnceSink
from consumer.adapters.kafka.remedies import Named
from tests.unit.adapters.kafka.committing import ABORTED, COMMITTED, SMALL, Bench, Words, part, until_committed


class AtLeastOnce(Bench):
    """The same without transactions: the consumer commits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers: list[KafkaError | None] = []
        self.committed: list[list[TopicPartition]] = []
        self.delivered_before: list[int] = []
        super().__init__(monkeypatch)

    def make_sink(self, properties: dict[str, object]) -> AtLeastOnceSink:
        return AtLeastOnceSink(
            properties,
            Named("requests", "group", "group-1"),
            Words(),
            self.core.post,
            self.observed.append,
            self.policy,
            owner=self,
            commit_offsets=self._commit_offsets,
        )

    def _commit_offsets(self, offsets: Sequence[TopicPartition], done: Callable[[KafkaError | None], None]) -> None:
        self.delivered_before.append(sum(len(each.delivered) for each in self.broker.producers))
        self.committed.append(list(offsets))
        done(self.answers.pop(0) if self.answers else None)


def test_offsets_and_maps_are_committed_after_everything_is_acknowledged(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = AtLeastOnce(monkeypatch)
    assert COMMITTED is bench.commit(part(0, b"a", b"b"))

    assert [2] == bench.delivered_before
    assert [(0, 2, "map-0")] == [(each.partition, each.offset, each.metadata) for each in bench.committed[0]]
    assert bench.sink.stop(5)


def test_what_was_not_acknowledged_is_not_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = AtLeastOnce(monkeypatch)
    bench.broker.most_bytes = 2000
    commit = part(0, SMALL, b"x" * 2500)
    assert ABORTED is bench.commit(commit)
    assert [] == bench.committed

    until_committed(bench, commit)
    assert 1 == len(bench.committed)
    assert bench.sink.stop(5)


def test_a_commit_of_offsets_that_failed_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = AtLeastOnce(monkeypatch)
    bench.answers = [KafkaError(KafkaError.REBALANCE_IN_PROGRESS)]
    assert ABORTED is bench.commit(part())

    assert COMMITTED is bench.commit(part())
    assert bench.sink.stop(5)


def test_nothing_of_a_partition_that_is_no_longer_ours_is_published(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = AtLeastOnce(monkeypatch)
    assert ABORTED is bench.commit(part(0, epoch=7))

    assert "produce" not in bench.broker.asked
    assert [] == bench.committed
    assert bench.sink.stop(5)
