"""Positions where assignments begin: committed offset and progress map, read before a partition delivers anything.

The committed offset of a new partition is queried with short timeouts between polls, again and again, since the query
is not answered while a transaction of a dead predecessor is pending. Only then does the partition get an epoch, and is
fetched from that offset on (``topic_consumer`` says why not before). A missing answer never counts as "no progress". An
answer that lacks a known commit (``known_progress``) is not believed: the query is repeated, for a minute at most.
"""

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from confluent_kafka import KafkaException

from consumer.adapters.kafka.broken_batches import BrokenBatches
from consumer.adapters.kafka.known_progress import KnownProgress
from consumer.adapters.kafka.membership import Group
from consumer.adapters.kafka.policy import READING
from consumer.adapters.kafka.reading import Reading
from consumer.adapters.kafka.resets import LogResets
from consumer.adapters.kafka.topic_consumer import TopicConsumer
from consumer.domain.progress import CommitPoint
from consumer.engine.commands import Reload
from consumer.engine.events import Assigned, Event, PartitionTroubles, Unassigned

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Unread:
    """A partition whose progress is not known yet. Times in monotonic seconds."""

    since: float
    due: float
    """Monotonic time of the next query, in seconds."""
    again: bool
    """It has been ours all the while: its progress is read again."""
    attempts: int = 0
    problem: str = "the brokers have not returned its committed offset"
    incredible_since: float | None = None
    """Monotonic time since when each answer of the brokers has lacked what is known to be committed, in seconds."""


class Positions:
    """Determines where each assignment begins, and begins it; for the owner thread."""

    def __init__(
        self,
        partitions: TopicConsumer,
        group: Group,
        reading: Reading,
        broken: BrokenBatches,
        resets: LogResets,
        known: KnownProgress,
        post: Callable[[Event], None],
        stopping: Callable[[], bool],
    ) -> None:
        self._partitions = partitions
        self._group = group
        self._reading = reading
        self._broken = broken
        self._resets = resets
        self._known = known
        self._post = post
        self._stopping = stopping
        self.unread: dict[int, _Unread] = {}
        self._look_for_troubles_at = 0.0
        self.troubles: dict[int, str] = {}
        """Partitions that have not been read for long, as posted last."""

    def await_progress(self, partitions: Iterable[int], *, again: bool = False) -> None:
        """Query the committed offsets of these partitions from now on."""
        for partition in partitions:
            now = time.monotonic()
            self.unread[partition] = _Unread(since=now, due=now, again=again)

    def read(self) -> None:
        """Query the committed offsets of partitions that are due, those first that have waited longest.

        One query may take as long as its timeout, so a turn makes no more of them once its budget is spent.
        """
        began = time.monotonic()
        if not self.unread or self._resets.topic_id is None:
            return
        due = sorted(self.unread, key=lambda partition: self.unread[partition].due)
        for partition in due:
            unread = self.unread[partition]
            if unread.due > began or time.monotonic() - began >= READING.positions_budget or self._stopping():
                return
            self._try_to_begin(partition, unread)
            unread.attempts += 1
            unread.due = time.monotonic() + READING.retry

    def _try_to_begin(self, partition: int, unread: _Unread) -> None:
        timeout = READING.first_committed_timeout * 2 ** min(unread.attempts, 8)
        try:
            told = self._partitions.committed(partition, min(timeout, READING.committed_timeout))
            known = self._known.denied(partition, told)
            if known is not None and self._resets.holds(partition, known, again=unread.again):
                if not self._insist(partition, unread, told, known):
                    return
                told = known
            self._known.learn(partition, told)
            self._begin(partition, self._resets.start(partition, told))
        except KafkaException as problem:
            unread.incredible_since = None
            unread.problem = (
                f"the brokers do not return its committed offset or the log's bounds ({problem.args[0].str()})"
            )

    def _insist(self, partition: int, unread: _Unread, told: CommitPoint, known: CommitPoint) -> bool:
        """Have the brokers asked again, but not for ever; return whether to go on with what is ``known``.

        No request is lost by that, since their results are published; what was committed since, by a transaction of
        unknown end or by another replica, may be answered twice.
        """
        now = time.monotonic()
        answer = f"committed offset {told.offset}" if told.offset >= 0 else "no committed offset"
        lacking = (
            "with an older progress map" if told.offset == known.offset else f"although {known.offset} is committed"
        )
        unread.problem = f"the brokers report {answer} {lacking}"
        if unread.incredible_since is None:
            unread.incredible_since = now
            _log.warning(
                "partition %d: %s. They are asked again; if this lasts, check the log of the group's coordinator.",
                partition,
                unread.problem,
            )
        if now - unread.incredible_since < READING.credible_patience:
            return False
        _log.error(
            "partition %d: %s. Reading goes on at %d; requests from there on may be answered a second time. "
            "Check the log of the group's coordinator, which may have lost committed offsets.",
            partition,
            unread.problem,
            known.offset,
        )
        return True

    def _begin(self, partition: int, start: CommitPoint) -> None:
        self._reading.begin(partition, start.offset)
        del self.unread[partition]
        self._resets.started(partition)
        epoch = self._group.begin(partition)
        topic_id = self._resets.topic_id or b""
        self._post(Assigned(partition, epoch, start.offset, start.metadata, topic_id))
        self._group.publish()

    def reload(self, command: Reload) -> None:
        """Read the progress of an assignment's partition again and begin a new assignment there."""
        if self._group.epochs.get(command.partition) == command.epoch:
            self._read_again(command.partition)

    def restart_renewed(self) -> None:
        """Begin anew with partitions whose log is another one, whatever was committed."""
        ready = self._resets.finish_renewed()
        for partition in ready:
            self._read_again(partition)
        if ready:
            self._post(Unassigned(ready))

    def _read_again(self, partition: int) -> None:
        """End the assignment; the partition stays ours and delivers nothing until its progress is known."""
        self._group.end(partition)
        self._broken.forget(partition)
        self.await_progress([partition], again=True)
        self._group.publish()
        self._partitions.pause([partition])

    def report_troubles(self) -> None:
        """Log and post the partitions that have not been read for long, and that they are read again."""
        now = time.monotonic()
        if now < self._look_for_troubles_at:
            return
        self._look_for_troubles_at = now + READING.look_interval
        troubles = {
            partition: f"Partition {partition} has not been read for {READING.unread_patience:.0f} s: "
            f"{unread.problem}. Check the brokers; a transaction that hangs can be found and aborted with "
            "`kafka-transactions.sh`."
            for partition, unread in self.unread.items()
            if now - unread.since >= READING.unread_patience
        }
        if troubles != self.troubles:
            for partition in troubles.keys() - self.troubles.keys():
                _log.error("%s", troubles[partition])
            self.troubles = troubles
            self._post(PartitionTroubles(troubles))

    def forget(self, partitions: Iterable[int]) -> None:
        """Partitions are no longer ours.

        Without topic ids nobody tells whether a partition that comes back is still of the same topic.
        """
        for partition in partitions:
            self.unread.pop(partition, None)
            if not self._resets.topic_id:
                self._known.forget(partition)
