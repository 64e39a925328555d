"""Ranges read without interruption from each partition, and the offsets at which reading continues.

Each delivery names, for each partition, the range of the log that was read without interruption. An error or a left-out
record ends a range; the next one begins where reading was resumed, and the core takes it only if it leaves no hole.
Otherwise the core has the missing part read again (``Reread``).
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence

from confluent_kafka import KafkaException

from consumer.adapters.kafka.topic_consumer import TopicConsumer
from consumer.engine.commands import Reread
from consumer.engine.events import Event, Fetched
from consumer.engine.records import ReadRange, Record

_log = logging.getLogger(__name__)


class Reading:
    """Posts what was read and moves the consumer's positions; for the owner thread.

    Tracks for each partition how far it was read, to distinguish a gap of the log from a hole.
    """

    def __init__(
        self, partitions: TopicConsumer, post: Callable[[Event], None], reread_later: Callable[[Reread], None]
    ) -> None:
        self._partitions = partitions
        self._post = post
        self._reread_later = reread_later
        self.read_to: dict[int, int] = {}
        """Partition -> end of what was read without interruption, or where reading begins; absent: not known."""
        self.out_of_range: set[int] = set()
        """Partitions that librdkafka has stopped fetching, since their position was outside the log."""
        self.paused: set[int] = set()
        """Partitions that the core has paused."""
        self.posted_records = self.posted_bytes = 0
        """In all; the fetch budget says how many of them the core has received."""

    # -- forward ---------------------------------------------------------------------------------------

    def post_records(self, epochs: Mapping[int, int], records: Sequence[Record]) -> None:
        """Post records of any partitions in the order in which they were read; only those of ``epochs`` count."""
        if not records:
            return
        ends = {record.partition: record.offset + 1 for record in records}
        unknown = (ends.keys() & epochs.keys()) - self.read_to.keys()  # what was read before
        for partition in unknown:
            self.read_to[partition] = next(each.offset for each in records if each.partition == partition)
        ranges = {
            partition: ReadRange(epochs[partition], self.read_to[partition], end)
            for partition, end in ends.items()
            if partition in epochs
        }
        self.read_to |= {partition: read.end for partition, read in ranges.items()}
        self.posted_records += len(records)
        self.posted_bytes += sum(record.size for record in records)
        self._post(Fetched(ranges, records))

    def post_end(self, partition: int, epoch: int, end: int) -> None:
        """Post that a partition was read up to ``end``, without another record."""
        read = ReadRange(epoch, self.read_to.get(partition, end), end)
        self.read_to[partition] = end
        self._post(Fetched({partition: read}, ()))

    def interrupted(self, partition: int) -> None:
        """An error came instead of records. Where the position is out of range, nothing is fetched anyway."""
        if partition not in self.out_of_range:
            self.read_to.pop(partition, None)

    def stopped(self, partition: int, offset: int) -> None:
        """Note that librdkafka has stopped fetching: the log does not hold ``offset``."""
        self.read_to.setdefault(partition, offset)
        self.out_of_range.add(partition)

    # -- elsewhere -------------------------------------------------------------------------------------

    def seek(self, partition: int, epoch: int, position: int) -> None:
        """Read from elsewhere in the same assignment; what was fetched before is not delivered any more.

        librdkafka refuses to seek a partition that it has stopped fetching (``_STATE``); ``LogResets`` moves that one
        on. A seek that fails for another reason is tried again in the next turn.
        """
        if partition in self.out_of_range:
            self.read_to[partition] = position
            return
        try:
            self._partitions.seek(partition, position)
            self.read_to[partition] = position
        except KafkaException as problem:
            _log.warning("partition %d: seeking failed and is tried again: %s", partition, problem.args[0].str())
            self.read_to.pop(partition, None)
            self._reread_later(Reread(partition, epoch, position))

    def begin(self, partition: int, offset: int) -> None:
        """Deliver a new assignment from ``offset`` on. Raises ``KafkaException``; then nothing has changed."""
        if partition in self.out_of_range:
            self.go_on(partition, offset)
        else:
            self._partitions.assign(partition, offset)
        self.paused.discard(partition)
        self.read_to[partition] = offset

    def go_on(self, partition: int, position: int) -> None:
        """Fetch a partition again, from ``position``, that librdkafka has stopped fetching."""
        self.out_of_range.discard(partition)
        self._partitions.reassign(partition, position, paused=partition in self.paused)

    def forget(self, partitions: Iterable[int]) -> None:
        for partition in partitions:
            self.read_to.pop(partition, None)
            self.out_of_range.discard(partition)
            self.paused.discard(partition)
