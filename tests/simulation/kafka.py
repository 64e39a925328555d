"""What ``confluent_kafka.Consumer`` and ``Producer`` look like from inside, over the simulated broker.

A method that takes time is a generator (see ``shells``). What a process has sent reaches the broker though the
process dies or freezes meanwhile; an answer may get lost, or come too late.
"""

from collections import deque
from collections.abc import Callable, Generator, Sequence
from types import GeneratorType
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from tests.simulation.broker import Broker, Refused, write_metadata
from tests.simulation.loop import Signal, Steps, Wait

OUT_OF_TIME = KafkaError._TIMED_OUT
ANSWER = TypeVar("ANSWER")
FETCH_BACKOFF_SECONDS = 0.5
"""``fetch.error.backoff.ms``."""
COMMIT_SECONDS = 5.0
"""For which a commit outside of a transaction waits for its answer."""
HANGING_SECONDS = 15.0
"""For which a call hangs, whatever its time-out."""
RUNS = (1, 1, 5, 500)
"""Records of one partition that are handed over in a row, as librdkafka does with a fetched batch."""
_CODES = {
    "UNKNOWN_MEMBER_ID": KafkaError.UNKNOWN_MEMBER_ID,
    "ILLEGAL_GENERATION": KafkaError.ILLEGAL_GENERATION,
    "OFFSET_METADATA_TOO_LARGE": KafkaError.OFFSET_METADATA_TOO_LARGE,
    "INVALID_TXN_STATE": KafkaError.INVALID_TXN_STATE,
    "PRODUCER_FENCED": KafkaError._FENCED,
    "TOPIC_AUTHORIZATION_FAILED": KafkaError.TOPIC_AUTHORIZATION_FAILED,
    "TRANSACTIONAL_ID_AUTHORIZATION_FAILED": KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
}
_ABORTABLE = frozenset(
    {"UNKNOWN_MEMBER_ID", "ILLEGAL_GENERATION", "OFFSET_METADATA_TOO_LARGE", "TOPIC_AUTHORIZATION_FAILED"}
)


def timed_out() -> KafkaException:
    """Nobody knows; may be asked again."""
    return KafkaException(KafkaError(OUT_OF_TIME, "Local: Timed out", fatal=False, retriable=True))


def abortable(code: int, reason: str) -> KafkaException:
    """The transaction has to be aborted."""
    return KafkaException(KafkaError(code, reason, fatal=False, retriable=False, txn_requires_abort=True))


def fatal(code: int, reason: str) -> KafkaException:
    """The producer is of no more use."""
    return KafkaException(KafkaError(code, reason, fatal=True, retriable=False))


def refused(problem: Refused) -> KafkaException:
    """The broker's no, in the binding's words."""
    code = _CODES[problem.code]
    return abortable(code, problem.code) if problem.code in _ABORTABLE else fatal(code, problem.code)


def refused_records(problem: Refused) -> KafkaException:
    """The broker's no to records, in the binding's words."""
    if problem.code.endswith("AUTHORIZATION_FAILED"):
        return refused(problem)
    return abortable(KafkaError.INVALID_PRODUCER_EPOCH, problem.code)


class Network:
    """The way to the broker and back. ``trouble`` draws whether something goes wrong with a call."""

    def __init__(self, replica: Any, broker: Broker) -> None:  # noqa: ANN401 - replica.Replica, which imports this
        self.replica = replica
        self.broker = broker
        self.loop = broker.loop
        self.rng = broker.rng
        self._newest_commit = [True]
        """Whether the plain commit that was sent last has arrived, or never will."""

    def ask(self, what: str, effect: Callable[[], ANSWER], patience: float) -> Generator[Any, Any, ANSWER]:
        """Let ``effect`` happen at the broker; what it gives or raises comes back, or a time-out.

        Plain commits arrive in the order in which they were sent: they share a connection.
        """
        self.replica.step(what)
        trouble = self.replica.world.trouble(what)
        box: list[tuple[bool, Any]] = []
        back = Signal()
        in_turn = self._queued(what, lost=trouble == "request lost")

        def arrive() -> None:
            if self.broker.down or not in_turn():
                self.loop.at(max(self.broker.down_until, self.loop.now) + self.rng.random() * 0.2, arrive)
                return
            try:
                box.append((True, effect()))
            except (Refused, KafkaException) as problem:
                box.append((False, problem))
            if trouble != "answer lost":
                self.loop.after(0.0002 + self.rng.random() * 0.004, back.give)

        if trouble != "request lost":
            delay = 0.0002 + self.rng.random() * 0.004
            if trouble == "slow":
                delay += self.rng.random() * 2 * patience
            self.loop.after(delay, arrive)
        if trouble == "hangs":
            yield HANGING_SECONDS
        else:
            yield Wait(back, patience)
        self.replica.step(what + ", answered")
        if not box or trouble == "answer lost":
            raise timed_out()
        fine, answer = box[0]
        if fine:
            return answer  # type: ignore[no-any-return]  # what ``effect`` gave
        raise answer

    def _queued(self, what: str, *, lost: bool) -> Callable[[], bool]:
        """Return what a request asks when it would arrive: whether those before it on its connection have arrived."""
        if what != "commit offsets":
            return lambda: True
        earlier, arrived = self._newest_commit, [lost]
        self._newest_commit = arrived

        def in_turn() -> bool:
            arrived[0] = arrived[0] or earlier[0]
            return earlier[0]

        return in_turn


class Message:
    """A record, or an error, as the consumer hands it over."""

    __slots__ = ("_error", "_offset", "_partition", "_record")

    def __init__(self, partition: int, offset: int, record: Any = None, error: KafkaError | None = None) -> None:  # noqa: ANN401
        self._partition, self._offset, self._record, self._error = partition, offset, record, error

    def error(self) -> KafkaError | None:
        return self._error

    def partition(self) -> int:
        return self._partition

    def offset(self) -> int:
        return self._offset

    def timestamp(self) -> tuple[int, int]:
        return (1, self._record.timestamp)

    def key(self) -> bytes | None:
        return None

    def value(self) -> bytes | None:
        return self._record.value  # type: ignore[no-any-return]  # scenario.SentRecord

    def headers(self) -> Any:  # noqa: ANN401 - as the binding's
        return self._record.headers


class _Fetch:
    """One assigned partition, as fetched."""

    __slots__ = ("again_at", "end_told", "garbled_at", "position", "stopped")

    def __init__(self, position: int) -> None:
        self.position = position
        self.stopped = False
        """Its position was outside the log."""
        self.end_told = -1
        self.garbled_at = -1
        """The last batch that could not be unpacked: fetched once more, it is sound."""
        self.again_at = 0.0
        """When a batch that cannot be unpacked is fetched again."""


class SimulatedConsumer:
    """A member of the group. Its background thread joins, is told of rebalances, and queues callbacks for ``poll``."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.replica = config["replica"]
        self.network: Network = self.replica.network
        self.broker = self.network.broker
        self.loop = self.broker.loop
        self.rng = self.broker.rng
        self.instance: str | None = config.get("group.instance.id")
        self.member_id = ""
        self.generation = -1
        self.wake = Signal()
        self._granted: frozenset[int] = frozenset()
        """What the group has assigned, also where no callback has told of it yet."""
        self._owned: set[int] = set()
        """Partitions from their ``on_assign`` until their ``on_revoke`` or ``on_lost`` has returned."""
        self._answered: set[int] = set()
        """Owned ones whose revocation was answered before its callback ran."""
        self._fetches: dict[int, _Fetch] = {}
        self._paused: set[int] = set()
        """Stays with a partition that is no longer assigned."""
        self._run_of, self._run_left = -1, 0
        """The partition whose fetched records are handed over now, and how many more of them."""
        self._callbacks: deque[tuple[str, list[int]]] = deque()
        self._in_callback = False
        self._rejoin_wanted = False
        self._joining = False
        self._left = False
        self._on: dict[str, Callable[..., Any]] = {}
        self._on_commit: Callable[..., Any] | None = config.get("on_commit")
        self._answers: deque[tuple[KafkaError | None, Sequence[TopicPartition]]] = deque()
        """To commits that nobody has waited for."""

    # -- the background thread -------------------------------------------------------------------------

    def _background(self, event: Callable[[], None]) -> bool:
        """Return whether the background thread can act now; if it is frozen, ``event`` happens when it thaws."""
        process = self.replica.process
        if not process.alive or self._left:
            return False
        if process.frozen_until > self.loop.now:
            self.loop.at(process.frozen_until + self.rng.random() * 0.05, event)
            return False
        if self.broker.down:
            self.loop.at(self.broker.down_until + self.rng.random() * 0.5, event)
            return False
        return True

    def check(self) -> None:
        """Send a heartbeat, which may tell that it is no member any more."""
        if self._background(self.check) and self.member_id and self.member_id not in self.broker.members:
            self._lose()

    def noticed(self) -> None:
        """A heartbeat told that the group rebalances."""
        if not self._background(self.noticed):
            return
        if self.member_id not in self.broker.members:
            self._lose()
        elif not self.broker.awaits(self.member_id):
            return
        elif self._in_callback or self._callbacks:
            self._rejoin_wanted = True
        else:
            self._join()

    def _join(self) -> None:
        self._rejoin_wanted = False
        if self._joining:
            return
        self._joining = True
        sent_by = self.member_id
        self.loop.after(0.001 + self.rng.random() * 0.02, lambda: self._arrive(sent_by))

    def _arrive(self, sent_by: str) -> None:
        """The request to join reaches the broker (it was sent: a frozen process's too)."""
        self._joining = False
        if not self.replica.process.alive or self._left:
            return
        if self.broker.down:
            self._joining = True
            self.loop.at(self.broker.down_until + self.rng.random() * 0.5, lambda: self._arrive(sent_by))
            return
        if sent_by != self.member_id:  # which the broker does not know any more: first lost, then joined anew
            if self._in_callback or self._callbacks:
                self._rejoin_wanted = True
            else:
                self._join()
            return
        if self.member_id and self.member_id not in self.broker.members:
            self._lose()
            return
        owned = self._granted.union(self._owned - self._answered)
        self.member_id = self.broker.join(self, self.member_id, self.instance, owned)

    def synced(self, member_id: str, generation: int, assigned: frozenset[int]) -> None:
        """The group's new assignment has come."""
        if not self._background(lambda: self.synced(member_id, generation, assigned)):
            return
        if member_id != self.member_id or member_id not in self.broker.members:
            self.check()
            return
        if not self.broker.awaits_nothing(member_id, generation):
            return  # it has joined again meanwhile: a newer assignment will come
        self.generation = generation
        self._granted = assigned
        owned = self._owned - self._answered
        revoked, added = sorted(owned - assigned), sorted(assigned - owned)
        if revoked:
            self._callbacks.append(("revoke", revoked))
        self._callbacks.append(("assign", added))
        self._rejoin_wanted |= bool(revoked)
        self.wake.give()

    def _lose(self) -> None:
        """The group goes on without us."""
        self.replica.trace("is no member of the group any more")
        self.member_id, self._granted = "", frozenset()
        if self.rng.random() < 0.5:  # librdkafka keeps the generation where a session has timed out
            self.generation = -1
        self._callbacks.clear()
        self._rejoin_wanted = True
        self._callbacks.append(("lost", sorted(self._owned)))
        self.wake.give()

    # -- for the owner thread --------------------------------------------------------------------------

    def subscribe(self, _topics: Sequence[str], **callbacks: Callable[..., Any]) -> None:
        self._on = callbacks
        self._join()

    def poll(self, seconds: float) -> Generator[Any, Any, Message | None]:
        """Serve callbacks, then give a message. A silent poll lasts longer here than there: nothing happens in it."""
        self.replica.world.promises.polled(self.replica)
        yield from self._serve()
        message = self._next()
        if message is not None:
            return message
        busy = not self.replica.world.calm and len(self._fetches) < len(self._owned)
        yield Wait(self.wake, seconds * (1 + self.rng.random()) if busy else 0.5)
        yield self.rng.random() * 0.004
        yield from self._serve()
        return self._next()

    def consume(self, most: int, _seconds: float) -> list[Message]:
        """What is there already."""
        found: list[Message] = []
        while len(found) < most and (message := self._next()) is not None:
            found.append(message)
        return found

    def _serve(self) -> Steps:
        while self._answers and self._on_commit is not None:
            steps = self._on_commit(*self._answers.popleft())
            if isinstance(steps, GeneratorType):
                yield from steps
        while self._callbacks:
            what, partitions = self._callbacks.popleft()
            if what in ("revoke", "lost"):
                partitions = [each for each in partitions if each in self._owned]
                if not partitions:
                    continue
            else:
                self._owned.update(partitions)
            self.replica.trace(f"{what} {partitions}")
            self._in_callback = True
            self.replica.step(f"callback {what}")
            steps = self._on[f"on_{what}"](self, [TopicPartition("requests", each) for each in partitions])
            if isinstance(steps, GeneratorType):
                yield from steps
            if what in ("revoke", "lost"):
                self._owned.difference_update(partitions)
                self._answered.difference_update(partitions)
            self._in_callback = False
        if self._rejoin_wanted and not self._left:
            self._join()

    def _next(self) -> Message | None:
        ready = [p for p, fetch in self._fetches.items() if self.fetches(p) and self._has(p, fetch)]
        if not ready or self.broker.down:
            return None
        if self._run_left <= 0 or self._run_of not in ready:
            self._run_of = ready[0] if len(ready) == 1 else ready[int(self.rng.random() * len(ready))]
            self._run_left = self.rng.choice(RUNS)
        self._run_left -= 1
        return self._take(self._run_of, self._fetches[self._run_of])

    def fetches(self, partition: int) -> bool:
        """Return whether a partition is assigned, and neither paused nor stopped."""
        fetch = self._fetches.get(partition)
        return fetch is not None and not fetch.stopped and partition not in self._paused

    def _has(self, partition: int, fetch: _Fetch) -> bool:
        end = self.broker.logs[partition].end
        told = fetch.position == end and fetch.end_told >= end
        return not told and self.loop.now >= fetch.again_at

    def _take(self, partition: int, fetch: _Fetch) -> Message:
        log = self.broker.logs[partition]
        if fetch.position > fetch.garbled_at and self.replica.world.garbles():
            fetch.garbled_at = fetch.position
            code = self.rng.choice((KafkaError._BAD_COMPRESSION, KafkaError._BAD_MSG))
            return Message(partition, fetch.position, error=KafkaError(code, "cannot be unpacked"))
        if fetch.position < log.start or fetch.position > log.end:
            fetch.stopped = True
            return Message(partition, fetch.position, error=KafkaError(KafkaError._AUTO_OFFSET_RESET, "out of range"))
        offset = log.first_from(fetch.position)
        if offset >= log.end:
            fetch.position = fetch.end_told = log.end
            return Message(partition, log.end, error=KafkaError(KafkaError._PARTITION_EOF, "end"))
        begins = log.broken.get(offset)
        if begins is not None:
            fetch.again_at = self.loop.now + FETCH_BACKOFF_SECONDS
            self.loop.at(fetch.again_at, self.wake.give)
            return Message(partition, begins, error=KafkaError(KafkaError._BAD_COMPRESSION, "cannot be unpacked"))
        fetch.position = offset + 1
        return Message(partition, offset, log.records[offset])

    def incremental_assign(self, partitions: Sequence[TopicPartition]) -> None:
        """Fetch from explicit offsets: a seek while librdkafka looks up a logical one can be lost."""
        for each in partitions:
            assert each.offset >= 0
            assert each.partition in self._owned.difference(self._fetches)
            self._fetches[each.partition] = _Fetch(each.offset)
        self._forget_loss()

    def incremental_unassign(self, partitions: Sequence[TopicPartition]) -> None:
        """Fetch no longer. Outside of a callback, that counts as the answer to a revocation that is still to come."""
        for each in partitions:
            del self._fetches[each.partition]
        self._forget_loss()
        revoked = {each for what, those in self._callbacks if what == "revoke" for each in those}
        if revoked and not self._in_callback:
            self._answered |= revoked
            self._join()

    def _forget_loss(self) -> None:
        """As with librdkafka, it is not known any more that an assignment is lost: ``on_revoke`` tells of it."""
        self._callbacks = deque(("revoke" if what == "lost" else what, those) for what, those in self._callbacks)

    def pause(self, partitions: Sequence[TopicPartition]) -> None:
        self._paused.update(each.partition for each in partitions)

    def resume(self, partitions: Sequence[TopicPartition]) -> None:
        self._paused.difference_update(each.partition for each in partitions)

    def offsets_for_times(self, places: Sequence[TopicPartition], timeout: float) -> list[TopicPartition]:
        """Answer at once with the ends of the logs; nothing sleeps here that it would have to wake."""
        assert timeout > 0
        return [TopicPartition(each.topic, each.partition, self.broker.logs[each.partition].end) for each in places]

    def seek(self, place: TopicPartition) -> None:
        if place.partition not in self._fetches or self._fetches[place.partition].stopped:
            raise KafkaException(KafkaError(KafkaError._STATE, "Local: Erroneous state"))
        fetch = self._fetches[place.partition]
        fetch.position, fetch.end_told, fetch.again_at = place.offset, -1, 0.0

    def committed(
        self, partitions: Sequence[TopicPartition], timeout: float
    ) -> Generator[Any, Any, list[TopicPartition]]:
        (partition,) = (each.partition for each in partitions)
        process = self.replica.process

        def read() -> tuple[int, str]:
            answer = self.broker.read_progress(partition, process)
            if answer is None:
                raise timed_out()
            return answer  # type: ignore[no-any-return]  # what the broker keeps

        progress: tuple[int, str] = yield from self.network.ask("committed", read, timeout)
        self.broker.heard(partition, process)
        offset, metadata = progress
        self.replica.trace(f"read progress of {partition}: {offset} {metadata}")
        return [TopicPartition("requests", partition, offset, metadata)]

    def commit(self, offsets: Sequence[TopicPartition], *, asynchronous: bool) -> Steps | None:
        """Commit outside of a transaction: answered by the callback, or by the offsets."""
        if not asynchronous:
            return self._commit(offsets)
        self.loop.start(self.replica.process, self._commit_later(offsets))
        return None

    def _commit(self, offsets: Sequence[TopicPartition]) -> Steps:
        wanted = {each.partition: (each.offset, each.metadata or "") for each in offsets}
        metadata, process = self.consumer_group_metadata(), self.replica.process
        try:
            yield from self.network.ask(
                "commit offsets", lambda: self.broker.commit_plainly(process, wanted, metadata), COMMIT_SECONDS
            )
        except Refused as problem:
            raise refused(problem) from problem
        return offsets

    def _commit_later(self, offsets: Sequence[TopicPartition]) -> Steps:
        error = None
        try:
            yield from self._commit(offsets)
        except KafkaException as problem:
            error = problem.args[0]
        self._answers.append((error, offsets))
        self.wake.give()

    def get_watermark_offsets(
        self, place: TopicPartition, timeout: float = 0.0, *, cached: bool = False
    ) -> Steps | tuple[int, int]:
        log = self.broker.logs[place.partition]
        if cached:
            return log.start, log.end
        return self.network.ask("watermarks", lambda: (log.start, log.end), timeout)

    def consumer_group_metadata(self) -> bytes:
        return write_metadata(self.generation, self.member_id)

    def close(self) -> Steps:
        """Give everything up, then leave the group."""
        self._callbacks.clear()
        self._callbacks.append(("revoke" if self.member_id else "lost", sorted(self._owned)))
        self._rejoin_wanted = False
        yield from self._serve()
        self._left = True
        if self.instance is None:
            yield self.rng.random() * 0.01
            self.broker.leave(self.member_id)
