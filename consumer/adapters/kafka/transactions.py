"""Exactly-once delivery: outcomes and offsets in one transaction.

A transaction contains all of a partition's part or nothing of it: partitions that are no longer ours by the latest
``Membership`` are left out. Offsets are sent with the group metadata of the very membership that still names
these partitions, so a broker refuses them once the group has moved on.

A commit that timed out has an unknown outcome: it is asked for again, and nothing else is produced meanwhile. If the
producer itself is lost in that state, the result is ``UNKNOWN`` and the core has the partitions read anew: only the
broker's committed offsets can tell.

A producer can lose its coordinator for good: after a broker was unavailable, calls time out again and again, or hang
for ever (``bounded_call``). It is then abandoned for a successor with the same transactional id, created at once: its
beginning has the broker end what is open, which otherwise blocks those who read the partitions anew, and all
subscribers. A broker that is killed meanwhile may lose the marker that ends a transaction, and believe that it has
ended (observed with Apache Kafka 4.3.1): committed offsets then cannot be read any more. So the successor first aborts
a transaction of its own with offsets; the marker of that one ends the other as well. A process whose transactional id
others have used does the same before its first commit.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from consumer.adapters.kafka.bounded_call import OverdueError, within
from consumer.adapters.kafka.committer import CONSEQUENCES, REBALANCING, Committer, Finished
from consumer.adapters.kafka.membership import Ownership
from consumer.adapters.kafka.outgoing import WATCH_ALL, Publisher
from consumer.adapters.kafka.policy import PUBLISHING, PublishingPolicy
from consumer.adapters.kafka.remedies import Named, remedy
from consumer.engine.commands import Commit, PartitionCommit
from consumer.engine.events import Event, PublishingTrouble, TransactionResult

_log = logging.getLogger(__name__)

_NOT_READY: Final = "The transactional producer is not ready yet. If this lasts, check the Kafka brokers."
_NOT_ALLOWED: Final = frozenset(
    {KafkaError.GROUP_AUTHORIZATION_FAILED, KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED}
)
_OVERDUE: Final = KafkaError(KafkaError._TIMED_OUT, "no answer to sending offsets")  # noqa: SLF001 - librdkafka's own name


class _Aborted(Exception):  # noqa: N818 - a state, not an error
    """The transaction certainly had no effect."""


class _Unknown(Exception):  # noqa: N818 - a state, not an error
    """The producer is lost while its transaction may have committed."""


class TransactionalSink(Committer):
    """Committer for exactly-once: produce, send offsets and metadata, commit, in one transaction.

    A commit of unknown end is never repeated: the partitions are read anew. After an abort the producer is replaced,
    unless the group has refused the offsets: by then all records are acknowledged, so that none is purged. Of those
    that are, sequence numbers would be missing in the producer's next transaction.
    """

    def __init__(
        self,
        properties: Mapping[str, Any],
        named: Named,
        publisher: Publisher,
        post: Callable[[Event], None],
        observe: Callable[[Finished], None],
        policy: PublishingPolicy = PUBLISHING,
        *,
        owner: Ownership,
        inherits: bool = False,
    ) -> None:
        """``inherits``: a former process may have used the transactional id, and have left something open."""
        super().__init__(
            {**properties, "transactional.id": named.transactional_id},
            named,
            publisher,
            post,
            observe,
            policy,
            owner=owner,
        )
        self._patience = policy.first_patience
        self._producer: Producer | None = None
        self._sent: tuple[list[TopicPartition], Any] | None = None
        """Offsets and group metadata that the transaction at hand has sent, or tried to."""
        self._unended: tuple[list[TopicPartition], Any] | None = None
        """The same of a transaction whose end no broker has confirmed."""
        self._refused: Any = None
        """Group metadata under which the group has refused offsets."""
        self._inherits = inherits
        """Nothing has been committed yet by this process with a transactional id that others have used."""
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
        """Return a producer whose predecessor's open transaction is aborted; wait for the brokers as long as needed."""
        pause, troubled = self._policy.retry, False
        while self._producer is None or self._unended is not None:
            producer, self._producer = self._producer, None
            try:
                if producer is None:
                    producer = Producer(self._properties)
                    self._timed(producer.init_transactions, self._policy.init_timeout)
                self._end_what_hangs(producer)
                self._producer = producer
            except (KafkaException, OverdueError) as problem:
                message = remedy(_error_of(problem), self._named)
                _log.error("no transaction can begin: %s", message)
                self._post(PublishingTrouble(message))
                troubled = True
                time.sleep(pause)
                pause = min(2 * pause, self._policy.longest_retry)
        if troubled:
            self._post(PublishingTrouble(None))
        return self._producer

    def _end_what_hangs(self, producer: Producer) -> None:
        """Abort a transaction with offsets, where the end of the last one was not confirmed.

        Nothing may be committed before: a commit of the same producer would also commit offsets that hang. It does not
        matter whether the group takes the offsets, or knows this member any more: the coordinator of transactions notes
        the partition of ``__consumer_offsets`` before, and has the marker written there.

        Raises ``KafkaException`` or ``OverdueError`` if that is not certain.
        """
        if self._unended is None:
            return
        producer.begin_transaction()
        try:
            send, policy = producer.send_offsets_to_transaction, self._policy
            self._timed(within, policy.first_patience, send, *self._unended, policy.offsets_timeout)
        except KafkaException as problem:
            error = problem.args[0]
            if error.retriable() or error.fatal() or error.code() in _NOT_ALLOWED:
                raise
            _log.info("no offsets for a transaction that is only aborted: %s", error.str())
        self._timed(producer.abort_transaction, self._policy.call_timeout)
        self._unended = None

    def _carry_out(self, commit: Commit) -> tuple[TransactionResult, frozenset[int]]:
        self._await_next_generation()
        parts = self._ours(commit.partitions, self._owner.membership)
        kept = frozenset(part.partition for part in parts)
        if not parts:
            return TransactionResult.ABORTED, kept
        if self._inherits and (metadata := self._owner.membership.metadata) is not None:
            self._inherits, self._unended = False, (self._offsets(parts), metadata)
        producer = self._ready_producer()
        self._parts = parts
        try:
            self._transact(producer, parts)
        except _Aborted:
            return TransactionResult.ABORTED, kept
        except _Unknown:
            return TransactionResult.UNKNOWN, kept
        self._outgoing.published()
        self._trouble = None
        self._outgoing.watched_from = self._policy.watched_bytes
        return TransactionResult.COMMITTED, kept

    def _await_next_generation(self) -> None:
        """After a refusal, wait a moment for other metadata: under the same, all records would be written in vain."""
        deadline = time.monotonic() + self._policy.refused_pause
        while self._refused is not None and self._refused == self._owner.membership.metadata:
            if time.monotonic() > deadline:
                break
            time.sleep(self._policy.refused_poll)
        self._refused = None

    def _transact(self, producer: Producer, parts: Sequence[PartitionCommit]) -> None:
        self._sent = None
        try:
            producer.begin_transaction()
            self._outgoing.produce(producer, parts)
            self._flush(producer)  # a transaction that the group refuses then leaves its producer as it was
            if any(error.code() not in CONSEQUENCES for _, error in self._outgoing.failed):
                self._abort(producer, None)
            self._send_offsets(producer, parts)  # which tells what purged records follow from
            if self._outgoing.failed:
                self._abort(producer, None)
        except KafkaException as problem:
            self._abort(producer, problem)
        self._commit_transaction(producer)

    def _send_offsets(self, producer: Producer, parts: Sequence[PartitionCommit]) -> None:
        offsets = self._offsets(parts)
        deadline = time.monotonic() + self._patience
        while True:
            membership = self._owner.membership
            if membership.metadata is None or len(self._ours(parts, membership)) < len(parts):
                self._abort(producer, None)
            self._sent = offsets, membership.metadata
            try:
                send = producer.send_offsets_to_transaction
                self._timed(within, self._patience, send, offsets, membership.metadata, self._policy.offsets_timeout)
            except KafkaException as problem:
                if not problem.args[0].retriable():
                    raise
                _log.warning("offsets are not sent yet: %s", problem.args[0].str())
                if time.monotonic() > deadline:
                    self._leave_behind(problem)
            except OverdueError as overdue:
                self._leave_behind(overdue)
            else:
                self._patience = self._policy.first_patience
                return

    def _leave_behind(self, problem: KafkaException | OverdueError) -> None:
        """Abandon a producer that cannot send offsets.

        Its transaction has no effect, since nobody will ask for its commit, and ends when the successor begins.
        """
        _log.warning("the producer is given up, it cannot send offsets: %s", problem)
        self._blame(_error_of(problem))
        self._patience = min(2 * self._patience, self._policy.longest_patience)
        self._producer, self._unended = None, self._sent or self._unended
        raise _Aborted from problem

    def _commit_transaction(self, producer: Producer) -> None:
        deadline = time.monotonic() + self._policy.end_patience
        while True:
            try:
                self._timed(producer.commit_transaction, self._policy.call_timeout)
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
        deadline = time.monotonic() + self._policy.end_patience
        while True:
            try:
                self._timed(producer.abort_transaction, self._policy.call_timeout)
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
        if error is not None and error.code() in REBALANCING and self._sent is not None:
            self._refused = self._sent[1]
        if self._outgoing.failed or not (error is None or error.code() in REBALANCING):
            self._outgoing.watched_from = WATCH_ALL
            self._drop(None)
        raise _Aborted from problem

    def _drop(self, problem: KafkaException | None) -> None:
        """Give up a producer: after a failure to produce, its next transaction would fail as well."""
        if problem is not None:
            _log.warning("the producer is given up: %s", problem.args[0].str())
            self._unended = self._sent or self._unended
        self._producer = None


def _error_of(problem: KafkaException | OverdueError) -> KafkaError:
    error: KafkaError = problem.args[0] if isinstance(problem, KafkaException) else _OVERDUE
    return error
