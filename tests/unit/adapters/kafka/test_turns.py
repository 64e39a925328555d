"""Turns at reading: nobody waits without end for partitions that deliver all the time, and nobody waits in vain."""

from collections.abc import Iterable
from unittest.mock import Mock

import pytest

from consumer.adapters.kafka.policy import READING
from consumer.adapters.kafka.reading import Reading
from consumer.adapters.kafka.turns import Turns

MORE = 1_000_000
"""Records that each partition has, unless a test says otherwise."""


class Partitions:
    """A consumer that delivers from the first partition that is not paused, as librdkafka does with large batches."""

    def __init__(self, count: int) -> None:
        self.ends = dict.fromkeys(range(count), MORE)
        self.silent: set[int] = set()
        """Partitions that have records and deliver none."""
        self.unreadable: set[int] = set()
        """Silent ones of which the brokers report no readable end: a transaction is open, or the leader is away."""
        self.asked = 0
        self.paused: set[int] = set()
        self.reading = Reading(Mock(), Mock(), Mock())
        self.reading.read_to = dict.fromkeys(range(count), 0)
        self.turns = Turns(self, self.reading)  # type: ignore[arg-type]  # the part of it that is used
        self.now = 100.0
        self.delivered: list[int | None] = []
        """The partition that delivered between two looks, for each look."""

    def pause(self, partitions: Iterable[int]) -> None:
        self.paused |= set(partitions)

    def resume(self, partitions: Iterable[int]) -> set[int]:
        resumed = self.paused.intersection(partitions)
        self.paused -= resumed
        return resumed

    def end_seen(self, partition: int) -> int:
        return self.ends[partition]

    def readable_ends(self, partitions: Iterable[int]) -> dict[int, int]:
        self.asked += 1
        return {each: self.ends[each] for each in partitions if each not in self.unreadable}

    def go_on(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            self.now += READING.turn
            read_to = self.reading.read_to
            able = [
                each for each in self.ends if each not in self.paused | self.silent and read_to[each] < self.ends[each]
            ]
            if able:
                read_to[able[0]] += 1
            self.delivered.append(able[0] if able else None)
            if self.turns.due(self.now):
                self.turns.take(self.ends, self.now)


def test_each_partition_has_its_turn_while_all_have_records() -> None:
    partitions = Partitions(8)
    partitions.go_on(60)

    shares = [partitions.delivered.count(each) for each in range(8)]
    assert min(shares) > max(shares) / 4
    for each in range(8):
        gaps = "".join("x" if found == each else " " for found in partitions.delivered).split("x")
        assert max(map(len, gaps)) * READING.turn <= 8 * READING.turn + 2 * READING.turn_patience


def test_nobody_is_paused_while_the_others_have_nothing() -> None:
    partitions = Partitions(3)
    partitions.ends |= {1: 0, 2: 0}
    partitions.go_on(30)

    assert {0} == set(partitions.delivered)
    assert not partitions.paused


def test_what_delivers_nothing_in_its_turn_costs_the_others_less_and_less() -> None:
    """An open transaction, or a leader that is away: it has records, as far as is known, and delivers none."""
    partitions = Partitions(2)
    partitions.silent = {1}
    partitions.go_on(300)
    looks = partitions.delivered
    assert looks[: len(looks) // 2].count(None) > looks[len(looks) // 2 :].count(None)
    assert looks.count(None) / len(looks) < 0.05

    partitions.silent = set()
    partitions.go_on(2 * READING.turn_longest_pause)
    assert looks.count(1) > 10


def test_nobody_is_paused_for_a_transaction_that_is_open_or_a_leader_that_is_away() -> None:
    """Their logs have grown, as the latest fetch says, and nothing of that can be read."""
    partitions = Partitions(3)
    partitions.silent = partitions.unreadable = {1}
    partitions.ends[2] = 0
    partitions.go_on(300)

    assert {0} == set(partitions.delivered)
    assert partitions.asked < 15

    partitions.silent = partitions.unreadable = set()
    partitions.go_on(2 * READING.turn_longest_pause)
    assert partitions.delivered.count(1) > 10


def test_partitions_that_the_core_resumes_again_and_again_do_not_prolong_a_turn_in_vain() -> None:
    """A partition that was resumed is paused for the one that waits, which gets no more time for it."""
    partitions = Partitions(12)
    partitions.silent = {11}
    flapping = range(4)
    longest = silent = 0
    for look in range(1200):
        partitions.reading.paused = {each for each in flapping if (look + 4 * each) % 16 < 8}
        partitions.paused |= partitions.reading.paused
        partitions.go_on(READING.turn)
        silent = 0 if partitions.delivered[-1] is not None else silent + 1
        longest = max(longest, silent)
    assert longest * READING.turn <= 2 * READING.turn_patience


def test_a_turn_ends_for_a_partition_that_is_read_from_elsewhere_meanwhile() -> None:
    partitions = Partitions(2)
    partitions.go_on(READING.turn_patience + READING.turn)
    assert {0} == partitions.paused
    del partitions.reading.read_to[0]
    partitions.turns.take(partitions.ends, partitions.now + READING.turn_patience + READING.turn)

    assert not partitions.paused


def test_what_the_core_has_paused_is_not_resumed() -> None:
    partitions = Partitions(2)
    partitions.go_on(READING.turn_patience + READING.turn)
    assert {0} == partitions.paused
    partitions.reading.paused.add(0)
    partitions.ends[1] = 1
    partitions.go_on(1)

    assert {0} == partitions.paused


@pytest.mark.parametrize("leaves", [0, 1])
def test_a_partition_that_leaves_ends_its_turn(leaves: int) -> None:
    partitions = Partitions(2)
    partitions.go_on(READING.turn_patience + READING.turn)
    partitions.turns.forget([leaves])
    del partitions.ends[leaves], partitions.reading.read_to[leaves]
    partitions.paused.discard(leaves)
    partitions.go_on(5)

    assert not partitions.paused
    assert {1 - leaves} == set(partitions.delivered[-5:])
