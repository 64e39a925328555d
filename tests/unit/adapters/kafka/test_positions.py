"""Committed progress that the brokers do not tell, or tell wrongly."""

import pytest
from confluent_kafka import TopicPartition

from consumer.adapters.kafka.policy import READING
from consumer.domain.progress import CommitPoint, encode_map
from consumer.engine.commands import Reload
from tests.unit.adapters.kafka.fake_consumer import PARTITION
from tests.unit.adapters.kafka.reader import Reader

TOPIC_ID = b"0123456789abcdef"


@pytest.mark.parametrize("partitions", [1, 32, 128])
def test_partitions_whose_progress_is_not_told_do_not_keep_the_thread_from_polling(
    monkeypatch: pytest.MonkeyPatch, partitions: int
) -> None:
    reader = Reader(monkeypatch)
    reader.log.silent = set(range(partitions))
    reader.assign(*range(partitions))
    longest = 0.0
    for _ in range(20):
        began = reader.clock.now
        reader.source._turn()
        longest = max(longest, reader.clock.now - began)

    assert longest <= 2 * READING.positions_budget + 0.1


def test_partitions_whose_progress_is_told_do_not_wait_for_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader(monkeypatch)
    reader.log.silent = set(range(0, 100, 2))
    reader.assign(*range(100))
    began = reader.clock.now
    while len(reader.source._group.epochs) < 50:
        reader.source._turn()

    assert reader.clock.now - began < 10


def test_a_partition_whose_progress_is_not_told_for_long_is_a_trouble_until_it_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reader = Reader(monkeypatch, range(2))
    reader.log.silent = {PARTITION}
    reader.assign()
    while reader.clock.now < 1000 + 0.9 * READING.unread_patience:
        reader.turn()
    assert not reader.world.status.troubles

    while reader.clock.now < 1000 + 2 * READING.unread_patience:
        reader.turn()
    assert ["Partition 0 has not been read for 20 s"] == [
        trouble.split(":", maxsplit=1)[0] for trouble in reader.world.status.troubles
    ]
    assert 1 == reader.world.status.unread_partitions
    assert reader.world.status.intake_open
    assert "Partition 0 has not been read for 20 s" in caplog.text

    reader.log.silent = set()
    while reader.source._positions.troubles:
        reader.turn()
    assert not reader.world.status.troubles
    assert [0, 1] == reader.answered


def test_progress_that_cannot_be_true_is_a_trouble_and_then_what_is_certain_counts(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Answering a request again is allowed, losing one is not: so neither more than what was acknowledged, nor less."""
    reader = Reader(monkeypatch, range(40))
    reader.log.told = (10, "")
    reader.assign()
    reader.read(1)
    reader.source.known.learn(PARTITION, CommitPoint(20, ""))
    reader.source.reload(Reload(PARTITION, reader.source._group.epochs[PARTITION]))
    began = reader.clock.now
    while reader.clock.now < began + 2 * READING.unread_patience:
        reader.turn()
    assert not reader.source._group.epochs
    assert "the brokers report committed offset 10 although 20 is committed" in reader.world.status.troubles[0]

    while reader.clock.now < began + 1.2 * READING.credible_patience:
        reader.turn()
    assert list(range(20, 40)) == reader.answered
    assert "Reading goes on at 20" in caplog.text
    assert not reader.world.status.troubles


def test_brokers_that_forgot_what_was_committed_are_not_believed_for_a_partition_that_comes_back(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The coordinator of the group forgot two minutes; the group fell apart and formed anew."""
    reader = Reader(monkeypatch, range(40), TOPIC_ID)
    reader.log.told = (10, "")
    reader.assign()
    reader.read(1)
    reader.source.known.learn(PARTITION, CommitPoint(20, encode_map(20, b"", topic_id=TOPIC_ID)))
    reader.source._group.on_lost(reader.log, [TopicPartition("requests", PARTITION)])  # type: ignore[arg-type]  # a fake
    reader.read(1)
    reader.assign()
    reader.read(1)
    assert not reader.source._group.epochs
    assert "the brokers report committed offset 10 although 20 is committed. They are asked again" in caplog.text

    reader.log.told = (25, "")
    while not reader.source._group.epochs:
        reader.turn()
    reader.turn(10)
    assert list(range(25, 40)) == reader.answered


def test_a_former_progress_map_is_not_believed_either(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reader = Reader(monkeypatch, range(40), TOPIC_ID)
    former, latest = (encode_map(10, bytes([bits]), topic_id=TOPIC_ID) for bits in (0b0010, 0b0110))
    reader.log.told = (10, former)
    reader.source.known.learn(PARTITION, CommitPoint(10, latest))
    reader.assign()
    reader.read(1)
    assert not reader.source._group.epochs
    assert "the brokers report committed offset 10 with an older progress map" in caplog.text

    reader.log.told = (10, latest)
    while not reader.source._group.epochs:
        reader.turn()
    reader.turn(10)
    assert [10, *range(13, 40)] == reader.answered


@pytest.mark.parametrize(
    ("note", "end"),
    [(encode_map(20, b"", topic_id=bytes(16)), 40), ("", 40), (encode_map(20, b"", topic_id=TOPIC_ID), 5)],
    ids=["of another id", "of an unknown id", "beyond the log"],
)
def test_a_commit_of_a_former_log_says_nothing_about_this_one(
    monkeypatch: pytest.MonkeyPatch, note: str, end: int
) -> None:
    reader = Reader(monkeypatch, range(end), TOPIC_ID)
    reader.log.told = (2, "")
    reader.source.known.learn(PARTITION, CommitPoint(20, note))
    reader.assign()
    reader.turn(10)
    assert list(range(2, end)) == reader.answered


def test_without_topic_ids_a_commit_counts_while_its_assignment_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The topic may have been created again while the partition was another's."""
    reader = Reader(monkeypatch, range(40), topic_id=b"")
    reader.assign()
    reader.read(1)
    reader.source.known.learn(PARTITION, CommitPoint(20, ""))
    reader.source._group.on_lost(reader.log, [TopicPartition("requests", PARTITION)])  # type: ignore[arg-type]  # a fake
    reader.log.told = (2, "")
    reader.read(1)
    reader.assign()
    reader.turn(10)
    assert list(range(2, 40)) == reader.answered


def test_a_commit_from_before_the_topic_id_was_known_counts_while_its_assignment_lasts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader = Reader(monkeypatch, range(40), topic_id=b"")
    reader.assign()
    reader.read(1)
    reader.source.known.learn(PARTITION, CommitPoint(20, ""))
    reader.source.topic_is(TOPIC_ID)
    reader.read(1)
    reader.log.told = (2, "")
    reader.source.reload(Reload(PARTITION, reader.source._group.epochs[PARTITION]))
    reader.read(1)

    assert not reader.source._group.epochs


def test_the_final_word_on_what_brokers_report_names_the_answer_and_counts_answers_only(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reader = Reader(monkeypatch, range(40), topic_id=b"")
    reader.log.told = (10, "")
    reader.source.known.learn(PARTITION, CommitPoint(20, ""))
    reader.assign()
    reader.read(1)
    reader.log.silent = {PARTITION}
    silent_until = reader.clock.now + 2 * READING.credible_patience
    while reader.clock.now < silent_until:
        reader.turn()
    reader.log.silent = set()
    reader.turn(10)
    assert not reader.answered

    while not reader.source._group.epochs:
        reader.turn()
    assert "the brokers report committed offset 10 although 20 is committed. Reading goes on at 20" in caplog.text
