"""Markers of ended transactions: whether they are certainly written, and how those that are lost are made up for.

The coordinator of transactions confirms an end before its markers are in the partitions. Apache Kafka 4.3.1 drops those
for a partition that has no leader, as for a deleted one, and counts the transaction as complete: so it does after a
``kill -9`` of the only broker, since none of its partitions has a leader while the broker registers again
(``KRaftMetadataCache.getPartitionLeaderEndpoint`` is empty for both, ``TransactionMarkerChannelManager`` skips them).
The records and offsets stay open, and the next marker of the same producer decides about them, in each partition by
itself: that of a commit commits what was aborted, that of an abort undoes a commit that was confirmed.
"""

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from consumer.adapters.kafka.policy import PublishingPolicy
from consumer.domain.progress import CommitPoint


@dataclass(frozen=True, slots=True)
class Ended:
    """A transaction whose end was confirmed."""

    sent: tuple[list[TopicPartition], Any]
    """Offsets and group metadata in it."""
    commits: Mapping[int, tuple[int, CommitPoint]]
    """Partition -> epoch and progress, if it was committed."""
    at: float
    """Monotonic time of the confirmation, in seconds."""


class Markers:
    """The latest ended transaction, until its markers are certainly written; for the committer thread.

    They are once the coordinator has taken partitions and offsets into the next transaction, or after some seconds,
    unless all brokers were lost since the end was asked for.
    """

    def __init__(self, policy: PublishingPolicy) -> None:
        self._policy = policy
        self._ended: Ended | None = None
        self.brokers_lost = False
        """All brokers were down at some time since the latest end was asked for."""

    def on_error(self, error: KafkaError) -> None:
        """Take an error of the producer's connections (callback ``error_cb``), from its ``poll`` or ``flush``."""
        if error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - librdkafka's own name
            self.brokers_lost = True

    @staticmethod
    def listen(producer: Producer) -> None:
        """Have ``on_error`` called with the errors so far."""
        with suppress(KafkaException):  # the binding raises a fatal error here, which the next call raises as well
            producer.poll(0)

    def end_asked(self, producer: Producer) -> None:
        """Watch for brokers that are lost from now on, unless a former transaction is watched already."""
        self.listen(producer)
        if self._ended is None:
            self.brokers_lost = False

    def ended(self, ended: Ended) -> None:
        """Note a confirmed end. One that is not settled yet stays in doubt with it."""
        former = self._ended
        if former is not None:
            ended = replace(former, at=ended.at)
        self._ended = ended

    def written(self) -> None:
        """Note that all markers of the latest transaction are written."""
        self._ended = None

    def in_doubt(self, producer: Producer | None) -> bool:
        """Return whether markers of the latest transaction may never be written; asks ``producer`` for its errors."""
        if producer is not None:
            self.listen(producer)
        if self._ended is None or self.brokers_lost:
            return self._ended is not None
        if time.monotonic() - self._ended.at > self._policy.markers:
            self._ended = None
        return False

    def take(self) -> Ended | None:
        """Return the transaction in doubt, which is no longer watched: its missing markers are to be made up for."""
        ended, self._ended = self._ended, None
        return ended
