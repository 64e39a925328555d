"""The committer thread, common to both delivery modes, and the reasons for its failures."""

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import KafkaError, Producer, TopicPartition

from consumer.adapters.kafka.membership import Membership, Ownership
from consumer.adapters.kafka.outgoing import Outgoing, Publisher
from consumer.adapters.kafka.policy import PUBLISHING, PublishingPolicy
from consumer.adapters.kafka.remedies import Named, remedy
from consumer.domain.progress import CommitPoint
from consumer.engine.commands import Commit, PartitionCommit
from consumer.engine.events import Event, ThreadFailed, TransactionFinished, TransactionResult, TransactionTrouble

_log = logging.getLogger(__name__)

# librdkafka's own codes begin with an underscore; their names are public
CONSEQUENCES: Final = frozenset(
    {
        KafkaError._PURGE_QUEUE,  # noqa: SLF001 - librdkafka's own name
        KafkaError._PURGE_INFLIGHT,  # noqa: SLF001 - librdkafka's own name
        KafkaError._INCONSISTENT,  # noqa: SLF001 - librdkafka's own name
        KafkaError._STATE,  # noqa: SLF001 - librdkafka's own name
    }
)
"""Codes of what follows from another failure."""
REBALANCING: Final = frozenset(
    {
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.FENCED_INSTANCE_ID,
    }
)
"""Codes that say no more than that the group has moved on."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A transaction that has ended, for observers: its commit, its result, its seconds and the partitions kept."""

    commit: Commit
    result: TransactionResult
    seconds: float
    kept: frozenset[int]
    """Partitions that were still assigned when the transaction was made."""
    trouble: TransactionTrouble | None = None


class Committer:
    """A thread that takes commits from a queue and carries them out, one at a time.

    It never touches the consumer: ``Ownership`` has all that it needs to know. Each commit is answered by an event.
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
    ) -> None:
        self._owner = owner
        self._properties = dict(properties)
        self._named = named
        self._publisher = publisher
        self._post = post
        self._observe = observe
        self._policy = policy
        self._outgoing = Outgoing(self._properties, publisher, policy)
        self._queue: queue.SimpleQueue[Commit | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="kafka-committer", daemon=True)
        self._parts: Sequence[PartitionCommit] = ()
        """Partitions and outcomes of the transaction in hand."""
        self._trouble: TransactionTrouble | None = None
        """Reason why the current transaction fails, if an operator may have to act."""
        self.busy_since: float | None = None
        """Monotonic start of the current producer call, in seconds; for the watchdog."""
        self.failure: BaseException | None = None
        """The exception that ended the thread, if it was not ``stop``."""

    def start(self) -> None:
        """Start the thread, which makes the producer ready before the first commit."""
        self._thread.start()

    def commit(self, commit: Commit) -> None:
        """Take the next transaction; returns at once. ``TransactionFinished`` follows, or ``ThreadFailed``."""
        self._queue.put(commit)

    def stop(self, timeout: float) -> bool:
        """End after the transaction in hand; ``False`` if that took longer than ``timeout`` seconds."""
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
                if result is TransactionResult.COMMITTED:
                    for part in self._parts:
                        self._owner.known.learn(part.partition, CommitPoint(part.offset, part.metadata))
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
        """Mend what a commit may have broken, before the next one."""

    def _carry_out(self, commit: Commit) -> tuple[TransactionResult, frozenset[int]]:
        """Return how the transaction ended, and the partitions that were still assigned."""
        raise NotImplementedError

    @staticmethod
    def _ours(parts: Sequence[PartitionCommit], membership: Membership) -> list[PartitionCommit]:
        return [part for part in parts if membership.epochs.get(part.partition) == part.epoch]

    def _offsets(self, parts: Sequence[PartitionCommit]) -> list[TopicPartition]:
        return [TopicPartition(self._named.requests, part.partition, part.offset, part.metadata) for part in parts]

    def _learn_or_blame(self, error: KafkaError | None) -> None:
        if not self._outgoing.learn():
            self._blame(error)

    def _blame(self, error: KafkaError | None) -> None:
        """Note why the transaction in hand fails; a failed delivery tells more than what follows from it."""
        failed = sorted((each for _, each in self._outgoing.failed), key=lambda each: each.code() in CONSEQUENCES)
        if failed and (error is None or error.code() in CONSEQUENCES):
            error = failed[0]
        if error is None or error.code() in REBALANCING:
            return
        if error.code() == KafkaError.OFFSET_METADATA_TOO_LARGE:
            longest = max(len(part.metadata) for part in self._parts)
            _log.error(
                "The brokers refuse a progress map of %d characters, so shorter ones are committed: after a crash, the "
                "requests they leave out are answered again. Set offset.metadata.max.bytes of the brokers to 4096.",
                longest,
            )
            self._trouble = TransactionTrouble("The brokers refuse our progress maps.", metadata_too_large=True)
            return
        topics = {topic for part in self._parts for topic, *_ in self._publisher.publications(part.outcomes)}
        self._trouble = TransactionTrouble(remedy(error, self._named, topics))
        _log.error("outcomes cannot be published: %s", self._trouble.message)

    def _flush(self, producer: Producer) -> None:
        """Wait for the acknowledgements, however long the brokers take."""
        while self._timed(producer.flush, self._policy.call_timeout):
            _log.warning("Results are not acknowledged yet. Check the Kafka brokers.")

    def _timed(self, call: Callable[..., Any], *args: Any) -> Any:  # noqa: ANN401 - passes through
        self.busy_since = time.monotonic()
        try:
            return call(*args)
        finally:
            self.busy_since = None
