"""The committer thread: outcomes and offsets, in one transaction each.

What a transaction says of a partition is published whole or not at all: partitions that are no longer ours by
the latest ``Membership`` are left out. Offsets are sent with the group metadata of the very membership that
still names these partitions, so a broker refuses them once the group has moved on.

A commit that timed out has an unknown outcome: it is asked for again, and nothing else is produced meanwhile. Where
the producer itself is lost in that state, the transaction's result is ``UNKNOWN`` and the core has the partitions
read anew: only the broker's committed offsets can tell.

A producer can lose its coordinator for good: after a broker was away, calls time out again and again, or hang for ever
(``bounded_call``). It is then given up for a successor of the same transactional id, made at once: its beginning has
the broker end what is open, which otherwise holds up those who read the partitions anew, and all subscribers.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple, Protocol

from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from consumer.adapters.kafka.bounded_call import OverdueError, within
from consumer.adapters.kafka.membership import Membership
from consumer.adapters.kafka.remedies import Named, remedy
from consumer.engine.commands import Commit, PartitionCommit
from consumer.engine.events import (
    Event,
    PublishingTrouble,
    ThreadFailed,
    TransactionFinished,
    TransactionResult,
    TransactionTrouble,
)

CALL_TIMEOUT_SECONDS: Final = 10.0
"""For one call of the producer that may be repeated; some ignore it while the coordinator is away."""
OFFSETS_TIMEOUT_SECONDS: Final = 5.0
"""For sending offsets once; the transaction itself lives for 8 s."""
FIRST_PATIENCE_SECONDS: Final = OFFSETS_TIMEOUT_SECONDS + 1.0
MOST_PATIENCE_SECONDS: Final = 60.0
"""Until a producer that does not come back from sending offsets is left behind: twice as long each time, since it
keeps its threads until its connections change. Well below what the watchdog allows a producer's call."""
END_PATIENCE_SECONDS: Final = 10.0
"""For the end of a transaction; then the successor finds out, or brings about, how it ended."""
INIT_TIMEOUT_SECONDS: Final = 10.0
"""For a producer's beginning, which ends what its predecessor left open; then /readyz says why it does not."""
RETRY_SECONDS: Final = 0.5
LONGEST_RETRY_SECONDS: Final = 10.0
"""Between two attempts at making a producer: the first pause, doubled each time, and the longest."""
FULL_QUEUE_POLL_SECONDS: Final = 0.05
BATCH_BYTES: Final = 1_000_000
"""Of records that travel together; librdkafka's default."""
SMALLEST_BATCH_BYTES: Final = 1_000
"""No two records of ours fit."""
WATCHED_BYTES: Final = 32 * 1024
"""Records above this are watched one by one: a broker may find them too large."""
WATCH_ALL: Final = -1

_log = logging.getLogger(__name__)


class Publication(NamedTuple):
    """One record to produce."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, str | bytes | None]]

    def __repr__(self) -> str:
        """Show nothing of what somebody else wrote: a dead letter repeats it."""
        return f"Publication({self.topic}, {len(self.value or b'')} bytes)"


class Publisher(Protocol):
    """Verdicts to records."""

    def publications(self, outcomes: Sequence[Any]) -> Iterable[Publication]:
        """Give one record for each outcome, in order."""
        ...

    def reduced(self, outcome: Any, *, smallest: bool) -> Publication:  # noqa: ANN401 - engine.work.Request, opaque here
        """Give a smaller record, or the smallest that still says what happened, for one that is too large."""
        ...


@dataclass(frozen=True, slots=True)
class Finished:
    """A transaction that ended, for those who watch."""

    commit: Commit
    result: TransactionResult
    seconds: float
    kept: frozenset[int]
    trouble: TransactionTrouble | None = None


class _Aborted(Exception):  # noqa: N818 - a state, not an error
    """The transaction is surely without effect."""


class _Unknown(Exception):  # noqa: N818 - a state, not an error
    """The producer is lost while its transaction may have committed."""


class _Committer:
    """What both ways of delivery share: a thread that takes commits from a queue, one at a time."""

    def __init__(
        self,
        properties: Mapping[str, Any],
        requests_topic: str,
        group_id: str,
        publisher: Publisher,
        post: Callable[[Event], None],
        observe: Callable[[Finished], None],
    ) -> None:
        self._properties = dict(properties)
        self._topic = requests_topic
        self._named = Named(requests_topic, group_id, str(properties.get("transactional.id", "")))
        self._trouble: TransactionTrouble | None = None
        """Why the transaction in hand fails, where an operator may have to mend it."""
        self._parts: Sequence[PartitionCommit] = ()
        self._publisher = publisher
        self._post = post
        self._observe = observe
        self._queue: queue.SimpleQueue[Commit | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="kafka-committer", daemon=True)
        self._too_large: dict[tuple[int, int], bool] = {}
        """Coordinates of requests whose outcomes have to be made smaller, and whether as small as can be."""
        self._failed: list[tuple[PartitionCommit, int, KafkaError]] = []
        self._watched_from = WATCHED_BYTES
        """Records above this many bytes get a delivery report of their own."""
        self._watched = False
        """There was one since this was last looked at."""
        self.busy_since: float | None = None
        """When the producer call that is under way began, in monotonic seconds; for the watchdog."""
        self.failure: BaseException | None = None

    def start(self) -> None:
        """Make the producer ready in the background."""
        self._thread.start()

    def commit(self, commit: Commit) -> None:
        """Take the next transaction; returns at once."""
        self._queue.put(commit)

    def stop(self, timeout: float) -> bool:
        """End after what is under way; ``False`` if that took longer than ``timeout`` seconds."""
        self._queue.put(None)
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._prepare()
            while (commit := self._queue.get()) is not None:
                started = time.monotonic()
                self._trouble = None
                result, kept = self._carry_out(commit)
                finished = Finished(commit, result, time.monotonic() - started, kept, self._trouble)
                self._post(TransactionFinished(commit, result, kept, self._trouble))
                self._observe(finished)
                self._parts = ()
                del commit, finished  # while waiting, nothing keeps what may be large records alive
                self._recover()
        except BaseException as problem:  # noqa: BLE001 - kept for the main thread, which ends the process with it
            self.failure = problem
            self._post(ThreadFailed(problem))

    def _prepare(self) -> None:
        """Before the first commit."""
        raise NotImplementedError

    def _recover(self) -> None:
        """After each commit: mend what it may have broken."""

    def _carry_out(self, commit: Commit) -> tuple[TransactionResult, frozenset[int]]:
        raise NotImplementedError

    def _produce(self, producer: Producer, parts: Sequence[PartitionCommit]) -> None:
        """Hand all outcomes to the producer; deliveries that fail are noted in ``_failed``."""
        self._failed.clear()
        for part in parts:
            for index, publication in enumerate(self._publisher.publications(part.outcomes)):
                origin = part, index
                if self._too_large:
                    publication = self._as_small_as_needed(publication, origin)  # noqa: PLW2901 - the same
                if not self._produce_one(producer, publication, origin):
                    self._produce_reduced(producer, origin)

    def _as_small_as_needed(self, publication: Publication, origin: tuple[PartitionCommit, int]) -> Publication:
        part, index = origin
        outcome = part.outcomes[index]
        smallest = self._too_large.get((part.partition, outcome.record.offset))
        return publication if smallest is None else self._publisher.reduced(outcome, smallest=smallest)

    def _produce_reduced(self, producer: Producer, origin: tuple[PartitionCommit, int]) -> None:
        part, index = origin
        if self._produce_one(producer, self._publisher.reduced(part.outcomes[index], smallest=False), origin):
            return
        smallest = self._publisher.reduced(part.outcomes[index], smallest=True)
        if not self._produce_one(producer, smallest, origin):
            raise KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE, smallest.topic, txn_requires_abort=True))

    def _produce_one(self, producer: Producer, publication: Publication, origin: tuple[PartitionCommit, int]) -> bool:
        """``False``: it is too large for any of the topics, as far as their limits were known at the start."""
        topic, key, value, headers = publication
        on_delivery = None
        if len(value or b"") + len(key or b"") > self._watched_from:
            self._watched = True
            on_delivery = partial(self._delivered, origin)
        while True:
            try:
                producer.produce(topic, value, key, headers=headers, on_delivery=on_delivery)
            except BufferError:
                producer.poll(FULL_QUEUE_POLL_SECONDS)
            except KafkaException as problem:
                if problem.args[0].code() != KafkaError.MSG_SIZE_TOO_LARGE:
                    raise
                return False
            else:
                return True

    def _delivered(self, origin: tuple[PartitionCommit, int], error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self._failed.append((*origin, error))

    def _note_too_large(self) -> bool:
        """Learn from what a broker found too large; ``False`` where there is nothing to learn.

        A broker refuses whole batches, so they are made smaller before what stands alone in one is.
        """
        found = [
            (part.partition, part.outcomes[index].record.offset)
            for part, index, error in self._failed
            if error.code() == KafkaError.MSG_SIZE_TOO_LARGE
        ]
        batch = int(self._properties.get("batch.size", BATCH_BYTES))
        if found and batch > SMALLEST_BATCH_BYTES:
            self._properties["batch.size"] = max(SMALLEST_BATCH_BYTES, batch // 10)
            _log.warning("a broker finds batches of %d bytes too large: has max.message.bytes been lowered?", batch)
            return True
        smaller = [coordinates for coordinates in found if self._too_large.get(coordinates) is not True]
        self._too_large |= {coordinates: coordinates in self._too_large for coordinates in found}
        return bool(smaller)

    def _learn_or_blame(self, error: KafkaError | None) -> None:
        if not self._note_too_large():
            self._blame(error)

    def _blame(self, error: KafkaError | None) -> None:
        """Note why the transaction in hand fails; a failed delivery tells more than what follows from it."""
        failed = sorted((each for _, _, each in self._failed), key=lambda each: each.code() in _CONSEQUENCES)
        if failed and (error is None or error.code() in _CONSEQUENCES):
            error = failed[0]
        if error is None or error.code() in _REBALANCING:
            return
        if error.code() == KafkaError.OFFSET_METADATA_TOO_LARGE:
            longest = max(len(part.metadata) for part in self._parts)
            _log.error(
                "the brokers refuse a progress map of %d characters, so shorter ones are committed: after a crash, "
                "requests that they leave out are answered again. Set offset.metadata.max.bytes of the brokers to 4096",
                longest,
            )
            self._trouble = TransactionTrouble("The brokers refuse our progress maps.", metadata_too_large=True)
            return
        topics = {each.topic for part in self._parts for each in self._publisher.publications(part.outcomes)}
        self._trouble = TransactionTrouble(remedy(error, self._named, topics))
        _log.error("outcomes cannot be published: %s", self._trouble.message)

    def _flush(self, producer: Producer) -> None:
        """Wait for the acknowledgements, however long the brokers take."""
        while self._timed(producer.flush, CALL_TIMEOUT_SECONDS):
            _log.warning("results are not acknowledged yet: look at the Kafka brokers")

    def _timed(self, call: Callable[..., Any], *args: Any) -> Any:  # noqa: ANN401 - passes through
        self.busy_since = time.monotonic()
        try:
            return call(*args)
        finally:
            self.busy_since = None


class TransactionalSink(_Committer):
    """Exactly once: produce, send offsets, commit."""

    def __init__(
        self,
        properties: Mapping[str, Any],
        requests_topic: str,
        group_id: str,
        publisher: Publisher,
        post: Callable[[Event], None],
        observe: Callable[[Finished], None],
        *,
        membership: Callable[[], Membership],
        transactional_id: str,
    ) -> None:
        properties = {**properties, "transactional.id": transactional_id}
        super().__init__(properties, requests_topic, group_id, publisher, post, observe)
        self._membership = membership
        self._patience = FIRST_PATIENCE_SECONDS
        self._producer: Producer | None = None
        self.ready = threading.Event()

    def start(self) -> None:
        """Make the producer ready in the background; until it is, no call should start."""
        self._post(PublishingTrouble(_NOT_READY))
        super().start()

    def _prepare(self) -> None:
        self._ready_producer()
        self._post(PublishingTrouble(None))
        self.ready.set()

    def _recover(self) -> None:
        """Have a producer, and nothing left open by its predecessor."""
        self._ready_producer()

    def _ready_producer(self) -> Producer:
        """Give a producer whose predecessor's open transaction is aborted; wait for the broker as long as needed."""
        pause, troubled = RETRY_SECONDS, False
        while self._producer is None:
            producer = Producer(self._properties)
            try:
                self._timed(producer.init_transactions, INIT_TIMEOUT_SECONDS)
                self._producer = producer
            except KafkaException as problem:
                message = remedy(problem.args[0], self._named)
                _log.error("no transaction can begin: %s", message)
                self._post(PublishingTrouble(message))
                troubled = True
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_RETRY_SECONDS)
        if troubled:
            self._post(PublishingTrouble(None))
        return self._producer

    def _carry_out(self, commit: Commit) -> tuple[TransactionResult, frozenset[int]]:
        parts = self._ours(commit.partitions, self._membership())
        kept = frozenset(part.partition for part in parts)
        if not parts:
            return TransactionResult.ABORTED, kept
        producer = self._ready_producer()
        self._parts = parts
        try:
            self._transact(producer, parts)
        except _Aborted:
            return TransactionResult.ABORTED, kept
        except _Unknown:
            return TransactionResult.UNKNOWN, kept
        self._too_large.clear()
        self._trouble = None
        self._watched_from = WATCHED_BYTES
        return TransactionResult.COMMITTED, kept

    @staticmethod
    def _ours(parts: Sequence[PartitionCommit], membership: Membership) -> list[PartitionCommit]:
        return [part for part in parts if membership.epochs.get(part.partition) == part.epoch]

    def _transact(self, producer: Producer, parts: Sequence[PartitionCommit]) -> None:
        try:
            producer.begin_transaction()
            self._watched = False
            self._produce(producer, parts)
            if self._watched:
                self._flush(producer)
            if any(error.code() not in _CONSEQUENCES for _, _, error in self._failed):
                self._abort(producer, None)
            self._send_offsets(producer, parts)  # which tells what purged records follow from
            if self._failed:
                self._abort(producer, None)
        except KafkaException as problem:
            self._abort(producer, problem)
        self._commit_transaction(producer)

    def _send_offsets(self, producer: Producer, parts: Sequence[PartitionCommit]) -> None:
        offsets = [TopicPartition(self._topic, part.partition, part.offset, part.metadata) for part in parts]
        deadline = time.monotonic() + self._patience
        while True:
            membership = self._membership()
            if membership.metadata is None or len(self._ours(parts, membership)) < len(parts):
                self._abort(producer, None)
            try:
                send = producer.send_offsets_to_transaction
                self._timed(within, self._patience, send, offsets, membership.metadata, OFFSETS_TIMEOUT_SECONDS)
            except KafkaException as problem:
                if not problem.args[0].retriable():
                    raise
                _log.warning("offsets are not sent yet: %s", problem.args[0].str())
                if time.monotonic() > deadline:
                    self._leave_behind(problem)
            except OverdueError as overdue:
                self._leave_behind(overdue)
            else:
                self._patience = FIRST_PATIENCE_SECONDS
                return

    def _leave_behind(self, problem: Exception) -> None:
        """Its transaction has no effect, since nobody will ask for its commit, and ends when the successor begins."""
        _log.warning("the producer is given up, it cannot send offsets: %s", problem)
        error = problem.args[0] if isinstance(problem, KafkaException) else _OVERDUE
        self._blame(error)
        self._patience = min(2 * self._patience, MOST_PATIENCE_SECONDS)
        self._producer = None
        raise _Aborted from problem

    def _commit_transaction(self, producer: Producer) -> None:
        deadline = time.monotonic() + END_PATIENCE_SECONDS
        while True:
            try:
                self._timed(producer.commit_transaction, CALL_TIMEOUT_SECONDS)
            except KafkaException as problem:
                error = problem.args[0]
                if error.txn_requires_abort():
                    self._abort(producer, problem, commit_asked=True)
                if error.fatal() or not error.retriable() or time.monotonic() > deadline:
                    self._drop(problem)
                    self._blame(error)
                    raise _Unknown from problem
                _log.warning("the transaction's commit is not known yet: %s", error.str())
            else:
                return

    def _abort(self, producer: Producer, problem: KafkaException | None, *, commit_asked: bool = False) -> None:
        """End the transaction without effect; raises ``_Aborted`` or, where even that is not known, ``_Unknown``.

        Nobody commits a transaction whose commit was never asked for: whatever its producer comes to, it had no
        effect, and the successor's beginning ends it.
        """
        error = problem.args[0] if problem is not None else None
        lost = _Unknown if commit_asked else _Aborted
        if error is not None:
            _log.warning("transaction aborted: %s (%s)", error.str(), error.name())
        if error is not None and error.fatal():
            self._learn_or_blame(error)
            self._drop(problem)
            raise lost from problem
        deadline = time.monotonic() + END_PATIENCE_SECONDS
        while True:
            try:
                self._timed(producer.abort_transaction, CALL_TIMEOUT_SECONDS)
            except KafkaException as failure:
                retriable = failure.args[0].retriable() and not failure.args[0].fatal()
                if retriable and time.monotonic() < deadline:
                    continue
                self._learn_or_blame(error or failure.args[0])
                self._drop(failure)
                raise lost from failure
            break
        producer.poll(0)  # the reports of what failed
        self._learn_or_blame(error)
        if self._failed or error is not None:
            self._watched_from = WATCH_ALL
            self._drop(None)
        raise _Aborted from problem

    def _drop(self, problem: KafkaException | None) -> None:
        """Give up a producer: after a failure to produce, its next transaction would fail as well."""
        if problem is not None:
            _log.warning("the producer is given up: %s", problem.args[0].str())
        self._producer = None


# librdkafka's own codes begin with an underscore; their names are public
_CONSEQUENCES: Final = frozenset(
    {
        KafkaError._PURGE_QUEUE,  # noqa: SLF001
        KafkaError._PURGE_INFLIGHT,  # noqa: SLF001
        KafkaError._INCONSISTENT,  # noqa: SLF001
        KafkaError._STATE,  # noqa: SLF001
    }
)
"""Codes of what follows from another failure."""
_REBALANCING: Final = frozenset(
    {
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.FENCED_INSTANCE_ID,
    }
)
"""Codes that say no more than that the group has moved on."""
_NOT_READY: Final = "The transactional producer is not ready yet. If this lasts, check the Kafka brokers."
_OVERDUE: Final = KafkaError(KafkaError._TIMED_OUT, "no answer to sending offsets")  # noqa: SLF001


class AtLeastOnceSink(_Committer):
    """Produce, wait for the acknowledgements, then commit: a crash in between repeats results."""

    def __init__(
        self,
        properties: Mapping[str, Any],
        requests_topic: str,
        group_id: str,
        publisher: Publisher,
        post: Callable[[Event], None],
        observe: Callable[[Finished], None],
        *,
        membership: Callable[[], Membership],
        commit_offsets: Callable[[Sequence[TopicPartition], Callable[[KafkaError | None], None]], None],
    ) -> None:
        super().__init__(properties, requests_topic, group_id, publisher, post, observe)
        self._membership = membership
        self._commit_offsets = commit_offsets
        self._watched_from = WATCH_ALL  # nothing else tells whether a record was delivered
        self._unacknowledged = 0

    def _prepare(self) -> None:
        self._producer = Producer(self._properties)

    def _carry_out(self, commit: Commit) -> tuple[TransactionResult, frozenset[int]]:
        epochs = self._membership().epochs
        parts = [part for part in commit.partitions if epochs.get(part.partition) == part.epoch]
        kept = frozenset(part.partition for part in parts)
        self._parts = parts
        try:
            self._produce(self._producer, parts)
            self._flush(self._producer)
        except KafkaException as problem:
            self._blame(problem.args[0])
            self._producer = Producer(self._properties)
            return TransactionResult.ABORTED, kept
        if self._failed:
            if self._note_too_large():
                self._producer = Producer(self._properties)
            else:
                self._blame(None)
            return TransactionResult.ABORTED, kept
        if not parts or not self._offsets_committed(parts):
            return TransactionResult.ABORTED, kept
        self._too_large.clear()
        return TransactionResult.COMMITTED, kept

    def _offsets_committed(self, parts: Sequence[PartitionCommit]) -> bool:
        offsets = [TopicPartition(self._topic, part.partition, part.offset, part.metadata) for part in parts]
        answer: queue.SimpleQueue[KafkaError | None] = queue.SimpleQueue()
        self._commit_offsets(offsets, answer.put)
        try:
            error = answer.get(timeout=2 * CALL_TIMEOUT_SECONDS)
        except queue.Empty:
            return False
        if error is not None:
            _log.warning("offsets are not committed yet: %s", error.str())
            self._blame(error)
        return error is None
