"""The owner thread's turns: it goes on polling, and a partition that begins is read at once."""

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from consumer.engine.commands import Reread
from tests.unit.adapters.kafka.fake_consumer import PARTITION
from tests.unit.adapters.kafka.reader import Reader


def test_a_seek_that_fails_again_and_again_does_not_keep_the_thread_from_polling(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader = Reader(monkeypatch, range(4))
    reader.assign()
    reader.read(1)
    seeks = 0

    def refused(_place: TopicPartition) -> None:
        nonlocal seeks
        seeks += 1
        assert seeks < 10
        raise KafkaException(KafkaError(KafkaError._STATE, "Local: Erroneous state"))

    with monkeypatch.context() as patch:
        patch.setattr(reader.log, "seek", refused)
        reader.source.reread(Reread(PARTITION, reader.source._group.epochs[PARTITION], 0))
        reader.read(3)
    reader.turn(10)

    assert 3 == seeks
    assert list(range(4)) == reader.answered


def test_a_resumed_partition_does_not_wait_until_librdkafka_looks_for_work(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader(monkeypatch, range(3))
    calls: list[tuple[str, int]] = []

    def query(places: list[TopicPartition], timeout: float) -> None:
        assert timeout <= 0.1
        calls.extend(("query", each.partition) for each in places)
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    resume = reader.log.resume

    def resumed(places: list[TopicPartition]) -> None:
        calls.extend(("resume", each.partition) for each in places)
        resume(places)

    monkeypatch.setattr(reader.log, "resume", resumed)
    monkeypatch.setattr(reader.log, "offsets_for_times", query)
    reader.assign()
    reader.turn(5)

    assert [] == calls
    assert [0, 1, 2] == reader.answered

    reader.source.pause([PARTITION])
    reader.turn()
    reader.source.resume([PARTITION])
    reader.turn()
    assert [("resume", PARTITION), ("query", PARTITION)] == calls


def watch_queries(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> list[set[int]]:
    """Return the partitions of each query for ends from now on, none of which may take long."""
    queries: list[set[int]] = []

    def query(places: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        assert timeout <= 0.1
        queries.append({each.partition for each in places})
        return places

    monkeypatch.setattr(reader.log, "offsets_for_times", query)
    return queries


@pytest.mark.parametrize("what", ["assign nothing", "revoke"])
def test_partitions_that_are_kept_do_not_wait_until_librdkafka_looks_for_work(
    monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Each rebalance pauses all partitions for a moment; they were silent for up to 1 s after it."""
    reader = Reader(monkeypatch)
    reader.assign(0, 1, 2)
    reader.turn(5)
    reader.source.pause([2])
    reader.turn()
    queries = watch_queries(reader, monkeypatch)
    if what == "revoke":
        reader.revoke(1)
    else:
        reader.source._group.on_assign(reader.log, [])  # type: ignore[arg-type]  # a fake
    reader.turn()

    assert [{0} if what == "revoke" else {0, 1}] == queries


def test_partitions_that_go_on_together_wait_for_a_silent_broker_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader(monkeypatch, range(3))
    queries = watch_queries(reader, monkeypatch)
    reader.assign(*range(20))
    reader.turn(5)
    reader.source.pause(range(20))
    reader.source.resume(range(20))
    reader.turn()

    assert [set(range(20))] == queries
