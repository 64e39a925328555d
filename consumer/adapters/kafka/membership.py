"""Membership of the consumer group: partitions that are assigned, revoked or lost, and those that may be committed.

**Publishing.** After each poll and in each callback the owner thread publishes one immutable ``Membership``: group
metadata and the epochs of our partitions, read together. The committer uses only that pair, so fresh metadata never
meets an older set of partitions.

**Revocation.** The callback waits, within one budget, until the core has drained the partitions: for answers that are
due very soon, and for the transaction with their outcomes. Then it removes the partitions from the membership and gives
them up. Lost partitions are fenced at once.

No callback raises: an exception there would lose the records that ``consume`` has collected.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from confluent_kafka import Consumer, TopicPartition

from consumer.adapters.kafka.consumer_errors import OwnerThreadError
from consumer.adapters.kafka.known_progress import KnownProgress
from consumer.adapters.kafka.policy import READING
from consumer.adapters.kafka.topic_consumer import TopicConsumer
from consumer.engine.events import Event, MembershipChanged, Revoking, Unassigned

_METADATA_MARK: Final = b"CGMDv2:"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Membership:
    """The group's metadata and our assignments, read at one moment on the owner thread."""

    metadata: Any = None
    """The binding's opaque group metadata; ``None`` while this consumer is not a member."""
    epochs: Mapping[int, int] = field(default_factory=dict)
    """Partition -> epoch of its assignment."""


class Ownership(Protocol):
    """State that the owner thread and the committer's thread share."""

    @property
    def membership(self) -> Membership:
        """The latest membership: group metadata and epochs that were read together."""
        ...

    @property
    def known(self) -> KnownProgress:
        """The commits that this process knows to have succeeded, whatever the brokers report."""
        ...


class AssignmentOwner(Protocol):
    """The owner thread as the group calls it, from within the consumer's callbacks. No method may raise."""

    def await_positions(self, partitions: Sequence[int]) -> None:
        """Take partitions that were assigned, and find out where to begin."""
        ...

    def forget(self, partitions: Sequence[int]) -> None:
        """Forget partitions that are no longer ours."""
        ...

    def serve(self) -> None:
        """Carry out the core's commands while a revocation waits."""
        ...

    def wake_kept(self) -> None:
        """Have partitions that stay fetched again soon: librdkafka has paused all of them around the callback."""
        ...

    def stopping(self) -> bool: ...


class Group:
    """Our side of the consumer group; for the owner thread, except ``membership``, which any thread may read."""

    def __init__(
        self,
        consumer: Consumer,
        partitions: TopicConsumer,
        post: Callable[[Event], None],
        drain_seconds: float,
        owner: AssignmentOwner,
    ) -> None:
        self._consumer = consumer
        self._partitions = partitions
        self._post = post
        self._drain_seconds = drain_seconds
        self._owner = owner
        self._last_epoch = 0
        self._member = False
        self._former: bytes | None = None
        """Metadata of a membership that was lost: librdkafka returns it until the next one begins.

        The next one can look the same: with KIP-848 a member that was fenced and joins again keeps its id, and its
        epoch too if the group has not moved on meanwhile (observed after a broker was killed).
        """
        self._published_at = float("-inf")
        self.epochs: dict[int, int] = {}
        """Partition -> epoch, of the partitions that deliver."""
        self.draining: set[int] = set()
        """Partitions that a revocation waits for."""
        self.membership = Membership()
        """The latest; any thread may read it."""

    # -- callbacks -------------------------------------------------------------------------------------

    def on_assign(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        numbers = [each.partition for each in partitions]
        _log.info("partitions assigned: %s", numbers)
        self._partitions.accept()
        self._owner.await_positions(numbers)
        self._owner.wake_kept()
        self._former = None
        self.publish()

    def on_revoke(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        numbers = [each.partition for each in partitions]
        started = [number for number in numbers if number in self.epochs]
        self.draining = set(started)
        began = time.monotonic()
        self.publish()
        answered, self._partitions.revocation_answered = self._partitions.revocation_answered, False
        may_commit = self.membership.metadata is not None and not answered
        if started and may_commit and not self._owner.stopping():
            self._post(Revoking(started, READING.drain_patience))
            self._serve_until_drained()
        self._give_up(numbers)
        self._owner.wake_kept()
        _log.info("partitions given up after %.2f s: %s", time.monotonic() - began, numbers)

    def on_lost(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        numbers = [each.partition for each in partitions]
        _log.warning("partitions lost: %s", numbers)
        self._former = self._consumer.consumer_group_metadata()
        self._give_up(numbers)

    def _serve_until_drained(self) -> None:
        """Within one budget for all partitions, keep serving the core while it finishes what is in flight.

        Once the service stops, the core may have had its last turn: nobody would report that anything is drained.
        """
        deadline = time.monotonic() + self._drain_seconds
        while self.draining and not self._owner.stopping() and time.monotonic() < deadline:
            self.publish()
            self._owner.serve()
            time.sleep(READING.drain_poll)

    def _give_up(self, partitions: Sequence[int]) -> None:
        self._fence(partitions)
        self._partitions.unassign(partitions)

    def _fence(self, partitions: Sequence[int]) -> None:
        """From now on nothing of these assignments is committed."""
        for partition in partitions:
            self.epochs.pop(partition, None)
        self._owner.forget(partitions)
        self.publish()
        self._post(Unassigned(partitions))

    # -- assignments -----------------------------------------------------------------------------------

    def begin(self, partition: int) -> int:
        """Assign the next epoch to a partition; it counts once the membership is published."""
        self._last_epoch += 1
        self.epochs[partition] = self._last_epoch
        return self._last_epoch

    def end(self, partition: int) -> None:
        """End an assignment while the partition stays with this consumer."""
        self.epochs.pop(partition, None)
        self.draining.discard(partition)

    def publish_if_due(self, now: float) -> None:
        """Publish the membership if the last time was a while ago; ``now`` in monotonic seconds."""
        if now - self._published_at > READING.metadata_interval:
            self.publish()

    def publish(self) -> None:
        """Read the group metadata and publish it with the epochs of this moment, as one value."""
        metadata = self._consumer.consumer_group_metadata()
        if metadata != self._former:
            self._former = None
        member = _is_member(metadata) and self._former is None
        latest = metadata if member else None
        if self._partitions.revocation_answered:  # with a newer one, commits of what others own would be accepted
            latest = self.membership.metadata
        self.membership = Membership(latest, dict(self.epochs))
        if member != self._member:
            self._member = member
            self._post(MembershipChanged(member=member))
        self._published_at = time.monotonic()

    def leave(self) -> None:
        """Publish that nothing is ours any more: the owner thread has ended."""
        self.membership = Membership()


def _is_member(metadata: bytes) -> bool:
    """Return whether librdkafka's serialized group metadata is that of a member.

    The generation (classic) or member epoch (KIP-848) is a little-endian 32-bit number behind the mark. The ids of
    group and member follow, each with a NUL at its end (``rd_kafka_consumer_group_metadata_write``). 0 and less is not
    a member's generation; brokers accept offsets under -1, so it must never be sent. A member whose session has timed
    out keeps its generation and loses its id.
    """
    if not metadata.startswith(_METADATA_MARK):
        raise OwnerThreadError("This version of librdkafka writes group metadata in an unknown form.", "Pin 2.16.")
    begin = len(_METADATA_MARK)
    generation, ids = metadata[begin : begin + 4], metadata[begin + 4 :].split(b"\0")
    return int.from_bytes(generation, "little", signed=True) > 0 and ids[1] != b""
