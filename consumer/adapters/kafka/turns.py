"""Turns at reading, for partitions that librdkafka would leave unread while it reads others.

A broker returns a batch that is larger than ``fetch.message.max.bytes`` only of the first partition in a request that
has anything at all, and librdkafka begins its requests with the same partition whenever its queue was full (observed
with 2.16). So a partition with such a batch, or with one large record, waited until those before it were read to their
ends: eight partitions with batches of 1 MB were read one after the other.

A limit beyond a partition's part of a response does not help: then all of it goes to the first partitions.
"""

from collections.abc import Collection, Iterable

from consumer.adapters.kafka.policy import READING
from consumer.adapters.kafka.reading import Reading
from consumer.adapters.kafka.topic_consumer import TopicConsumer


class Turns:
    """Pauses the partitions that deliver while others wait that could deliver as well; for the owner thread.

    What was fetched of a paused partition is fetched again. So partitions are only paused where one has waited for
    ``turn_patience`` and the brokers confirm that it has records to read.
    """

    def __init__(self, partitions: TopicConsumer, reading: Reading) -> None:
        self._partitions = partitions
        self._reading = reading
        self._looked_at = float("-inf")
        self._seen: dict[int, int] = {}
        """Partition -> end of what was read of it, at the last look."""
        self._served_at: dict[int, float] = {}
        self._waiting: set[int] = set()
        """Partitions that have their turn now, one after the other."""
        self._held: set[int] = set()
        """Partitions that are paused meanwhile."""
        self._until = 0.0
        self._spared: dict[int, tuple[float, float]] = {}
        """Partition that had nothing to deliver -> when it may have the next turn, and the pause until then."""

    def due(self, now: float) -> bool:
        """Return whether it is time for the next look."""
        return now >= self._looked_at + READING.turn

    def take(self, partitions: Collection[int], now: float) -> Collection[int]:
        """Look which of the partitions wait; return those that are read again.

        ``partitions``: assigned ones that are read, or would be if the core had not paused them.
        """
        self._looked_at = now
        read_to, reading = self._reading.read_to, self._reading
        delivering = {
            each
            for each in partitions
            if each in read_to and each not in reading.paused and each not in reading.out_of_range
        }
        served = {each for each in delivering if self._seen.get(each) != read_to[each]}
        self._seen = {each: read_to[each] for each in delivering}
        self._served_at = {each: now if each in served else self._served_at[each] for each in delivering}
        for each in served:
            self._spared.pop(each, None)
        if self._waiting or self._held:
            return self._go_on(partitions, served, now)
        late = {each for each in delivering if self._is_late(each, now)}
        if late and served:
            ends = self._partitions.readable_ends(late)
            self._waiting = {each for each in late if ends.get(each, -1) > self._seen[each]}
            self._spare(late - self._waiting, now)
            if self._waiting:
                self._until = now + READING.turn_patience
                self._hold(served)
        return ()

    def forget(self, partitions: Iterable[int]) -> None:
        for partition in partitions:
            self._waiting.discard(partition)
            self._held.discard(partition)
            self._spared.pop(partition, None)

    def _go_on(self, partitions: Collection[int], served: Collection[int], now: float) -> Collection[int]:
        """Let those that still wait have their turns; each has ``turn_patience`` for it."""
        delivering = self._seen.keys()
        if not self._waiting.isdisjoint(served):
            self._until = now + READING.turn_patience
        self._waiting = self._waiting.intersection(delivering).difference(served)
        if self._waiting and now < self._until:
            self._hold(served)
            return ()
        self._spare(self._waiting, now)
        released = self._held.intersection(partitions) - self._reading.paused
        self._waiting, self._held = set(), set()
        return self._partitions.resume(released)

    def _is_late(self, partition: int, now: float) -> bool:
        if now - self._served_at[partition] < READING.turn_patience or now < self._spared.get(partition, (0.0, 0.0))[0]:
            return False
        return self._partitions.end_seen(partition) > self._seen[partition]

    def _hold(self, partitions: Collection[int]) -> None:
        if partitions:
            self._partitions.pause(partitions)
            self._held.update(partitions)

    def _spare(self, partitions: Iterable[int], now: float) -> None:
        """Leave partitions out of the next turns, each time for longer: nothing could be read of them."""
        for each in partitions:
            pause = min(2 * self._spared.get(each, (0.0, READING.turn_patience))[1], READING.turn_longest_pause)
            self._spared[each] = now + pause, pause
