"""Logs that changed under the reader.

**Cut.** If retention has removed the records that would be read next, reading continues at the log's start. Requests in
flight are answered in the same assignment.

**Another log.** If the log ends before the reader, or the topic has another id, the topic was deleted and created
again. Requests read from the former one are answered, then the new one is read from its start.

``auto.offset.reset`` is ``error``: nothing here is a silent jump.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterable, Sequence

from confluent_kafka import KafkaException

from consumer.adapters.kafka.membership import Group
from consumer.adapters.kafka.policy import READING
from consumer.adapters.kafka.reading import Reading
from consumer.adapters.kafka.topic_consumer import TopicConsumer
from consumer.domain.progress import CommitPoint, topic_id_of
from consumer.engine.events import Event, OffsetReset, Revoking

_log = logging.getLogger(__name__)


class LogResets:
    """Detects cut and replaced logs, and continues reading in them; for the owner thread."""

    def __init__(
        self,
        partitions: TopicConsumer,
        group: Group,
        reading: Reading,
        post: Callable[[Event], None],
        topic: str,
        topic_id: bytes | None,
        drain_seconds: float,
    ) -> None:
        self._partitions = partitions
        self._group = group
        self._reading = reading
        self._post = post
        self._topic = topic
        self._drain_seconds = drain_seconds
        self._look_at = 0.0
        """Monotonic time at which to look up the log bounds of out-of-range partitions again, in seconds."""
        self._anew: set[int] = set()
        """Unread partitions whose log is another one: committed offsets say nothing about it."""
        self.renewed: dict[int, float] = {}
        """Partitions whose log is another one -> until when what was read of the former one may be finished."""
        self.topic_id = topic_id
        """Empty: the brokers do not tell it. ``None``: not known yet, so nothing is read."""

    # -- out of range ----------------------------------------------------------------------------------

    def return_to_log(self) -> None:
        """Go on with one partition whose position the log does not hold."""
        if time.monotonic() < self._look_at:
            return
        epochs, waiting = self._group.epochs, self._reading.out_of_range
        partition = next((each for each in waiting if each in epochs and each not in self.renewed), None)
        if partition is None:
            return
        try:
            low, high = self._partitions.watermarks(partition)
        except KafkaException as problem:
            _log.warning("partition %d: the log's bounds are not known: %s", partition, problem.args[0].str())
            self._look_at = time.monotonic() + READING.retry
            return
        position = self._reading.read_to[partition]
        self._post(OffsetReset(partition))
        if position > high:
            _log.error("partition %d: offset %d is beyond the log, which ends at %d", partition, position, high)
            self._begin_anew([partition])
            return
        if position < low:
            _log.error("partition %d: records from offset %d to %d are gone unread", partition, position, low - 1)
            self._reading.post_end(partition, epochs[partition], low)
        self._reading.go_on(partition, max(position, low))

    # -- another log -----------------------------------------------------------------------------------

    def on_topic_id(self, topic_id: bytes, unread: Collection[int]) -> None:
        """Read all partitions from their start if the topic was deleted and created again."""
        former = self.topic_id
        self.topic_id = topic_id or former or b""
        if not former or former == self.topic_id:
            return
        started = [partition for partition in self._group.epochs if partition not in self.renewed]
        self._anew.update(unread)
        for partition in (*started, *unread):
            self._report_another_log(partition)
        self._begin_anew(started)

    def _report_another_log(self, partition: int) -> None:
        _log.error(
            "partition %d: the topic %s was deleted and created again. It is read from its start; requests of the "
            "former topic that were not read are gone.",
            partition,
            self._topic,
        )
        self._post(OffsetReset(partition))

    def _begin_anew(self, partitions: Sequence[int]) -> None:
        """Have what was read of the former log answered; then this one is read from its start."""
        deadline = time.monotonic() + self._drain_seconds
        self.renewed |= dict.fromkeys(partitions, deadline)
        self._partitions.pause(partitions)
        self._post(Revoking(partitions, patience=None))

    def drained(self, partitions: Iterable[int]) -> None:
        """Note that the core has answered what was read of the former log."""
        self.renewed |= {partition: 0.0 for partition in partitions if partition in self.renewed}

    def finish_renewed(self) -> list[int]:
        """Return the partitions whose former log is done with; they have to be read from the start of the new one."""
        now = time.monotonic()
        ready = [partition for partition, deadline in self.renewed.items() if deadline <= now]
        for partition in ready:
            del self.renewed[partition]
            self._anew.add(partition)
        return ready

    # -- the start of an assignment --------------------------------------------------------------------

    def start(self, partition: int, told: CommitPoint) -> CommitPoint:
        """Return the progress at which an assignment begins for which the brokers ``told`` this one.

        Raises ``KafkaException`` if the log's bounds are needed and not known.
        """
        committed_for = topic_id_of(told.offset, told.metadata)
        if committed_for and self.topic_id and committed_for != self.topic_id and partition not in self._anew:
            self._report_another_log(partition)
            self._anew.add(partition)
        if told.offset < 0 or partition in self._anew:
            low, _ = self._partitions.watermarks(partition)
            return CommitPoint(low, "")
        return told

    def holds(self, partition: int, point: CommitPoint, *, again: bool) -> bool:
        """Return whether a commit can be of the log as it is: of the same topic, and not beyond its end.

        ``again``: the partition has been ours all the while, so a topic id that was not known then says nothing.
        Raises ``KafkaException`` if the log's bounds are not known.
        """
        of_commit, of_topic = topic_id_of(point.offset, point.metadata), self.topic_id or b""
        unknown = again and not (of_commit and of_topic)
        if partition in self._anew or not (unknown or of_commit == of_topic):
            return False
        _, high = self._partitions.watermarks(partition)
        return point.offset <= high

    def started(self, partition: int) -> None:
        """Note that the partition is read from where ``start`` said."""
        self._anew.discard(partition)

    def forget(self, partitions: Iterable[int]) -> None:
        for partition in partitions:
            self.renewed.pop(partition, None)
            self._anew.discard(partition)
