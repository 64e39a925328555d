"""The oracle's view of what was published: outcomes, committed offsets, progress maps.

Records are identified by their values. What is kept here concerns one incarnation of the topic: once it is deleted and
created again, the same offsets mean other records. Until a process has noticed that, which its commits tell by the
topic's id, it may answer requests of either topic; those of the newer one are answered again from its start.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from consumer.adapters.kafka.policy import ADMIN, READING
from consumer.domain.progress import decode_map, topic_id_of
from tests.simulation.broker import METADATA_BYTES, Transaction
from tests.simulation.replica import Payload
from tests.simulation.scenario import SentRecord

if TYPE_CHECKING:
    from tests.simulation.world import World

SLACK_SECONDS = 1.0
"""By which a process may notice later than its look for the topic's id that the topic is another one."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One outcome that a ``read_committed`` subscriber sees."""

    time: float
    payload: Payload


class Published:
    """Outcomes and progress, with the laws that concern both."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.visible: dict[tuple[int, int], Outcome] = {}
        self._unseen: dict[tuple[int, int], SentRecord] = {}
        """Records without a visible outcome, oldest first."""
        self._beyond: dict[int, set[int]] = {}
        """Of each partition: visible outcomes that are not below the committed offset."""
        self._committed: dict[int, int] = {}
        self.read_before_cut: set[tuple[int, int]] = set()
        """Records that were being worked on when they were deleted from the log."""
        self._repeatable: set[tuple[int, int]] = set()
        """Records that may be answered again: a map left them out for want of room, or the brokers forgot them."""
        self._former: set[int] = set()
        """Numbers of the answered records of former incarnations."""

    def _broken(self, text: str) -> None:
        self._world.violated(text)

    def sent(self, record: SentRecord) -> None:
        """A record was written to the log."""
        self._unseen[record.partition, record.offset] = record

    def recreated(self) -> None:
        """The topic was deleted and created again."""
        self._former |= {self._world.records_at[place].number for place in self.visible}
        self.visible.clear()
        self._unseen.clear()
        self._beyond.clear()
        self._committed.clear()
        self.read_before_cut.clear()
        self._repeatable.clear()

    # -- exactly once ----------------------------------------------------------------------------------

    def published(self, transaction: Transaction) -> None:
        """A transaction has committed: its outcomes are visible, its offsets count."""
        world, broker = self._world, self._world.broker
        stale = {partition for partition, told in transaction.offsets.items() if self._is_stale(partition, *told)}
        for payload in transaction.outcomes:
            record = world.sent_record(payload.request.record)
            place = (record.partition, record.offset)
            if record.partition not in transaction.offsets:
                self._broken(f"the outcome of {place} was published without the offset of its partition")
            if record.partition in stale:
                self._answered_early(record, payload)
                continue
            if place in self.visible and place not in self._repeatable:
                self._broken(f"record {place} has a second outcome, of transaction {transaction.number}")
            if record.incarnation != broker.incarnation:
                self._broken(f"r{record.number} of a topic that was deleted is answered as one of the newer topic")
            self._appeared(record, payload)
        for partition, (offset, metadata) in transaction.offsets.items():
            if broker.owners.get(partition) is not transaction.producer.process:
                self._broken(f"partition {partition}: published after another owner could have read the progress")
            if partition in stale:
                continue
            before = self._committed.get(partition, 0)
            if offset < before:
                self._broken(f"partition {partition}: the committed offset went back from {before} to {offset}")
            self._check_progress(partition, before, offset, metadata)
            self._committed[partition] = offset

    def _appeared(self, record: SentRecord, payload: Payload) -> None:
        place = (record.partition, record.offset)
        self.visible[place] = Outcome(self._world.loop.now, payload)
        self._unseen.pop(place, None)
        self._beyond.setdefault(record.partition, set()).add(record.offset)
        self._world.laws.check_outcome(record, payload)
        self._world.promises.published(record, payload)

    def _check_progress(self, partition: int, before: int, offset: int, metadata: str) -> None:
        """Offset and map say exactly which outcomes are visible."""
        log = self._world.broker.logs[partition]
        if offset > log.end:
            self._broken(f"partition {partition}: committed {offset} beyond the log's end {log.end}")
        for each in log.between(max(before, log.start), offset):
            if (partition, each) not in self.visible:
                self._broken(f"partition {partition}: committed {offset}, but record {each} has no outcome")
        done = set(_named(offset, decode_map(offset, metadata)))
        seen = self._beyond.setdefault(partition, set())
        seen.difference_update([each for each in seen if each < offset])
        if done - seen:
            self._broken(f"partition {partition}: the map at {offset} names {sorted(done - seen)} without outcome")
        if self._world.plan.longest_metadata < METADATA_BYTES:
            self._repeatable |= {(partition, each) for each in seen - done}
        elif seen - done:
            self._broken(f"partition {partition}: the map at {offset} forgets {sorted(seen - done)}")

    # -- at least once ---------------------------------------------------------------------------------

    def written(self, payload: Payload) -> None:
        """An outcome was written outside of a transaction, and perhaps not for the first time."""
        self._appeared(self._world.sent_record(payload.request.record), payload)

    def progressed(self, offsets: Mapping[int, tuple[int, str]]) -> None:
        """Offsets were committed outside of a transaction: what they and their maps name has been answered."""
        for partition, (offset, metadata) in offsets.items():
            log = self._world.broker.logs[partition]
            named = *log.between(log.start, offset), *_named(offset, decode_map(offset, metadata))
            lost = [each for each in named if (partition, each) not in self.visible]
            if lost:
                self._broken(f"partition {partition}: committed {offset}, but records {lost} have no outcome")

    # -- another topic ---------------------------------------------------------------------------------

    def _is_stale(self, partition: int, offset: int, metadata: str) -> bool:
        """Return whether a commit is for a former incarnation of the topic, which may last for a while only."""
        world, broker = self._world, self._world.broker
        if not broker.incarnation or topic_id_of(offset, metadata) == broker.topic_id:
            return False
        passed = world.loop.now - broker.recreated_at
        if passed > ADMIN.topic_look + world.plan.drain + SLACK_SECONDS:
            self._broken(f"partition {partition}: committed {offset} of a topic that was deleted {passed:.1f} s before")
        return True

    def _answered_early(self, record: SentRecord, payload: Payload) -> None:
        """A process that has not noticed yet has answered a request of the former topic, or of the newer one."""
        self._world.laws.check_outcome(record, payload)
        if record.incarnation == self._world.broker.incarnation:
            return
        if record.number in self._former:
            self._broken(f"r{record.number} of the former topic has a second outcome")
        self._former.add(record.number)

    # -- forgetful brokers -----------------------------------------------------------------------------

    def read_from(self, partition: int, offset: int, metadata: str) -> None:
        """A process begins to read at an offset, which the brokers may have told for long although it is out of date.

        It may go on from what it has committed last for certain, at the price of repeated answers.
        """
        lied_for = self._world.loop.now - self._world.broker.former_from
        if offset > self._committed.get(partition, 0) or lied_for < READING.credible_patience:
            return
        done = set(_named(offset, decode_map(offset, metadata)))
        again = {each for where, each in self.visible if where == partition and each >= offset} - done
        self._repeatable |= {(partition, each) for each in again}
        self._committed[partition] = offset
        self._beyond[partition] = done

    # -- at the end ------------------------------------------------------------------------------------

    def unanswered(self) -> list[SentRecord]:
        """Records that wait for their outcome; those that were deleted unread are nobody's fault."""
        logs = self._world.broker.logs
        return [
            record
            for place, record in self._unseen.items()
            if record.offset >= logs[record.partition].start or place in self.read_before_cut
        ]

    def lagging(self) -> list[int]:
        """Partitions whose committed offset is not the log's end."""
        broker = self._world.broker
        return [
            partition
            for partition, log in enumerate(broker.logs)
            if log.records and broker.committed.get(partition, (0, ""))[0] < log.end
        ]


def _named(base: int, bitmap: bytes) -> Iterator[int]:
    """Yield the offsets that a map calls done."""
    for number, byte in enumerate(bitmap):
        if byte:
            yield from (base + 8 * number + bit for bit in range(8) if byte >> bit & 1)
