"""The owner thread: the only one that touches the Kafka consumer.

It polls, posts whole lists of records, and carries out the core's commands. Nothing slow runs here. Its parts are
``membership`` (the group), ``positions`` (where assignments begin), ``resets`` (logs that changed), ``reading`` (ranges
read without interruption), ``turns`` (partitions that would have to wait), ``fetching`` (lists within the fetch budget)
and ``broken_batches``.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from consumer.adapters.kafka.broken_batches import BrokenBatches
from consumer.adapters.kafka.broker_watch import BrokerWatch
from consumer.adapters.kafka.consumer_errors import UNREADABLE, raise_if_final
from consumer.adapters.kafka.fetching import Fetching
from consumer.adapters.kafka.known_progress import KnownProgress
from consumer.adapters.kafka.membership import Group, Membership
from consumer.adapters.kafka.offset_commits import Answer, OffsetCommits
from consumer.adapters.kafka.positions import Positions
from consumer.adapters.kafka.reading import Reading
from consumer.adapters.kafka.records import coordinates
from consumer.adapters.kafka.resets import LogResets
from consumer.adapters.kafka.topic_consumer import TopicConsumer
from consumer.adapters.kafka.turns import Turns
from consumer.engine.commands import Reload, Reread
from consumer.engine.events import Event, ThreadFailed
from consumer.engine.records import Record
from consumer.engine.status import FetchBudget

_log = logging.getLogger(__name__)


class KafkaSource:
    """The owner thread, the only one that touches the consumer, and its interface for other threads.

    Methods "for other threads" return at once, but for ``stop``; the thread carries them out between two polls.
    Callbacks of the consumer never raise.
    """

    def __init__(
        self,
        properties: Mapping[str, Any],
        topic: str,
        post: Callable[[Event], None],
        fetch_budget: Callable[[], FetchBudget],
        drain_seconds: float,
        topic_id: bytes | None = b"",
    ) -> None:
        """``topic_id``: empty if it is not known; ``None``: nothing is read before ``topic_is`` was called."""
        self._topic = topic
        self._post = post
        self._commits = OffsetCommits()
        self._broker_watch = BrokerWatch(topic, post)
        callbacks = {"on_commit": self._commits.answered, "error_cb": self._broker_watch.on_error}
        self._consumer = Consumer({**properties, **callbacks})
        self._thread = threading.Thread(target=self._run, name="kafka-owner", daemon=True)
        self._requests: deque[Callable[[], None]] = deque()
        self._stop = threading.Event()
        self._to_wake: set[int] = set()
        """Partitions that were resumed since the last turn, by us or by librdkafka after a callback."""
        partitions = self._partitions = TopicConsumer(self._consumer, topic)
        self._group = Group(self._consumer, partitions, post, drain_seconds, self)
        self._reading = Reading(partitions, post, self.reread)
        self._fetching = Fetching(self._consumer, self._reading, fetch_budget)
        self._turns = Turns(partitions, self._reading)
        self._broken = BrokenBatches(partitions, self._reading)
        self.known = KnownProgress()
        """Notes of the commits that have certainly succeeded; the committer adds to them."""
        self._resets = LogResets(partitions, self._group, self._reading, post, topic, topic_id, drain_seconds)
        self._positions = Positions(
            partitions, self._group, self._reading, self._broken, self._resets, self.known, post, self._stop.is_set
        )
        self.progress_at = time.monotonic()
        """Monotonic time of the last turn of the thread's loop, in seconds; any thread may read it."""
        self.failure: BaseException | None = None
        """The exception that ended the thread, if it was not ``stop``."""

    @property
    def membership(self) -> Membership:
        """The latest membership; any thread may read it."""
        return self._group.membership

    # -- for other threads -----------------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread, which joins the group and posts what it reads."""
        self._thread.start()

    def stop(self, timeout: float) -> bool:
        """Leave the group; ``False`` if that took longer than ``timeout`` seconds."""
        self._stop.set()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def pause(self, partitions: Sequence[int]) -> None:
        """Stop fetching these partitions, soon."""
        self._requests.append(partial(self._switch, tuple(partitions), paused=True))

    def resume(self, partitions: Sequence[int]) -> None:
        """Fetch these partitions again, soon."""
        self._requests.append(partial(self._switch, tuple(partitions), paused=False))

    def drained(self, partitions: Sequence[int]) -> None:
        """Note that the core has nothing more to commit for these partitions: a revocation may go on."""
        self._requests.append(partial(self._on_drained, tuple(partitions)))

    def reload(self, reload: Reload) -> None:
        """Read the progress of an assignment's partition again and begin anew from there."""
        self._requests.append(partial(self._positions.reload, reload))

    def reread(self, reread: Reread) -> None:
        """Read a partition again from an offset, in the same assignment."""
        self._requests.append(partial(self._on_reread, reread))

    def topic_is(self, topic_id: bytes) -> None:
        """Learn the id of the requests topic; empty if the brokers do not tell it."""
        self._requests.append(partial(self._resets.on_topic_id, topic_id, self._positions.unread))

    def commit(self, offsets: Sequence[TopicPartition], done: Answer) -> None:
        """Commit outside of a transaction, for the at-least-once mode; ``done`` is called on the owner thread."""
        self._requests.append(partial(self._on_commit, list(offsets), done))

    # -- the thread ------------------------------------------------------------------------------------

    def _run(self) -> None:
        group = self._group
        try:
            self._consumer.subscribe(
                [self._topic], on_assign=group.on_assign, on_revoke=group.on_revoke, on_lost=group.on_lost
            )
            while not self._stop.is_set():
                self._turn()
            self._consumer.close()
        except BaseException as problem:  # noqa: BLE001 - kept for the main thread, which ends the process with it
            self.failure = problem
            self._post(ThreadFailed(problem))
        finally:
            group.leave()

    def _turn(self) -> None:
        self.progress_at = time.monotonic()
        self._carry_out()
        if self._to_wake:  # all at once: a broker that does not answer costs one timeout
            self._partitions.wake(self._to_wake)
            self._to_wake.clear()
        self._positions.restart_renewed()
        self._resets.return_to_log()
        self._positions.read()
        self._positions.report_troubles()
        self._broker_watch.look(self._consumer)
        before = dict(self._group.epochs)
        fetched = self._fetching.fetch()
        if fetched:
            self._hand_over(fetched, before)
        else:  # no callback is queued either
            self._partitions.revocation_answered = False
        if self._turns.due(self.progress_at):
            not_read = {*self._resets.renewed, *self._positions.unread}
            self._to_wake.update(self._turns.take(self._group.epochs.keys() - not_read, self.progress_at))
        self._group.publish_if_due(self.progress_at)

    def _carry_out(self) -> None:
        for _ in range(len(self._requests)):  # one that fails comes again, after the next poll
            self._requests.popleft()()

    def _hand_over(self, fetched: Sequence[Record | Message], before: Mapping[int, int]) -> None:
        """Post what belongs to assignments that lasted through the whole poll."""
        now, searches, post_records = self._group.epochs, self._broken.searches, self._reading.post_records
        epochs = {partition: epoch for partition, epoch in before.items() if now.get(partition) == epoch}
        sought: set[int] = set()
        """Partitions that are read from elsewhere now: what follows in this list is out of date."""
        records: list[Record] = []
        for each in fetched:
            if isinstance(each, Record):
                out_of_order = (searches or sought) and self._broken.passed(each.partition, each.offset, epochs, sought)
                if not out_of_order:
                    records.append(each)
            else:
                post_records(epochs, records)
                records = []
                self._on_error(each, epochs, sought)
        post_records(epochs, records)

    def _on_error(self, message: Message, epochs: Mapping[int, int], sought: set[int]) -> None:
        """Errors arrive as messages; the code tells them apart."""
        error = message.error()
        if error is None:
            return
        partition, offset = coordinates(message)
        code = error.code()
        if code == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's own name
            if partition in epochs and not self._broken.passed(partition, offset, epochs, sought):
                self._reading.post_end(partition, epochs[partition], offset)
        elif code == KafkaError._AUTO_OFFSET_RESET and self._partitions.is_assigned(partition):  # noqa: SLF001 - as above
            self._reading.stopped(partition, offset)
        elif code in UNREADABLE and partition in epochs:
            if partition not in sought:
                _log.warning("consumer: %s", error.str())
                self._broken.met(partition, offset, epochs[partition], sought)
        else:
            raise_if_final(error)
            _log.warning("consumer: %s (%s)", error.str(), error.name())
            self._reading.interrupted(partition)

    # -- for the group, within its callbacks -----------------------------------------------------------

    def await_positions(self, partitions: Sequence[int]) -> None:
        self._positions.await_progress(partitions)

    def forget(self, partitions: Sequence[int]) -> None:
        self._positions.forget(partitions)
        self._resets.forget(partitions)
        self._reading.forget(partitions)
        self._turns.forget(partitions)
        for partition in partitions:
            self._broken.forget(partition)

    def serve(self) -> None:
        """Carry out the core's commands while a revocation waits."""
        self.progress_at = time.monotonic()
        self._carry_out()

    def wake_kept(self) -> None:
        self._to_wake.update(self._group.epochs.keys() - self._reading.paused)

    def stopping(self) -> bool:
        return self._stop.is_set()

    # -- commands --------------------------------------------------------------------------------------

    def _switch(self, partitions: Sequence[int], *, paused: bool) -> None:
        epochs, renewed, wanted = self._group.epochs, self._resets.renewed, self._reading.paused
        ours = [partition for partition in partitions if partition in epochs and partition not in renewed]
        if not ours:
            return
        if paused:
            wanted.update(ours)
            self._partitions.pause(ours)
        else:
            wanted.difference_update(ours)
            self._to_wake.update(self._partitions.resume(ours))

    def _on_drained(self, partitions: Sequence[int]) -> None:
        self._group.draining.difference_update(partitions)
        self._resets.drained(partitions)

    def _on_reread(self, reread: Reread) -> None:
        if self._group.epochs.get(reread.partition) == reread.epoch:
            level = logging.DEBUG if reread.given_back else logging.WARNING
            _log.log(level, "partition %d is read again from offset %d", reread.partition, reread.offset)
            self._broken.forget(reread.partition)
            self._reading.seek(reread.partition, reread.epoch, reread.offset)

    def _on_commit(self, offsets: list[TopicPartition], done: Answer) -> None:
        self._commits.commit(self._consumer, offsets, done, wait=bool(self._group.draining))
