"""Calls of a Kafka consumer that concern single partitions of its only topic."""

from collections.abc import Iterable
from contextlib import suppress

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaException, TopicPartition

from consumer.adapters.kafka.policy import READING
from consumer.domain.progress import CommitPoint


class TopicConsumer:
    """The consumer of one topic, with partitions as numbers; for the owner thread. Raises ``KafkaException``."""

    def __init__(self, consumer: Consumer, topic: str) -> None:
        self._consumer = consumer
        self._topic = topic

    def assign_paused(self, partitions: Iterable[int]) -> None:
        """Add partitions to the assignment; they deliver nothing before a position is known."""
        places = [TopicPartition(self._topic, partition, OFFSET_BEGINNING) for partition in partitions]
        self._consumer.incremental_assign(places)
        if places:
            self._consumer.pause(places)

    def reassign(self, partition: int, position: int, *, paused: bool) -> None:
        """Fetch again what librdkafka has stopped fetching; it may refuse to seek there (``_STATE``)."""
        place = TopicPartition(self._topic, partition, position)
        self._consumer.incremental_unassign([place])
        self._consumer.incremental_assign([place])
        if paused:
            self._consumer.pause([place])

    def unassign(self, partitions: Iterable[int]) -> None:
        self._consumer.incremental_unassign([TopicPartition(self._topic, partition) for partition in partitions])

    def pause(self, partitions: Iterable[int]) -> None:
        """Stop delivering; what was fetched already is kept back as well."""
        self._consumer.pause([TopicPartition(self._topic, partition) for partition in partitions])

    def resume(self, partitions: Iterable[int]) -> None:
        self._consumer.resume([TopicPartition(self._topic, partition) for partition in partitions])

    def wake(self, partitions: Iterable[int]) -> None:
        """Have resumed partitions fetched at once.

        librdkafka's thread of a broker sleeps for up to 1 s while it has nothing to fetch from it, and a partition that
        is resumed does not wake it (observed with 2.16: the first records of a new member came 1.0 s late). A query
        for offsets does, whatever the answer; all leaders are asked at once.
        """
        self.readable_ends(partitions)

    def seek(self, partition: int, position: int) -> None:
        """Deliver from ``position`` on; what was fetched before is dropped."""
        self._consumer.seek(TopicPartition(self._topic, partition, position))

    def committed(self, partition: int, timeout: float) -> CommitPoint:
        """Return the committed offset (negative: none) and its metadata; not answered while a transaction pends."""
        (committed,) = self._consumer.committed([TopicPartition(self._topic, partition)], timeout=timeout)
        if committed.error is not None:
            raise KafkaException(committed.error)
        return CommitPoint(committed.offset, committed.metadata or "")

    def watermarks(self, partition: int) -> tuple[int, int]:
        """Return the first offset of the log and the one after its last, as the broker has them.

        Blocks for the policy's ``watermark_timeout`` at most.
        """
        place = TopicPartition(self._topic, partition)
        low, high = self._consumer.get_watermark_offsets(place, timeout=READING.watermark_timeout)
        return int(low), int(high)

    def end_seen(self, partition: int) -> int:
        """Return the offset after the log's last record as of the latest fetch; negative: not known. Never blocks.

        Records of open transactions count.
        """
        with suppress(KafkaException):
            seen = self._consumer.get_watermark_offsets(TopicPartition(self._topic, partition), cached=True)
            if seen is not None:
                return int(seen[1])
        return -1

    def readable_ends(self, partitions: Iterable[int]) -> dict[int, int]:
        """Ask for the offsets up to which partitions can be read, open transactions excluded.

        Blocks for the policy's ``wake_timeout`` at most; a partition whose leader does not answer by then is missing.
        """
        places = [TopicPartition(self._topic, partition, OFFSET_END) for partition in partitions]
        with suppress(KafkaException):
            found = self._consumer.offsets_for_times(places, timeout=READING.wake_timeout)
            return {each.partition: each.offset for each in found if each.error is None}
        return {}
