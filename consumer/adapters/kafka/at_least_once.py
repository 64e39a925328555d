"""At-least-once delivery, for brokers without transactions: a crash between results and offsets repeats results."""

import logging
import queue
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from consumer.adapters.kafka.committer import Committer, Finished
from consumer.adapters.kafka.membership import Ownership
from consumer.adapters.kafka.offset_commits import Answer
from consumer.adapters.kafka.outgoing import WATCH_ALL, Publisher
from consumer.adapters.kafka.policy import PUBLISHING, PublishingPolicy
from consumer.adapters.kafka.remedies import Named
from consumer.engine.commands import Commit, PartitionCommit
from consumer.engine.events import Event, TransactionResult

CommitOffsets: TypeAlias = Callable[[Sequence[TopicPartition], Answer], None]

_log = logging.getLogger(__name__)


class AtLeastOnceSink(Committer):
    """Committer for brokers without transactions: produces, waits for the acknowledgements, then commits.

    A crash in between repeats results, and subscribers see them twice.
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
        commit_offsets: CommitOffsets,
    ) -> None:
        super().__init__(properties, named, publisher, post, observe, policy, owner=owner)
        self._commit_offsets = commit_offsets
        self._outgoing.watched_from = WATCH_ALL  # nothing else tells whether a record was delivered

    def _prepare(self) -> None:
        self._producer = Producer(self._properties)

    def _carry_out(self, commit: Commit) -> tuple[TransactionResult, frozenset[int]]:
        parts = self._ours(commit.partitions, self._owner.membership)
        kept = frozenset(part.partition for part in parts)
        self._parts = parts
        try:
            self._outgoing.produce(self._producer, parts)
            self._flush(self._producer)
        except KafkaException as problem:
            self._blame(problem.args[0])
            self._producer = Producer(self._properties)
            return TransactionResult.ABORTED, kept
        if self._outgoing.failed:
            if self._outgoing.learn():
                self._producer = Producer(self._properties)
            else:
                self._blame(None)
            return TransactionResult.ABORTED, kept
        if not parts or not self._offsets_committed(parts):
            return TransactionResult.ABORTED, kept
        self._outgoing.published()
        return TransactionResult.COMMITTED, kept

    def _offsets_committed(self, parts: Sequence[PartitionCommit]) -> bool:
        """Commit the offsets; no answer in time means that everything is published once more.

        An answer that arrives later is ignored, also where it arrives amid the next commit (``OffsetCommits``).
        """
        answer: queue.SimpleQueue[KafkaError | None] = queue.SimpleQueue()
        self._commit_offsets(self._offsets(parts), answer.put)
        try:
            error = answer.get(timeout=2 * self._policy.call_timeout)
        except queue.Empty:
            return False
        if error is not None:
            _log.warning("offsets are not committed yet: %s", error.str())
            self._blame(error)
        return error is None
