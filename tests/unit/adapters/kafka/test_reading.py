"""Records that the library leaves out, or cannot read, are read again or get a dead letter each."""

import pytest
from confluent_kafka import KafkaError

from consumer.domain.outcome import DeadLettered
from tests.unit.adapters.kafka.fake_consumer import PARTITION
from tests.unit.adapters.kafka.reader import Reader


@pytest.mark.parametrize("skips", [False, True], ids=["the library asks again", "the library goes on behind it"])
@pytest.mark.parametrize("times", [1, 2])
def test_a_batch_that_a_second_fetch_heals_loses_none_of_its_records(
    monkeypatch: pytest.MonkeyPatch, times: int, *, skips: bool
) -> None:
    """Whatever stands behind it, and in whatever lists it comes."""
    reader = Reader(monkeypatch, range(8))
    reader.log.ends, reader.log.garbled, reader.log.skips = {2: 5}, {2: times}, skips
    reader.assign()
    reader.turn(30)

    assert list(range(8)) == sorted(reader.answered)
    assert not reader.world.dead
    assert (8, "") == reader.world.offsets[PARTITION]


@pytest.mark.parametrize("skips", [False, True], ids=["bad compression", "bad checksum"])
def test_a_batch_that_stays_unreadable_gets_a_dead_letter_for_each_offset_and_no_other(
    monkeypatch: pytest.MonkeyPatch, *, skips: bool
) -> None:
    reader = Reader(monkeypatch, [0, 1, *range(3, 12)])
    reader.log.ends, reader.log.garbled, reader.log.skips = {3: 6, 6: 7}, {3: 10**6, 6: 10**6}, skips
    reader.assign()
    reader.turn(80)

    dead = [each.record.offset for each in reader.world.committed if isinstance(each.verdict, DeadLettered)]
    assert [3, 4, 5, 6] == sorted(dead)
    assert [0, 1, 7, 8, 9, 10, 11] == sorted(set(reader.answered) - set(dead))
    assert (12, "") == reader.world.offsets[PARTITION]


@pytest.mark.parametrize("offset", [3, 4])
def test_an_error_that_left_records_out_has_them_read_again(monkeypatch: pytest.MonkeyPatch, offset: int) -> None:
    """Whatever the error says: what comes behind it counts only if it continues what was read before."""
    reader = Reader(monkeypatch, range(8))
    reader.assign()
    reader.read(1)
    reader.log.offsets = [*range(8), 8, 9, 10, 11]
    reader.log.errors = [KafkaError(KafkaError._NOT_IMPLEMENTED, "unsupported magic byte")]
    reader.log.position = 8 + offset
    reader.turn(10)

    assert list(range(12)) == sorted(reader.answered)
    assert (12, "") == reader.world.offsets[PARTITION]
    assert 1 <= reader.world.status.holes


def test_a_hole_that_stays_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that leaves the same records out each time: nothing is committed beyond, and `/readyz` says so."""
    reader = Reader(monkeypatch, range(8))
    reader.assign()
    reader.turn(2)
    reader.log.offsets = [*range(8), 9]
    monkeypatch.setattr(reader.source._reading, "seek", lambda *_: None)
    reader.source._reading.read_to.pop(PARTITION)
    reader.turn(3)
    reader.world.wait(30.0)

    assert (8, "") == reader.world.offsets[PARTITION]
    assert "Partition 0 cannot be read at offset 8" in reader.world.status.troubles[0]
    assert 1 == reader.world.status.unread_partitions
