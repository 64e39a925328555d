"""Turns at reading, for partitions that librdkafka would leave unread while it reads others.

A broker returns a batch that is larger than ``fetch.message.max.bytes`` only of the first partition in a request that
has anything at all, and librdkafka begins its requests with the same partition whenever its queue was full (observed
with 2.16). So a partition with such a batch, or with one large record, waited until those before it were read to their
ends: eight partitions with batches of 1 MB were read one after the other.

A larger limit is no cure: then all that one response may hold goes to the first partitions.
"""

from collections.abc import Collection, Iterable

from consumer.adapters.kafka.policy import READING
from consumer.adapters.kafka.reading import Reading
from consumer.adapters.kafka.topic_consumer import TopicConsumer


class Turns:
    """Pauses the partitions that deliver while others, which have records as well, wait; for the owner thread.

    What was fetched of a paused partition is fetched again: so partitions are only paused where one has waited for
    ``turn_patience``, which happens under load with large batches and nowhere else.
    """

    def __init__(self, partitions: TopicConsumer, reading: Reading) -> None:
        self._partitions = partitions
        self._reading = reading
        self._looked_at = float("-inf")
        self._seen: dict[int, int] = {}
        """Partition -> end of what was read of it, at the last look."""
        self._served_at: dict[int, float] = {}
        self._held: set[int] = set()
        """Partitions that are paused so that others have their turn."""
        self._until = 0.0
        self._spared: dict[int, tuple[float, float]] = {}
        """Partition that delivered nothing in its turn -> when it may have the next one, and the pause until then."""

    def take(self, partitions: Iterable[int], now: float) -> Collection[int]:
        """Look once per ``turn`` which of the assigned partitions wait; return those that are read again."""
        if now < self._looked_at + READING.turn:
            return ()
        self._looked_at = now
        read_to, reading = self._reading.read_to, self._reading
        delivering = [
            each
            for each in partitions
            if each in read_to and each not in reading.paused and each not in reading.out_of_range
        ]
        served = {each for each in delivering if self._seen.get(each) != read_to[each]}
        self._seen = {each: read_to[each] for each in delivering}
        self._served_at = {each: now if each in served else self._served_at[each] for each in delivering}
        for each in served:
            self._spared.pop(each, None)
        late = {each for each in self._seen if each not in self._held and self._is_late(each, now)}
        if late and served:
            self._hold(served, now)
            return ()
        if late and now < self._until:
            return ()
        if self._held:
            self._spare(late, now)
        return self._release()

    def forget(self, partitions: Iterable[int]) -> None:
        for partition in partitions:
            self._held.discard(partition)
            self._spared.pop(partition, None)

    def _is_late(self, partition: int, now: float) -> bool:
        if now - self._served_at[partition] < READING.turn_patience or now < self._spared.get(partition, (0.0, 0.0))[0]:
            return False
        return self._partitions.end_seen(partition) > self._seen[partition]

    def _hold(self, partitions: Collection[int], now: float) -> None:
        self._partitions.pause(partitions)
        self._held.update(partitions)
        self._until = now + READING.turn_patience

    def _spare(self, late: Iterable[int], now: float) -> None:
        """Let nobody wait for a while for what delivered nothing: its leader is away, or a transaction is open."""
        for each in late:
            pause = min(2 * self._spared.get(each, (0.0, READING.turn_patience))[1], READING.turn_longest_pause)
            self._spared[each] = now + pause, pause

    def _release(self) -> Collection[int]:
        released = self._held - self._reading.paused
        self._held = set()
        if released:
            self._partitions.resume(released)
        return released
