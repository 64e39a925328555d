"""Logs that were cut, and topics that were made anew, under the reader."""

import pytest
from confluent_kafka import KafkaError

from consumer.domain.progress import encode_map, topic_id_of
from consumer.engine.commands import Reload, Reread
from tests.unit.adapters.kafka.fake_consumer import PARTITION, Message
from tests.unit.adapters.kafka.reader import Reader

OUT_OF_RANGE = KafkaError(KafkaError._AUTO_OFFSET_RESET, "out of range")


def test_records_that_were_read_before_the_log_was_cut_are_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader(monkeypatch, range(4))
    reader.assign()
    reader.read(2)
    epochs = dict(reader.source._group.epochs)
    reader.log.offsets, reader.log.start = [*range(20, 24)], 20
    reader.turn(10)

    assert [*range(4), *range(20, 24)] == sorted(reader.answered)
    assert epochs == reader.source._group.epochs
    assert 1 == reader.world.status.offset_resets
    assert 0 == reader.world.status.discarded


def test_a_log_that_ends_before_the_reader_is_read_from_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is another log; what was read of the former one is answered first."""
    reader = Reader(monkeypatch, range(10))
    reader.assign()
    reader.read(2)
    reader.log.offsets = list(range(3))
    reader.log.end_told = -1
    reader.log.told = (10, "")
    reader.turn(10)

    assert [*range(10), *range(3)] == reader.answered
    assert 1 == reader.world.status.offset_resets


def test_a_partition_that_is_read_anew_while_its_log_is_cut_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """That the position is out of range is told after the partition's progress was asked for again."""
    reader = Reader(monkeypatch, range(10))
    reader.log.told = (10, "")
    reader.assign()
    reader.read(1)
    reader.log.silent = {PARTITION}
    reader.source.reload(Reload(PARTITION, reader.source._group.epochs[PARTITION]))
    reader.read(1)
    reader.log.stopped = True
    reader.source._hand_over([Message(10, OUT_OF_RANGE)], {})  # type: ignore[list-item]  # a fake
    reader.log.silent, reader.log.offsets = set(), list(range(3))
    reader.turn(100)

    assert list(range(3)) == reader.answered


@pytest.mark.parametrize("offset", [0, 2])
def test_a_log_that_was_cut_is_read_on_although_more_goes_wrong_meanwhile(
    monkeypatch: pytest.MonkeyPatch, offset: int
) -> None:
    """An error that names no offset, and a hole that the core wants to have read."""
    reader = Reader(monkeypatch, range(4))
    reader.assign()
    reader.read(2)
    reader.log.stopped = True
    epochs = dict(reader.source._group.epochs)
    gone = Message(4, KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART, "unknown"))
    reader.source._hand_over([Message(4, OUT_OF_RANGE), gone], epochs)  # type: ignore[list-item]  # fakes
    reader.source.reread(Reread(PARTITION, epochs[PARTITION], offset))
    reader.log.offsets, reader.log.start = [*range(20, 24)], 20
    reader.turn(10)

    assert [*range(4), *range(20, 24)] == sorted(reader.answered)


def test_a_topic_made_anew_is_read_from_its_start(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its offsets go on where the reader stands: nothing but the id tells. What was read of the former is answered."""
    reader = Reader(monkeypatch, range(6), topic_id=b"former")
    reader.assign()
    reader.read(2)
    reader.log.offsets, reader.log.told = list(range(20)), (6, "")
    reader.source.topic_is(b"new")
    reader.turn(20)

    assert [*range(6), *range(20)] == reader.answered
    assert "was deleted and created again" in caplog.text
    assert 1 == reader.world.status.offset_resets


def test_a_restart_finds_a_topic_that_was_made_anew_meanwhile(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reader = Reader(monkeypatch, range(20), topic_id=None)
    reader.log.told = (6, encode_map(6, b"\x02", None, b"former"))
    reader.assign()
    reader.turn(5)
    assert not reader.answered

    reader.source.topic_is(b"new")
    reader.turn(10)
    assert list(range(20)) == reader.answered
    assert "was deleted and created again" in caplog.text


@pytest.mark.parametrize("told", [b"same", b""])
def test_a_topic_that_is_the_same_or_not_told_goes_on(monkeypatch: pytest.MonkeyPatch, told: bytes) -> None:
    reader = Reader(monkeypatch, range(20), topic_id=None)
    reader.log.told = (6, encode_map(6, b"\x02", None, b"same"))
    reader.assign()
    for topic_id in (told, b"", told):
        reader.source.topic_is(topic_id)
        reader.turn(5)

    assert [6, *range(8, 20)] == reader.answered
    assert told == topic_id_of(20, reader.world.offsets[PARTITION][1])
