"""A simulated Kafka: the requests log, one consumer group, transactions. Every method is one atomic step.

What it shares with Apache Kafka 4.x and librdkafka 2.16, since the service's guarantees rest on it:

* A log has gaps (markers, compaction), and its head is deleted some day.
* Offsets sent inside a transaction are pending from then until it ends; meanwhile nobody is told the committed
  offset of such a partition.
* Offsets are taken from a member of the current generation, and from whoever claims generation -1.
* A transaction that nobody ends is aborted some time after its time-out; its producer is fenced from then on. So is
  a producer whose transactional id is initialized anew.
* The group rebalances in turns (cooperative): a partition is given away only after its owner has given it up, or
  has left, or its session has ended.
"""

import struct
from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from consumer.domain.progress import CommitPoint, topic_id_of
from tests.simulation.loop import Loop, Process

METADATA_BYTES = 4095
"""Characters of commit metadata that the broker keeps: 4096, of which the binding uses one."""

FORMER_SECONDS = 2.0
"""After an outage in which progress may be told as it was long ago."""


@dataclass(slots=True)
class Log:
    """One partition of the requests topic: offset -> record, with holes."""

    records: dict[int, Any] = field(default_factory=dict)
    offsets: list[int] = field(default_factory=list)
    start: int = 0
    end: int = 0
    broken: dict[int, int] = field(default_factory=dict)
    """Offset in a batch that cannot be unpacked -> the batch's first offset."""
    _batches: dict[int, int] = field(default_factory=dict)

    def append(self, record: Any) -> int:  # noqa: ANN401 - the scenario's
        """Write a record; its offset."""
        offset = self.end
        self.records[offset] = record
        self.offsets.append(offset)
        if record.batch is not None:
            self.broken[offset] = self._batches.setdefault(record.batch, offset)
        self.end += 1
        return offset

    def between(self, low: int, high: int) -> list[int]:
        """Return the offsets of the records from ``low`` up to, and without, ``high``."""
        return self.offsets[bisect_left(self.offsets, low) : bisect_left(self.offsets, high)]

    def first_from(self, offset: int) -> int:
        """Return the offset of the next record, or the log's end."""
        index = bisect_left(self.offsets, offset)
        return self.offsets[index] if index < len(self.offsets) else self.end


@dataclass(slots=True, eq=False)
class Transaction:
    """What one transaction of one producer says."""

    producer: "ProducerState"
    number: int
    began: float
    outcomes: list[Any] = field(default_factory=list)
    offsets: dict[int, tuple[int, str]] = field(default_factory=dict)
    state: str = "open"
    """``open``, ``committed`` or ``aborted``."""


@dataclass(slots=True, eq=False)
class ProducerState:
    """A producer as the transaction coordinator knows it."""

    transactional_id: str
    process: Process
    transaction: Transaction | None = None
    fenced: bool = False


class Refused(Exception):  # noqa: N818 - the broker's answer
    """The broker says no; ``code`` is Kafka's name."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(slots=True, eq=False)
class Member:
    """A member of the group; ``consumer`` is what its background thread is told."""

    id: str
    consumer: Any
    instance: str | None
    owned: frozenset[int] = frozenset()
    joined: bool = False
    assigned: frozenset[int] = frozenset()


class Broker:
    """The whole cluster."""

    def __init__(
        self,
        loop: Loop,
        rng: Random,
        partitions: int,
        *,
        session: float,
        transaction_timeout: float,
        trace: Callable[[str], None],
    ) -> None:
        self.loop = loop
        self.rng = rng
        self.logs = [Log() for _ in range(partitions)]
        self.session = session
        self.transaction_timeout = transaction_timeout
        self.down_until = 0.0
        self.silent_until = 0.0
        """Until then nobody is told the progress of a partition."""
        self.incarnation = 0
        """How often the topic was deleted and created again."""
        self.recreated_at = float("-inf")
        self.former_from, self.former_until = float("inf"), 0.0
        """When progress is told as it was long ago, though no broker was down."""
        self.longest_metadata = METADATA_BYTES
        """``offset.metadata.max.bytes``."""
        self.refused_until: dict[str, float] = {}
        """What a missing right keeps us from, and until when: ``results``, ``dead-letters``, ``transactions``."""
        self.committed: dict[int, tuple[int, str]] = {}
        self.pending: dict[int, dict[int, Transaction]] = {p: {} for p in range(partitions)}
        self.owners: dict[int, Process] = {}
        """Which rightful owner was last told a partition's progress."""
        self._history: dict[int, list[tuple[tuple[int, str], Process, int]]] = {}
        """Of each partition: what was committed in transactions, by whom, in which generation."""
        self.members: dict[str, Member] = {}
        self.generation = 0
        self.on_commit: Callable[[Transaction], None] = lambda _: None
        self.on_write: Callable[[Process, Any], None] = lambda _process, _outcome: None
        self.on_progress: Callable[[Process, Mapping[int, tuple[int, str]]], None] = lambda _process, _offsets: None
        self._producers: dict[str, ProducerState] = {}
        self._preparing = False
        self._member_number = 0
        self._transaction_number = 0
        self.trace = trace

    @property
    def down(self) -> bool:
        """Nobody answers."""
        return self.loop.now < self.down_until

    def troubled(self, seconds: float) -> bool:
        """Nobody answers, or nobody did within so many seconds; or progress is not told."""
        return self.loop.now < max(self.down_until, self.silent_until) + seconds

    # -- offsets ---------------------------------------------------------------------------------------

    def read_progress(self, partition: int, process: Process) -> tuple[int, str] | None:
        """Return the committed offset and metadata (-1001: none); ``None`` while a transaction is pending."""
        if self.pending[partition] or self.loop.now < self.silent_until:
            return None
        if self._tells_of_former_times() and (former := self._former(partition, process)) is not None:
            return former
        return self.committed.get(partition, (-1001, ""))

    def refuses(self, what: str) -> bool:
        """Return whether a right is missing now."""
        return self.loop.now < self.refused_until.get(what, 0.0)

    def heard(self, partition: int, process: Process) -> None:
        """The answer has arrived; many a question is answered when nobody waits for that any more."""
        if self._may_own(partition, process):
            self.owners[partition] = process

    def _tells_of_former_times(self) -> bool:
        """Kafka 4.3.1, where the coordinator was interrupted while loading: until something is written there."""
        if self.former_from <= self.loop.now < self.former_until:
            return True
        return 0.0 < self.down_until <= self.loop.now < self.down_until + FORMER_SECONDS

    def _former(self, partition: int, process: Process) -> tuple[int, str] | None:
        """Progress of long ago, for one who knows better.

        It concerns only those who have committed since, more than once, whether they ask again or were assigned the
        partition anew; not where the log was cut under a reader, who asks for that reason and cannot tell.
        """
        history = self._history.get(partition, [])
        older, newest = history[:-2], history[-2:]
        if not older or self.logs[partition].start:
            return None
        if not all(self._remembers(process, *commit) for commit in newest):
            return None
        told = older[0][0]
        # Nobody can know better than what includes a newer commit: the same point again, or one whose map did not fit.
        return None if any(CommitPoint(*told).includes(CommitPoint(*point)) for point, *_ in newest) else told

    def _remembers(self, process: Process, point: tuple[int, str], committer: Process, generation: int) -> bool:
        """Return whether a process has made a commit and still notes it.

        That ends with its assignment unless the commit has the topic's id.
        """
        return committer is process and (generation == self.generation or bool(topic_id_of(*point)))

    def _may_own(self, partition: int, process: Process) -> bool:
        """Return whether it is a member, and nobody else has the partition."""
        members = self.members.values()
        others = any(partition in each.assigned and each.consumer.replica.process is not process for each in members)
        return not others and any(each.consumer.replica.process is process for each in members)

    def commit_plainly(self, process: Process, offsets: Mapping[int, tuple[int, str]], metadata: bytes) -> None:
        """Take offsets outside of a transaction; from nobody but a member, as long as there is any."""
        if any(len(text) > self.longest_metadata for _, text in offsets.values()):
            raise Refused("OFFSET_METADATA_TOO_LARGE")
        if read_metadata(metadata)[0] == -1 and self.members:
            raise Refused("UNKNOWN_MEMBER_ID")
        self._check_member(metadata)
        self.on_progress(process, offsets)
        self.committed.update(offsets)

    # -- the topic -------------------------------------------------------------------------------------

    @property
    def topic_id(self) -> bytes:
        """The id of the topic, which another topic of the same name does not have."""
        return b"topic%03d" % self.incarnation

    def recreate(self, *, keeps_progress: bool) -> None:
        """Delete the topic with all records, and create it again."""
        self.trace("broker: the topic is deleted and created again")
        self.incarnation += 1
        self.recreated_at = self.loop.now
        self.logs[:] = [Log() for _ in self.logs]
        self._history.clear()
        if not keeps_progress:
            self.committed.clear()

    def _check_member(self, metadata: bytes) -> None:
        generation, member = read_metadata(metadata)
        if generation == -1:
            return
        if member not in self.members:
            raise Refused("UNKNOWN_MEMBER_ID")
        if generation != self.generation:
            raise Refused("ILLEGAL_GENERATION")

    # -- transactions ----------------------------------------------------------------------------------

    def init_producer(self, transactional_id: str, process: Process) -> ProducerState:
        """Fence the former producer of this id and abort what it left open."""
        if self.refuses("transactions"):
            raise Refused("TRANSACTIONAL_ID_AUTHORIZATION_FAILED")
        former = self._producers.get(transactional_id)
        if former is not None:
            former.fenced = True
            if former.transaction is not None:
                self._end(former.transaction, "aborted")
        producer = self._producers[transactional_id] = ProducerState(transactional_id, process)
        return producer

    def begin(self, producer: ProducerState) -> Transaction:
        """Begin a transaction, as the first record produced in it does."""
        self._transaction_number += 1
        transaction = Transaction(producer, self._transaction_number, self.loop.now)
        producer.transaction = transaction
        wait = self.transaction_timeout + self.rng.random() * self.transaction_timeout / 2
        self.loop.after(wait, lambda: self._expire_transaction(transaction))
        return transaction

    def _expire_transaction(self, transaction: Transaction) -> None:
        if transaction.state == "open":
            if self.down:
                self.loop.at(self.down_until + 0.5, lambda: self._expire_transaction(transaction))
                return
            self.trace(f"broker: transaction {transaction.number} timed out")
            transaction.producer.fenced = True
            self._end(transaction, "aborted")

    def produce(self, transaction: Transaction, outcomes: list[Any]) -> None:
        """Take records into a transaction."""
        self._check_producer(transaction)
        if any(self.refuses(payload.outlet) for payload in outcomes):
            raise Refused("TOPIC_AUTHORIZATION_FAILED")
        transaction.outcomes.extend(outcomes)

    def send_offsets(self, transaction: Transaction, offsets: dict[int, tuple[int, str]], metadata: bytes) -> None:
        """Take offsets into a transaction: pending from now on."""
        self._check_producer(transaction)
        if any(len(text) > self.longest_metadata for _, text in offsets.values()):
            raise Refused("OFFSET_METADATA_TOO_LARGE")
        self._check_member(metadata)
        transaction.offsets.update(offsets)
        for partition in offsets:
            self.pending[partition][transaction.number] = transaction

    def end(self, transaction: Transaction, state: str) -> None:
        """Commit or abort, at the producer's word; saying it twice is no harm."""
        if transaction.state == state:
            return
        self._check_producer(transaction)
        self._end(transaction, state)

    def _check_producer(self, transaction: Transaction) -> None:
        if transaction.producer.fenced:
            raise Refused("PRODUCER_FENCED")
        if self.refuses("transactions"):
            raise Refused("TRANSACTIONAL_ID_AUTHORIZATION_FAILED")
        if transaction.state != "open":
            raise Refused("INVALID_TXN_STATE")

    def _end(self, transaction: Transaction, state: str) -> None:
        if transaction.state != "open":
            return
        transaction.state = state
        self.trace(f"broker: transaction {transaction.number} {state}")
        if state == "committed":
            self.on_commit(transaction)
            self.committed.update(transaction.offsets)
            for partition, progress in transaction.offsets.items():
                commit = progress, transaction.producer.process, self.generation
                self._history.setdefault(partition, []).append(commit)
        markers = self.rng.random() * 0.01
        self.loop.after(markers, lambda: self._settle(transaction))

    def _settle(self, transaction: Transaction) -> None:
        for partition in transaction.offsets:
            self.pending[partition].pop(transaction.number, None)

    # -- the group -------------------------------------------------------------------------------------

    def join(self, consumer: Any, member_id: str, instance: str | None, owned: frozenset[int]) -> str:  # noqa: ANN401
        """Join or rejoin; the member's id. The assignment comes by ``consumer.synced``."""
        if instance is not None and member_id not in self.members:
            known = next((each for each in self.members.values() if each.instance == instance), None)
            if known is not None:
                return self._replace(known, consumer)
        if member_id not in self.members:
            self._member_number += 1
            member_id = f"m{self._member_number}"
            self.members[member_id] = Member(member_id, consumer, instance)
        member = self.members[member_id]
        member.owned = owned
        if not self._preparing:
            self._prepare()
        member.joined = True
        self._complete_if_all_joined()
        return member_id

    def _replace(self, known: Member, consumer: Any) -> str:  # noqa: ANN401 - kafka.SimulatedConsumer
        """A static member is back: it gets its partitions again, without a rebalance."""
        del self.members[known.id]
        self._member_number += 1
        member = Member(f"m{self._member_number}", consumer, known.instance, frozenset(), known.joined, known.assigned)
        self.members[member.id] = member
        complete = sum(len(each.assigned) for each in self.members.values()) == len(self.logs)
        if not complete and not self._preparing:
            self._prepare()  # its predecessor died before it could ask for that
        if self._preparing:
            member.joined = True
            self._complete_if_all_joined()
        else:
            generation, assigned = self.generation, member.assigned
            self.loop.after(0.01, lambda: consumer.synced(member.id, generation, assigned))
        return member.id

    def leave(self, member_id: str) -> None:
        """Leave the group, or be put out of it."""
        if self.members.pop(member_id, None) is None:
            return
        if self.members and not self._preparing:
            self._prepare()
        self._complete_if_all_joined()

    def awaits(self, member_id: str) -> bool:
        """Return whether a member has to join again for a rebalance to get on."""
        return self._preparing and not self.members[member_id].joined

    def awaits_nothing(self, member_id: str, generation: int) -> bool:
        """Return whether this generation's assignment is the last word for a member."""
        return generation == self.generation and not (self._preparing and self.members[member_id].joined)

    def _prepare(self) -> None:
        self._preparing = True
        for member in self.members.values():
            member.joined = False
            self.loop.after(self.rng.random() * self.session / 5, member.consumer.noticed)

    def _complete_if_all_joined(self) -> None:
        if not self._preparing or not all(member.joined for member in self.members.values()):
            return
        self._preparing = False
        self.generation += 1
        assignment = self._assign()
        self.trace(f"broker: generation {self.generation}: { {m: sorted(ps) for m, ps in assignment.items()} }")
        for member in list(self.members.values()):
            member.assigned = assignment[member.id]
            self._sync(member, self.generation)

    def _sync(self, member: Member, generation: int) -> None:
        assigned = member.assigned
        delay = 0.001 + self.rng.random() * 0.05
        self.loop.after(delay, lambda: member.consumer.synced(member.id, generation, assigned))

    def _assign(self) -> dict[str, frozenset[int]]:
        """Cooperative and sticky: what another one still owns is withheld until the next generation."""
        ids = list(self.members)
        if not ids:
            return {}
        shuffled = self.rng.sample(range(len(self.logs)), len(self.logs))
        least, extra = divmod(len(self.logs), len(ids))
        target: dict[str, set[int]] = {each: set() for each in ids}
        owner = {p: each for each in ids for p in self.members[each].owned}
        for partition in shuffled:
            each = owner.get(partition)
            if each is not None and len(target[each]) < least + (extra > 0):
                target[each].add(partition)
        for partition in shuffled:
            if not any(partition in given for given in target.values()):
                fewest = min(ids, key=lambda each: len(target[each]))
                target[fewest].add(partition)
        return {each: frozenset(p for p in given if owner.get(p, each) == each) for each, given in target.items()}


def write_metadata(generation: int, member: str) -> bytes:
    """As the binding serializes group metadata."""
    return b"CGMDv2:" + struct.pack("=i", generation) + b"group\0" + member.encode() + b"\0\1"


def read_metadata(metadata: bytes) -> tuple[int, str]:
    """Generation and member id."""
    (generation,) = struct.unpack("=i", metadata[7:11])
    return generation, metadata[11:].split(b"\0")[1].decode()
