"""Calls of a Kafka consumer that concern single partitions of its only topic.

A partition is assigned in librdkafka only once its position is known. Assigned before, at a logical offset such as
``OFFSET_BEGINNING``, it would have that offset looked up, and a seek meanwhile could be lost: an answer that arrives
after the seek starts the lookup once more, half a second later, and fetching begins where that says (librdkafka issue
2256; observed with 2.16). Requests that had expired unread were passed over that way, without an error.
"""

from collections.abc import Collection, Iterable
from contextlib import suppress

from confluent_kafka import OFFSET_END, Consumer, KafkaException, TopicPartition

from consumer.adapters.kafka.policy import READING
from consumer.domain.progress import CommitPoint


class TopicConsumer:
    """The consumer of one topic, with partitions as numbers; for the owner thread. Raises ``KafkaException``."""

    def __init__(self, consumer: Consumer, topic: str) -> None:
        self._consumer = consumer
        self._topic = topic
        self._assigned: set[int] = set()
        """Partitions that librdkafka fetches, or has paused or stopped."""
        self._paused: set[int] = set()
        """Partitions that librdkafka has paused; a pause outlives the assignment."""
        self.revocation_answered = False
        """``reassign`` may have answered a revocation whose callback is still to come.

        Outside of a callback, librdkafka takes an unassign for the answer to the revocation that is pending: the member
        joins anew, and another one may get what is revoked before our callback runs (observed with 2.16).
        """

    def accept(self) -> None:
        """Answer the group's assignment, as librdkafka expects; its partitions are not fetched yet."""
        self._consumer.incremental_assign([])

    def assign(self, partition: int, position: int) -> None:
        """Fetch a partition of the group's assignment from ``position`` on: an offset, not a logical one."""
        if partition in self._assigned:
            self.seek(partition, position)
        else:
            self._consumer.incremental_assign([TopicPartition(self._topic, partition, position)])
            self._assigned.add(partition)

    def is_assigned(self, partition: int) -> bool:
        """Return whether librdkafka fetches the partition, or has paused or stopped it."""
        return partition in self._assigned

    def reassign(self, partition: int, position: int, *, paused: bool) -> None:
        """Fetch again what librdkafka has stopped fetching; it may refuse to seek there (``_STATE``)."""
        self.revocation_answered = True
        self.unassign([partition])
        self.assign(partition, position)
        if paused:
            self.pause([partition])

    def unassign(self, partitions: Iterable[int]) -> None:
        """Fetch these partitions no longer; nothing more of them is delivered."""
        assigned = self._assigned.intersection(partitions)
        self._consumer.incremental_unassign([TopicPartition(self._topic, partition) for partition in assigned])
        self._assigned -= assigned

    def pause(self, partitions: Collection[int]) -> None:
        """Stop delivering; what was fetched already is kept back as well."""
        self._consumer.pause([TopicPartition(self._topic, partition) for partition in partitions])
        self._paused.update(partitions)

    def resume(self, partitions: Iterable[int]) -> Collection[int]:
        """Deliver again; return the partitions that were paused and may have to be woken.

        The others are left alone: librdkafka would drop what it has fetched of them.
        """
        paused = self._paused.intersection(partitions)
        if paused:
            self._consumer.resume([TopicPartition(self._topic, partition) for partition in paused])
            self._paused -= paused
        return paused

    def wake(self, partitions: Iterable[int]) -> None:
        """Have resumed partitions fetched at once.

        librdkafka's thread of a broker sleeps for up to 1 s while it has nothing to fetch from it, and a partition that
        is resumed does not wake it (observed with 2.16), as one that is assigned does. A query for offsets does,
        whatever the answer; all leaders are asked at once.
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
