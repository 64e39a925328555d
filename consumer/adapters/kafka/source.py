"""The owner thread: the only one that touches the Kafka consumer.

It polls, hands whole lists of records over, and carries out what the core asks for. Nothing slow runs here, and
nothing raises inside a callback: an exception there would lose the records that ``consume`` has collected.

**Membership.** After each poll and at each callback the thread publishes one immutable ``Membership``: group
metadata and the epochs of the partitions that are ours, read together. The committer uses only that pair, so
fresh metadata never meets an older set of partitions.

**Assignment.** A partition is assigned paused. Its committed offset and progress map are asked for with short
time-outs between polls, again and again, since the question is not answered while a transaction of a dead
predecessor is pending. Only then does it get an epoch, an explicit position, and leave to deliver.

**Ranges.** What is handed over names, for each partition, the range of the log that was read without interruption. An
error, or anything left out, ends a range; the next one begins where reading was resumed, and the core takes it only if
it leaves no hole. Otherwise the core has the missing part read again.

**Out of range.** Where retention has cut the log beyond the reader, reading goes on at the log's start, and what is in
flight is answered. Where the log ends before the reader, it is another log: what was read of the former one is
answered, then this one is read from its start.

**Unreadable batches.** What the library cannot unpack is handed over as records without content (``unreadable``).

**Revocation.** The callback waits, within one budget, until the core has drained the partitions, then takes them
out of the membership and gives them up. Partitions that were lost are fenced at once.
"""

import logging
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import methodcaller
from typing import Any, Final

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from consumer.adapters.kafka.unreadable import BatchSearch
from consumer.domain.progress import CommitPoint, topic_id_of
from consumer.engine.commands import Reload, Reread
from consumer.engine.events import (
    Assigned,
    BrokerTrouble,
    Event,
    Fetched,
    MembershipChanged,
    OffsetReset,
    PartitionTroubles,
    Revoking,
    ThreadFailed,
    Unassigned,
)
from consumer.engine.requests import ReadRange, Record
from consumer.engine.status import FetchBudget

POLL_SECONDS: Final = 0.02
LIST_MOST: Final = 500
"""Records handed over at once: some milliseconds of work for the core."""
LIST_BYTES: Final = 4 * 1024 * 1024
"""With more than this a list is full: a compressed batch of a megabyte can hold a gigabyte of records."""
UNDER_WAY_BYTES: Final = 16 * 1024 * 1024
"""Handed over and not yet in the core's hands."""
TAKE_MOST: Final = 64
"""Records taken out of the library at once, which copies them before anybody knows how large they are."""
SUSPICION_SECONDS: Final = 10.0
"""For so long after an unreadable batch, the next one is not waited for to heal by itself."""
UNREADABLE_MOST: Final = 5_000
"""Offsets of an unreadable batch given up at once: each time, the batch is fetched and unpacked in vain once more."""
FIRST_COMMITTED_TIMEOUT_SECONDS, COMMITTED_TIMEOUT_SECONDS = 0.1, 0.5
"""For one question, at first and at most; it is asked again until it is answered."""
PROGRESS_BUDGET_SECONDS: Final = 0.5
"""For the questions of one turn, however many partitions wait: the group hears of us at each poll only."""
UNREAD_PATIENCE_SECONDS: Final = 20.0
"""A partition that is not read for longer is a trouble: a dead predecessor's transaction is pending for up to 18 s."""
CREDIBLE_PATIENCE_SECONDS: Final = 60.0
"""After a commit whose end is unknown: how long the brokers may tell what cannot be true. Far beyond any session, so a
new owner's progress would have been told as the loss of the partition."""
WATERMARK_TIMEOUT_SECONDS: Final = 2.0
RETRY_SECONDS: Final = 0.2
LOOK_INTERVAL_SECONDS: Final = 1.0
LOOK_TIMEOUT_SECONDS: Final = 0.5
METADATA_SECONDS: Final = 0.1
"""The group's metadata is read as often, and at every change of assignments: each time costs 50 us and more."""
UNREADABLE: Final = frozenset({KafkaError._BAD_COMPRESSION, KafkaError._BAD_MSG})  # noqa: SLF001 - librdkafka's own names for its codes
"""A batch cannot be unpacked, or its checksum does not match: some of these it asks for again, others it leaves out."""
FATAL: Final = frozenset({KafkaError._FATAL, KafkaError.FENCED_INSTANCE_ID, KafkaError._FENCED})  # noqa: SLF001 - librdkafka's own names for its codes

_METADATA_MARK: Final = b"CGMDv2:"
_headers = methodcaller("headers")  # called directly, an error inside it can surface in a later, unrelated call
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Unread:
    """A partition whose progress is not known yet. Times in monotonic seconds."""

    since: float
    due: float
    """When to ask next."""
    attempts: int = 0
    problem: str = "the brokers have not told its committed offset"
    incredible_since: float | None = None
    """Since when they have told nothing but what cannot be true."""


@dataclass(frozen=True, slots=True)
class Membership:
    """What the group knows of us, and which assignments are ours: read at one moment, on the owner thread."""

    metadata: Any = None
    """The binding's opaque group metadata; ``None`` while we are no member."""
    epochs: Mapping[int, int] = field(default_factory=dict)


class OwnerThreadError(Exception):
    """The consumer cannot go on; the text says what to do."""


class KafkaSource:
    """The owner thread and what other threads may ask of it."""

    def __init__(
        self,
        properties: Mapping[str, Any],
        topic: str,
        post: Callable[[Event], None],
        fetch_budget: Callable[[], FetchBudget],
        drain_seconds: float,
        topic_id: bytes | None = b"",
    ) -> None:
        """``topic_id``: empty where it is not known; ``None``: ``topic_is`` will tell, and nothing is read before."""
        self._topic_id = topic_id
        self._topic = topic
        self._post = post
        self._fetch_budget = fetch_budget
        self._drain_seconds = drain_seconds
        self._consumer = Consumer({**properties, "on_commit": self._on_commit, "error_cb": self._on_trouble})
        self._commit_done: Callable[[KafkaError | None], None] | None = None
        self._thread = threading.Thread(target=self._run, name="kafka-owner", daemon=True)
        self._requests: deque[Callable[[], None]] = deque()
        self._stop = threading.Event()
        self._epochs: dict[int, int] = {}
        self._unread: dict[int, _Unread] = {}
        self._told: dict[int, CommitPoint] = {}
        """Of what is ours: the progress that the brokers told last."""
        self._credible: dict[int, Sequence[CommitPoint]] = {}
        """Of those whose progress is asked for again: all that they can tell now."""
        self._out_of_range: set[int] = set()
        """Partitions that librdkafka has stopped fetching, since their position was outside of the log."""
        self._return_at = self._look_for_troubles_at = 0.0
        """When to look for their place in the log next, and for partitions that are not read."""
        self._renewed: dict[int, float] = {}
        """Partitions whose log is another one now: until when what was read of the former one may be finished."""
        self._anew: set[int] = set()
        """Unread ones whose log is another one: committed offsets say nothing about it."""
        self._paused: set[int] = set()
        """As the core wants it."""
        self._troubles: dict[int, str] = {}
        """Of partitions that have not been read for long, as told last."""
        self._last_epoch = 0
        self._handed_over = self._handed_over_bytes = 0
        """Records and bytes posted in all; the fetch budget says how many of them the core has received."""
        self._read_to: dict[int, int] = {}
        """The end of what was read without interruption, or where reading begins; absent where that is not known."""
        self._searches: dict[int, BatchSearch] = {}
        """Partitions that stand before a batch that cannot be unpacked."""
        self._unreadable_at: dict[int, float] = {}
        """When a partition last came past an unreadable batch, in monotonic seconds."""
        self._draining: set[int] = set()
        self._member = False
        self._former: bytes | None = None
        """Group metadata of a membership that was lost: librdkafka gives it until the next one begins.

        That can look the same: with KIP-848 a member that was fenced and joins again has its id, and its epoch too
        where the group has not moved on meanwhile; seen after a broker was killed.
        """
        self._look_for_brokers_at: float | None = None
        """All were down when last heard of."""
        self._published_at = float("-inf")
        self.membership = Membership()
        """The latest; for any thread."""
        self.progress_at = time.monotonic()
        """For any thread, in monotonic seconds."""
        self.failure: BaseException | None = None

    # -- for other threads -----------------------------------------------------------------------------

    def start(self) -> None:
        """Join the group."""
        self._thread.start()

    def stop(self, timeout: float) -> bool:
        """Leave the group; ``False`` if that took longer than ``timeout`` seconds."""
        self._stop.set()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def pause(self, partitions: Sequence[int]) -> None:
        """Stop fetching."""
        self._requests.append(partial(self._switch, "pause", tuple(partitions)))

    def resume(self, partitions: Sequence[int]) -> None:
        """Fetch again."""
        self._requests.append(partial(self._switch, "resume", tuple(partitions)))

    def drained(self, partitions: Sequence[int]) -> None:
        """The core has nothing more to commit for these."""
        self._requests.append(partial(self._on_drained, tuple(partitions)))

    def reload(self, reload: Reload) -> None:
        """Read the progress of an assignment's partition again and start anew from there."""
        self._requests.append(partial(self._reload_from, reload))

    def reread(self, reread: Reread) -> None:
        """Read a partition again from an offset, in the same assignment."""
        self._requests.append(partial(self._reread_from, reread))

    def topic_is(self, topic_id: bytes) -> None:
        """Tell the id of the requests topic; empty where the brokers do not tell it."""
        self._requests.append(partial(self._on_topic_id, topic_id))

    def commit(self, offsets: Sequence[TopicPartition], done: Callable[[KafkaError | None], None]) -> None:
        """Commit outside of a transaction, for the at-least-once mode; ``done`` is called on the owner thread."""
        self._requests.append(partial(self._commit, list(offsets), done))

    # -- the thread ------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._consumer.subscribe(
                [self._topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
            )
            while not self._stop.is_set():
                self._turn()
            self._consumer.close()
        except BaseException as problem:  # noqa: BLE001 - kept for the main thread, which ends the process with it
            self.failure = problem
            self._post(ThreadFailed(problem))
        finally:
            self.membership = Membership()

    def _turn(self) -> None:
        self.progress_at = time.monotonic()
        self._carry_out()
        self._renew()
        self._return_to_log()
        self._read_progress()
        self._tell_troubles()
        self._look_for_brokers()
        before = dict(self._epochs)
        fetched = self._fetch()
        if fetched:
            self._hand_over(fetched, before)
        if self.progress_at - self._published_at > METADATA_SECONDS:
            self._publish()

    def _carry_out(self) -> None:
        for _ in range(len(self._requests)):  # one that fails comes again, after the next poll
            self._requests.popleft()()

    def _fetch(self) -> list[Record | Message]:
        """Poll for one message, then take what is there already, up to the core's fetch budget.

        Without a budget the poll, which has to go on, brings one message each time: so it goes slowly.
        """
        first = self._consumer.poll(POLL_SECONDS)
        if first is None:
            return []
        fetched = [_read(first)]
        budget = self._fetch_budget()
        most = min(LIST_MOST, budget.records - (self._handed_over - budget.received_records))
        if most <= 1 or self._handed_over_bytes - budget.received_bytes > UNDER_WAY_BYTES:
            time.sleep(POLL_SECONDS)
        else:
            self._take_more(fetched, most)
        return fetched

    def _take_more(self, fetched: list[Record | Message], most: int) -> None:
        size = 0
        while (wanted := min(TAKE_MOST, most - len(fetched))) > 0 and size < LIST_BYTES:
            more = [_read(message) for message in self._consumer.consume(wanted, 0)]
            fetched += more
            size += _bytes(more)
            if len(more) < wanted:
                return

    def _hand_over(self, fetched: Sequence[Record | Message], before: Mapping[int, int]) -> None:
        """Pass on what belongs to assignments that lasted through the whole poll."""
        epochs = {partition: epoch for partition, epoch in before.items() if self._epochs.get(partition) == epoch}
        sought: set[int] = set()
        """Partitions that are read from elsewhere now: what follows in this list is out of date."""
        records: list[Record] = []
        for each in fetched:
            if isinstance(each, Record):
                if not (self._searches or sought) or not self._ends_search(each.partition, each.offset, epochs, sought):
                    records.append(each)
            else:
                self._post_records(epochs, records)
                records = []
                self._on_error(each, epochs, sought)
        self._post_records(epochs, records)

    def _post_records(self, epochs: Mapping[int, int], records: Sequence[Record]) -> None:
        if not records:
            return
        ends = {record.partition: record.offset + 1 for record in records}
        firsts = {record.partition: record.offset for record in reversed(records)}
        self._post_ranges(epochs, firsts, ends, records)

    def _post_ranges(
        self,
        epochs: Mapping[int, int],
        firsts: Mapping[int, int],
        ends: Mapping[int, int],
        records: Sequence[Record] = (),
    ) -> None:
        """Hand over what was read; ``firsts`` count as begins where nothing is known of what was before."""
        ranges = {
            partition: ReadRange(epochs[partition], self._read_to.get(partition, firsts[partition]), end)
            for partition, end in ends.items()
            if partition in epochs
        }
        self._read_to |= {partition: read.end for partition, read in ranges.items()}
        size = _bytes(records)
        self._handed_over += len(records)
        self._handed_over_bytes += size
        self._post(Fetched(ranges, records))

    def _on_error(self, message: Message, epochs: Mapping[int, int], sought: set[int]) -> None:
        """Errors arrive as messages, and are told apart by their code."""
        error = message.error()
        if error is None:
            return
        partition, offset = _coordinates(message)
        code = error.code()
        if code == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's own name
            if partition in epochs and not self._ends_search(partition, offset, epochs, sought):
                self._post_ranges(epochs, {partition: offset}, {partition: offset})
        elif code == KafkaError._AUTO_OFFSET_RESET and (partition in self._epochs or partition in self._unread):  # noqa: SLF001
            self._read_to.setdefault(partition, offset)
            self._out_of_range.add(partition)
        elif code in UNREADABLE and partition in epochs:
            if partition not in sought:
                _log.warning("consumer: %s", error.str())
                self._on_unreadable(partition, offset, epochs[partition], sought)
        elif code in FATAL or error.fatal():
            raise OwnerThreadError(f"the Kafka consumer cannot go on: {error.str()}. {_remedy(error)}")
        elif code in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED):
            raise OwnerThreadError(f"not authorized: {error.str()}. Grant READ on the topic and the group")
        elif code == KafkaError.INVALID_SESSION_TIMEOUT:  # told once, and tried again for ever
            raise OwnerThreadError(
                f"the group cannot be joined: {error.str()}. Set session.timeout.ms in RESYNC_KAFKA__PROPERTIES to a "
                "value between the brokers' group.min.session.timeout.ms and group.max.session.timeout.ms"
            )
        else:
            _log.warning("consumer: %s (%s)", error.str(), error.name())
            self._may_have_left_out(partition)

    def _may_have_left_out(self, partition: int) -> None:
        """An error came instead of records. Where the position is out of range, nothing is fetched."""
        if partition not in self._out_of_range:
            self._read_to.pop(partition, None)

    def _on_trouble(self, error: KafkaError) -> None:
        """Errors of no partition are healed by trying again; that nobody is left to try is news."""
        if error.code() == KafkaError._ALL_BROKERS_DOWN and self._look_for_brokers_at is None:  # noqa: SLF001
            self._look_for_brokers_at = self.progress_at

    def _look_for_brokers(self) -> None:
        """Ask again and again, once all were down: where no record comes, nothing else tells that one is back."""
        if self._look_for_brokers_at is None or self.progress_at < self._look_for_brokers_at:
            return
        try:
            self._consumer.list_topics(self._topic, timeout=LOOK_TIMEOUT_SECONDS)
        except KafkaException:
            self._look_for_brokers_at = time.monotonic() + LOOK_INTERVAL_SECONDS
            self._post(BrokerTrouble("no Kafka broker answers: look at the brokers"))
        else:
            self._look_for_brokers_at = None
            self._post(BrokerTrouble(None))

    # -- unreadable batches ----------------------------------------------------------------------------

    def _on_unreadable(self, partition: int, begins: int, epoch: int, sought: set[int]) -> None:
        """A batch cannot be unpacked: find out where it ends, then give each offset of it an outcome.

        At the first error nothing is done: the library fetches the batch again after a pause, and often that heals it.
        Behind another unreadable batch it is asked for at once, so that many of them do not cost a pause each.
        """
        search = self._searches.get(partition)
        if search is None:
            search = self._begin_search(partition, begins)
            if search is None or time.monotonic() - self._unreadable_at.get(partition, 0.0) > SUSPICION_SECONDS:
                self._read_to.pop(partition, None)
                return
        elif search.end is None:
            if begins == search.begins:
                search.inside()
            elif search.confirmed:
                search.outside(begins)
        sought.add(partition)
        self._go_on(partition, search, epoch)

    def _begin_search(self, partition: int, begins: int) -> BatchSearch | None:
        """``None`` where the log's end is not known: the error comes again."""
        try:
            _, log_end = self._watermarks(partition)
        except KafkaException as problem:
            _log.warning("the log's end of partition %d is not known: %s", partition, problem.args[0].str())
            return None
        search = self._searches[partition] = BatchSearch(begins, self._read_to.get(partition, begins), log_end)
        return search

    def _ends_search(self, partition: int, offset: int, epochs: Mapping[int, int], sought: set[int]) -> bool:
        """Something readable arrived: ``True`` where it is out of order, behind a batch that is unreadable."""
        if partition in sought:
            return True
        search = self._searches.get(partition)
        if search is None or partition not in epochs:
            return False
        if search.confirmed:
            search.outside()
        elif offset == search.read_to or partition in self._read_to:  # read from the search's begin without an error
            del self._searches[partition]
            return False
        sought.add(partition)
        self._go_on(partition, search, epochs[partition])
        return True

    def _go_on(self, partition: int, search: BatchSearch, epoch: int) -> None:
        if search.end is None:
            self._seek(partition, epoch, search.probe)
            return
        position = min(search.end, search.first + UNREADABLE_MOST)
        lost = [_unreadable(partition, offset) for offset in range(search.first, position)]
        self._read_to[partition] = search.read_to
        self._post_records({partition: epoch}, lost)
        search.first = search.read_to = position
        if position == search.end:
            del self._searches[partition]
            self._unreadable_at[partition] = time.monotonic()
        self._seek(partition, epoch, position)

    def _seek(self, partition: int, epoch: int, position: int) -> None:
        """Read from elsewhere; what was fetched before is not delivered any more."""
        if partition in self._out_of_range:  # which librdkafka refuses to seek; ``_return_to_log`` goes on there
            self._read_to[partition] = position
            return
        try:
            self._consumer.seek(TopicPartition(self._topic, partition, position))
            self._read_to[partition] = position
        except KafkaException as problem:
            _log.warning("partition %d: seeking failed and is tried again: %s", partition, problem.args[0].str())
            self._read_to.pop(partition, None)
            self.reread(Reread(partition, epoch, position))

    def _reread_from(self, reread: Reread) -> None:
        """What was delivered last left a hole."""
        if self._epochs.get(reread.partition) == reread.epoch:
            level = logging.DEBUG if reread.given_back else logging.WARNING
            _log.log(level, "partition %d is read again from offset %d", reread.partition, reread.offset)
            self._searches.pop(reread.partition, None)
            self._seek(reread.partition, reread.epoch, reread.offset)

    # -- assignments -----------------------------------------------------------------------------------

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        own = [TopicPartition(self._topic, each.partition, OFFSET_BEGINNING) for each in partitions]
        consumer.incremental_assign(own)
        if own:
            consumer.pause(own)
        for each in own:
            self._await_progress(each.partition)
        self._former = None
        self._publish()

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        numbers = [each.partition for each in partitions]
        started = [number for number in numbers if number in self._epochs]
        self._draining = set(started)
        if started and not self._stop.is_set():
            self._post(Revoking(started))
            self._serve_until_drained()
        self._fence(numbers)
        consumer.incremental_unassign(partitions)

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        numbers = [each.partition for each in partitions]
        _log.warning("partitions lost: %s", numbers)
        self._former = consumer.consumer_group_metadata()
        self._fence(numbers)
        consumer.incremental_unassign(partitions)

    def _serve_until_drained(self) -> None:
        """Within one budget for all, keep serving the core while it finishes what is in flight.

        Once the service stops, the core may have had its last turn: nobody would say that anything is drained.
        """
        deadline = time.monotonic() + self._drain_seconds
        while self._draining and not self._stop.is_set() and (now := time.monotonic()) < deadline:
            self.progress_at = now
            self._publish()
            self._carry_out()
            time.sleep(0.005)

    def _fence(self, partitions: Sequence[int]) -> None:
        """From now on nothing of these assignments is committed."""
        for partition in partitions:
            self._epochs.pop(partition, None)
            self._unread.pop(partition, None)
            self._credible.pop(partition, None)
            self._searches.pop(partition, None)
            self._read_to.pop(partition, None)
            self._renewed.pop(partition, None)
            self._out_of_range.discard(partition)
            self._anew.discard(partition)
            self._paused.discard(partition)
        self._publish()
        self._post(Unassigned(partitions))

    def _await_progress(self, partition: int) -> None:
        now = time.monotonic()
        self._unread[partition] = _Unread(since=now, due=now)

    def _read_progress(self) -> None:
        """Ask for the committed offsets of partitions that are due, those first that have waited longest.

        One question may take as long as its time-out, so a turn asks no more once its budget is spent.
        """
        began = time.monotonic()
        if not self._unread or self._topic_id is None:
            return
        due = sorted(self._unread, key=lambda partition: self._unread[partition].due)
        for partition in due:
            unread = self._unread[partition]
            if unread.due > began or time.monotonic() - began >= PROGRESS_BUDGET_SECONDS or self._stop.is_set():
                return
            self._try_to_start(partition, unread)
            unread.attempts += 1
            unread.due = time.monotonic() + RETRY_SECONDS

    def _try_to_start(self, partition: int, unread: _Unread) -> None:
        try:
            told = self._committed(partition, unread.attempts)
            if told not in self._credible.get(partition, (told,)):  # a coordinator that was interrupted while loading
                believed = self._disbelieve(partition, unread, told)
                if believed is None:
                    return
                told = believed
            self._told[partition] = told
            self._check_topic_id(partition, told)
            if told.offset < 0 or partition in self._out_of_range or partition in self._anew:
                self._start_within_log(partition, told.offset, told.metadata)
            else:
                self._start_at(partition, told.offset, told.metadata, told.offset)
        except KafkaException as problem:
            unread.problem = (
                f"the brokers do not tell its committed offset or the log's bounds ({problem.args[0].str()})"
            )

    def _committed(self, partition: int, attempts: int) -> CommitPoint:
        timeout = min(FIRST_COMMITTED_TIMEOUT_SECONDS * 2 ** min(attempts, 8), COMMITTED_TIMEOUT_SECONDS)
        (committed,) = self._consumer.committed([TopicPartition(self._topic, partition)], timeout=timeout)
        if committed.error is not None:
            raise KafkaException(committed.error)
        return CommitPoint(committed.offset, committed.metadata or "")

    def _disbelieve(self, partition: int, unread: _Unread, told: CommitPoint) -> CommitPoint | None:
        """The brokers tell what was never committed by us, nor by anybody else: ask again, but not for ever.

        What this process has committed last for certain is what reading can go on from without losing a request.
        What it may have committed since can then be answered a second time.
        """
        now = time.monotonic()
        acknowledged, attempted = self._credible[partition]
        if unread.incredible_since is None:
            unread.incredible_since = now
            unread.problem = (
                f"the brokers tell the committed offset {told.offset}, although {acknowledged.offset} or "
                f"{attempted.offset} was committed last"
            )
            _log.warning("partition %d: %s; asking again", partition, unread.problem)
        if now - unread.incredible_since < CREDIBLE_PATIENCE_SECONDS:
            return None
        _log.error(
            "partition %d: %s. Reading goes on at %d; requests from there on may be answered a second time. "
            "Look at the log of the group's coordinator, which may have lost committed offsets.",
            partition,
            unread.problem,
            acknowledged.offset,
        )
        return acknowledged

    def _tell_troubles(self) -> None:
        """Partitions that have not been read for long are news, and so is their end."""
        now = time.monotonic()
        if now < self._look_for_troubles_at:
            return
        self._look_for_troubles_at = now + LOOK_INTERVAL_SECONDS
        troubles = {
            partition: f"Partition {partition} has not been read for {UNREAD_PATIENCE_SECONDS:.0f} s: "
            f"{unread.problem}. Look at the brokers; a transaction that hangs can be found and aborted with "
            "`kafka-transactions.sh`."
            for partition, unread in self._unread.items()
            if now - unread.since >= UNREAD_PATIENCE_SECONDS
        }
        if troubles != self._troubles:
            for partition in troubles.keys() - self._troubles.keys():
                _log.error("%s", troubles[partition])
            self._troubles = troubles
            self._post(PartitionTroubles(troubles))

    def _start_within_log(self, partition: int, offset: int, metadata: str | None) -> None:
        """Nothing was committed yet, or the log does not reach back to where we were.

        The progress map still counts beyond the log's start; one of another log, which was longer, does not.
        """
        low, high = self._watermarks(partition)
        if partition in self._anew:
            offset = OFFSET_BEGINNING
        elif 0 <= offset < low:
            _log.error("partition %d: records from offset %d to %d are gone unread", partition, offset, low - 1)
        elif offset > high:
            _log.error("partition %d: offset %d is beyond the log, which ends at %d", partition, offset, high)
        if 0 <= offset <= high:
            self._start_at(partition, offset, metadata, max(offset, low))
        else:
            self._start_at(partition, low, None, low)

    def _watermarks(self, partition: int) -> tuple[int, int]:
        place = TopicPartition(self._topic, partition)
        low, high = self._consumer.get_watermark_offsets(place, timeout=WATERMARK_TIMEOUT_SECONDS)
        return int(low), int(high)

    def _start_at(self, partition: int, offset: int, metadata: str | None, position: int) -> None:
        """Deliver from ``position`` on; ``offset`` and ``metadata`` are what was committed.

        Where ``position`` is beyond ``offset``, it is the log's start.
        """
        place = TopicPartition(self._topic, partition, position)
        if partition in self._out_of_range:
            self._reassign(place)
        else:
            self._consumer.seek(place)
        del self._unread[partition]
        self._credible.pop(partition, None)
        self._anew.discard(partition)
        self._paused.discard(partition)
        self._read_to[partition] = offset
        self._last_epoch += 1
        epoch = self._epochs[partition] = self._last_epoch
        self._post(Assigned(partition, epoch, offset, metadata, self._topic_id or b""))
        self._publish()

    def _reassign(self, place: TopicPartition) -> None:
        """Fetch again what librdkafka has stopped fetching: seeking alone may not wake it."""
        self._out_of_range.discard(place.partition)
        self._consumer.incremental_unassign([place])
        self._consumer.incremental_assign([place])
        if place.partition in self._paused:
            self._consumer.pause([place])

    def _return_to_log(self) -> None:
        """Go on with a partition whose position the log does not hold."""
        now = time.monotonic()
        if now < self._return_at:
            return
        partition = next(
            (each for each in self._out_of_range if each in self._epochs and each not in self._renewed), None
        )
        if partition is None:
            return
        try:
            low, high = self._watermarks(partition)
        except KafkaException as problem:
            _log.warning("partition %d: the log's bounds are not known: %s", partition, problem.args[0].str())
            self._return_at = time.monotonic() + RETRY_SECONDS
            return
        position = self._read_to[partition]
        self._post(OffsetReset(partition))
        if position > high:
            _log.error("partition %d: offset %d is beyond the log, which ends at %d", partition, position, high)
            self._begin_anew([partition])
            return
        if position < low:
            _log.error("partition %d: records from offset %d to %d are gone unread", partition, position, low - 1)
            self._post_ranges(self._epochs, {partition: low}, {partition: low})
        self._reassign(TopicPartition(self._topic, partition, max(position, low)))

    def _on_topic_id(self, topic_id: bytes) -> None:
        """Where the topic was deleted and made anew, its partitions are read from their start."""
        former = self._topic_id
        self._topic_id = topic_id or former or b""
        if not former or former == self._topic_id:
            return
        started = [partition for partition in self._epochs if partition not in self._renewed]
        self._anew.update(self._unread)
        for partition in (*started, *self._unread):
            self._tell_made_anew(partition)
        self._begin_anew(started)

    def _check_topic_id(self, partition: int, told: CommitPoint) -> None:
        """Offsets that were committed for a former topic of this name say nothing about this one."""
        committed_for = topic_id_of(told.offset, told.metadata)
        if committed_for and self._topic_id and committed_for != self._topic_id and partition not in self._anew:
            self._tell_made_anew(partition)
            self._anew.add(partition)

    def _tell_made_anew(self, partition: int) -> None:
        _log.error(
            "partition %d: the topic %s was deleted and made anew. It is read from its start; requests of the former "
            "topic that were not read are gone.",
            partition,
            self._topic,
        )
        self._post(OffsetReset(partition))

    def _begin_anew(self, partitions: Sequence[int]) -> None:
        """The log is another one: have what was read of the former one answered, then read this one from its start."""
        deadline = time.monotonic() + self._drain_seconds
        self._renewed |= dict.fromkeys(partitions, deadline)
        self._consumer.pause([TopicPartition(self._topic, partition) for partition in partitions])
        self._post(Revoking(partitions))

    def _renew(self) -> None:
        now = time.monotonic()
        ready = [partition for partition, deadline in self._renewed.items() if deadline <= now]
        for partition in ready:
            del self._renewed[partition]
            self._anew.add(partition)
            self._credible.pop(partition, None)
            self._reload(partition)
        if ready:
            self._post(Unassigned(ready))

    def _on_drained(self, partitions: Sequence[int]) -> None:
        self._draining.difference_update(partitions)
        self._renewed |= {partition: 0.0 for partition in partitions if partition in self._renewed}

    def _reload_from(self, reload: Reload) -> None:
        if self._epochs.get(reload.partition) == reload.epoch:
            self._credible[reload.partition] = reload.acknowledged or self._told[reload.partition], reload.attempted
            self._reload(reload.partition)

    def _reload(self, partition: int) -> None:
        self._epochs.pop(partition, None)
        self._searches.pop(partition, None)
        self._draining.discard(partition)
        self._await_progress(partition)
        self._publish()
        self._consumer.pause([TopicPartition(self._topic, partition)])

    # -- small things ----------------------------------------------------------------------------------

    def _switch(self, what: str, partitions: Sequence[int]) -> None:
        ours = [
            TopicPartition(self._topic, partition)
            for partition in partitions
            if partition in self._epochs and partition not in self._renewed
        ]
        if what == "pause":
            self._paused.update(each.partition for each in ours)
        else:
            self._paused.difference_update(each.partition for each in ours)
        if ours:
            getattr(self._consumer, what)(ours)

    def _commit(self, offsets: list[TopicPartition], done: Callable[[KafkaError | None], None]) -> None:
        """Ask for the commit; while draining no callback is served, so wait for it there."""
        try:
            self._commit_done = done
            if self._draining:
                self._consumer.commit(offsets=offsets, asynchronous=False)
                self._on_commit(None, offsets)
            else:
                self._consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as problem:
            self._on_commit(problem.args[0], offsets)

    def _on_commit(self, error: KafkaError | None, _offsets: Sequence[TopicPartition]) -> None:
        done, self._commit_done = self._commit_done, None
        if done is not None:
            done(error)

    def _publish(self) -> None:
        metadata = self._consumer.consumer_group_metadata()
        if metadata != self._former:
            self._former = None
        member = _generation(metadata) > 0 and self._former is None
        self.membership = Membership(metadata if member else None, dict(self._epochs))
        if member != self._member:
            self._member = member
            self._post(MembershipChanged(member))
        self._published_at = time.monotonic()


def _read(message: Message) -> Record | Message:
    """Give the record, or the message as it is where it stands for an error."""
    return _record(message) if message.error() is None else message


def _bytes(fetched: Sequence[Record | Message]) -> int:
    return sum(each.size for each in fetched if isinstance(each, Record))


def _unreadable(partition: int, offset: int) -> Record:
    problem = "the batch of records that it came in cannot be unpacked: it is broken, or becomes too large"
    return Record(partition, offset, -1, None, None, None, problem)


def _record(message: Message) -> Record:
    try:
        headers = _headers(message)
    except (SystemError, UnicodeDecodeError):
        headers = None
    else:
        headers = headers or ()
    partition, offset = _coordinates(message)
    return Record(partition, offset, message.timestamp()[1], message.key(), message.value(), headers)


def _coordinates(message: Message) -> tuple[int, int]:
    partition, offset = message.partition(), message.offset()
    return -1 if partition is None else partition, -1 if offset is None else offset


def _generation(metadata: bytes) -> int:
    """The generation (classic) or member epoch (KIP-848) in librdkafka's serialized group metadata.

    It stands as a little-endian 32-bit number behind the mark (``rd_kafka_consumer_group_metadata_write``). 0 and less
    is no member; brokers accept offsets under the generation -1, so it must never be sent.
    """
    if not metadata.startswith(_METADATA_MARK):
        raise OwnerThreadError("this version of librdkafka writes group metadata in a form not known here: pin 2.16")
    return int.from_bytes(metadata[len(_METADATA_MARK) : len(_METADATA_MARK) + 4], "little", signed=True)


def _remedy(error: KafkaError) -> str:
    """Say what to do; a fatal error names its cause in its text alone."""
    if re.search(r"group\.instance\.id|instance ID", error.str()):
        return (
            "Give each replica a RESYNC_KAFKA__GROUP_INSTANCE_ID of its own; with the group protocol `consumer` that "
            "of a killed replica is free once its session has ended (45 s), so start this one again"
        )
    return "Start it again; if that does not help, look at the brokers"
