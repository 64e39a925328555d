"""How transactions end: what each error of the producer means, and what is done about it."""

import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from queue import SimpleQueue
from time import sleep
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from consumer.adapters.kafka import at_least_once, transactions
from consumer.adapters.kafka.at_least_once import AtLeastOnceSink
from consumer.adapters.kafka.committer import Finished
from consumer.adapters.kafka.known_progress import KnownProgress
from consumer.adapters.kafka.membership import Membership
from consumer.adapters.kafka.outgoing import Publication
from consumer.adapters.kafka.policy import PUBLISHING
from consumer.adapters.kafka.remedies import Named
from consumer.adapters.kafka.transactions import TransactionalSink
from consumer.domain.outcome import DeadLettered
from consumer.domain.progress import CommitPoint, Progress
from consumer.engine.commands import Commit, PartitionCommit
from consumer.engine.events import Event, PublishingTrouble, TransactionFinished, TransactionResult, TransactionTrouble
from consumer.engine.records import Record
from consumer.engine.request_headers import read_headers
from consumer.engine.requests import Assignment, Request
from schemas.contract import DeadLetterReason

COMMITTED, ABORTED, UNKNOWN = TransactionResult.COMMITTED, TransactionResult.ABORTED, TransactionResult.UNKNOWN
Delivered = Callable[[KafkaError | None, Any], None]
Pending = tuple[str, bytes | None, bytes | None, Delivered | None]
Script = KafkaError | Callable[[], None]

ABORTABLE = KafkaError(KafkaError.UNKNOWN_MEMBER_ID, "abort it", txn_requires_abort=True)
RETRIABLE = KafkaError(KafkaError._TIMED_OUT, "not yet", retriable=True)
FATAL = KafkaError(KafkaError._FENCED, "fenced", fatal=True)
FINAL = KafkaError(KafkaError._STATE, "no such state")


class Broker:
    """What has been committed, and what goes wrong next."""

    def __init__(self) -> None:
        self.producers: list[FakeProducer] = []
        self.script: dict[str, deque[Script]] = defaultdict(deque)
        self.most_bytes = 1 << 30
        """Of a batch; more is refused when it is delivered."""
        self.records: list[tuple[str, bytes | None, bytes | None]] = []
        self.offsets: dict[int, tuple[int, str]] = {}
        self.metadata: list[object] = []
        self.asked: list[str] = []

    def asked_for(self, what: str) -> None:
        """Note the question; answer as the script says."""
        self.asked.append(what)
        if self.script[what]:
            answer = self.script[what].popleft()
            if isinstance(answer, KafkaError):
                raise KafkaException(answer)
            answer()


class FakeProducer:
    """The producer's calls, on a broker of ours. After a failed delivery none of its transactions commits."""

    def __init__(self, broker: Broker, properties: dict[str, Any]) -> None:
        self.broker, self.properties = broker, properties
        self.pending: list[Pending] = []
        self.delivered: list[tuple[str, bytes | None, bytes | None]] = []
        self.sent: list[TopicPartition] = []
        self.failed: KafkaError | None = None
        broker.producers.append(self)

    def init_transactions(self, _timeout: float) -> None:
        self.broker.asked_for("init")

    def begin_transaction(self) -> None:
        self.broker.asked_for("begin")
        if self.failed is not None:
            raise KafkaException(FINAL)
        self.pending, self.delivered, self.sent = [], [], []

    def produce(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        headers: object,
        on_delivery: Delivered | None,
    ) -> None:
        self.broker.asked_for("produce")
        if len(value or b"") > int(self.properties.get("message.max.bytes", 1 << 30)):
            raise KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))
        assert headers is not None
        self.pending.append((topic, key, value, on_delivery))

    def poll(self, _timeout: float) -> int:
        return 0

    def flush(self, _timeout: float) -> int:
        self.broker.asked_for("flush")
        self._deliver()
        return 0

    def _deliver(self) -> None:
        """In batches, each of which is taken or refused as a whole."""
        pending, self.pending = deque(self.pending), []
        most_in_batch = int(self.properties.get("batch.size", 1_000_000))
        while pending:
            batch, size = [pending[0]], len(pending.popleft()[2] or b"")
            while pending and size + len(pending[0][2] or b"") <= most_in_batch:
                size += len(pending[0][2] or b"")
                batch.append(pending.popleft())
            self._deliver_batch(batch, too_large=size > self.broker.most_bytes)

    def _deliver_batch(self, batch: list[Pending], *, too_large: bool) -> None:
        error = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE, txn_requires_abort=True) if too_large else None
        self.failed = self.failed or error
        for topic, key, value, on_delivery in batch:
            if error is None:
                self.delivered.append((topic, key, value))
            if on_delivery is not None:
                on_delivery(error, None)

    def send_offsets_to_transaction(self, offsets: list[TopicPartition], metadata: object, _timeout: float) -> None:
        self.broker.asked_for("offsets")
        if self.failed is not None:
            raise KafkaException(FINAL)
        self.broker.metadata.append(metadata)
        self.sent = offsets

    def commit_transaction(self, _timeout: float) -> None:
        self._deliver()
        self.broker.asked_for("commit")
        if self.failed is not None:
            raise KafkaException(self.failed)
        self.broker.records += self.delivered
        self.broker.offsets |= {each.partition: (each.offset, each.metadata or "") for each in self.sent}

    def abort_transaction(self, _timeout: float) -> None:
        self.broker.asked_for("abort")


class Words:
    """A request's value is what is published of it; reduced, it is a tenth, or one letter."""

    def publications(self, outcomes: Sequence[Request]) -> Iterable[Publication]:
        return (Publication("results", str(each.record.offset).encode(), each.record.value, []) for each in outcomes)

    def reduced(self, outcome: Request, *, smallest: bool) -> Publication:
        value = outcome.record.value or b""
        return Publication("results", str(outcome.record.offset).encode(), b"r" if smallest else value[::10], [])


class Core:
    """Who is told how a transaction ended."""

    def __init__(self) -> None:
        self.told: SimpleQueue[tuple[TransactionResult, frozenset[int]]] = SimpleQueue()
        self.trouble: TransactionTrouble | None = None
        self.publishing: list[str | None] = []

    def post(self, event: Event) -> None:
        if isinstance(event, TransactionFinished):
            self.trouble = event.trouble
            self.told.put((event.result, event.kept))
        elif isinstance(event, PublishingTrouble):
            self.publishing.append(event.message)


class Bench:
    """A committer on a fake producer."""

    policy = replace(PUBLISHING, retry=0.0)

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **properties: object) -> None:
        self.broker, self.core = Broker(), Core()
        self.observed: list[Finished] = []
        self.membership = Membership("metadata-1", {0: 1, 1: 1})
        self.known = KnownProgress()
        for module in (transactions, at_least_once):
            monkeypatch.setattr(module, "Producer", lambda properties: FakeProducer(self.broker, properties))
        self.sink = self.make_sink(dict(properties))
        self.sink.start()
        self.number = 0

    def make_sink(self, properties: dict[str, object]) -> TransactionalSink | AtLeastOnceSink:
        return TransactionalSink(
            properties,
            Named("requests", "group", "group-1"),
            Words(),
            self.core.post,
            self.observed.append,
            self.policy,
            owner=self,
        )

    def commit(self, *parts: PartitionCommit) -> TransactionResult:
        """One transaction, from the core's point of view."""
        self.number += 1
        self.sink.commit(Commit(self.number, parts))
        result, self.kept = self.core.told.get(timeout=5)
        return result

    @property
    def values(self) -> list[bytes | None]:
        return [value for _, _, value in self.broker.records]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterable[Bench]:
    made = Bench(monkeypatch)
    yield made
    assert made.sink.stop(5)
    assert made.sink.failure is None


def part(partition: int = 0, *values: bytes, epoch: int = 1) -> PartitionCommit:
    """Outcomes of a partition from offset 0 on."""
    assignment = Assignment(partition, epoch, Progress(0))
    outcomes = []
    for offset, value in enumerate(values or (b"value",)):
        record = Record(partition, offset, 0, None, value, [])
        request = Request(record, assignment, read_headers([]), 0.0, 300.0)
        request.verdict = DeadLettered(DeadLetterReason.UNREADABLE, "")
        outcomes.append(request)
    return PartitionCommit(partition, epoch, len(outcomes), f"map-{partition}", outcomes)


def test_outcomes_offsets_and_maps_are_committed_together(bench: Bench) -> None:
    assert COMMITTED is bench.commit(part(0, b"a", b"b"), part(1, b"c"))

    assert [b"a", b"b", b"c"] == bench.values
    assert {0: (2, "map-0"), 1: (1, "map-1")} == bench.broker.offsets
    assert ["metadata-1"] == bench.broker.metadata
    assert frozenset({0, 1}) == bench.kept
    assert [COMMITTED] == [finished.result for finished in bench.observed]


def test_only_what_has_certainly_committed_is_known_to_be(bench: Bench) -> None:
    bench.commit(part(0, b"a", b"b"), part(1, b"c", epoch=7))
    bench.broker.script["commit"].append(FATAL)
    assert UNKNOWN is bench.commit(part(0, b"d", b"e", b"f"))

    assert CommitPoint(2, "map-0") == bench.known.denied(0, CommitPoint(1, ""))
    assert bench.known.denied(1, CommitPoint(0, "")) is None


def test_one_producer_serves_all_transactions_that_go_well(bench: Bench) -> None:
    for _ in range(3):
        assert COMMITTED is bench.commit(part())

    assert 1 == len(bench.broker.producers)
    assert ["init", *["begin", "produce", "offsets", "commit"] * 3] == bench.broker.asked


def test_a_partition_of_another_epoch_is_left_out_whole(bench: Bench) -> None:
    assert COMMITTED is bench.commit(part(0, b"old", epoch=7), part(1, b"ours"))

    assert [b"ours"] == bench.values
    assert {1} == set(bench.broker.offsets)
    assert frozenset({1}) == bench.kept


def test_with_nothing_of_ours_left_nothing_is_begun(bench: Bench) -> None:
    assert ABORTED is bench.commit(part(0, epoch=7))

    assert "begin" not in bench.broker.asked


def test_a_partition_lost_between_producing_and_sending_offsets_aborts_the_whole(bench: Bench) -> None:
    def lose() -> None:
        bench.membership = Membership("metadata-2", {1: 1})

    bench.broker.script["produce"].append(lose)
    assert ABORTED is bench.commit(part(0, b"a"), part(1, b"b"))
    assert [] == bench.values
    assert "commit" not in bench.broker.asked

    assert COMMITTED is bench.commit(part(0, b"a"), part(1, b"b"))
    assert [b"b"] == bench.values
    assert ["metadata-2"] == bench.broker.metadata


def test_offsets_are_sent_with_the_metadata_of_a_membership_that_names_their_partitions(bench: Bench) -> None:
    """The generation moved on, the partitions stayed."""

    def move_on() -> None:
        bench.membership = Membership("metadata-2", {0: 1})

    bench.broker.script["produce"].append(move_on)
    assert COMMITTED is bench.commit(part())
    assert ["metadata-2"] == bench.broker.metadata


def test_without_metadata_of_the_group_nothing_is_committed(bench: Bench) -> None:
    bench.membership = Membership(None, {0: 1})

    assert ABORTED is bench.commit(part())
    assert [] == bench.values


@pytest.mark.parametrize("step", ["produce", "offsets", "commit"])
def test_an_abortable_error_aborts_and_the_next_transaction_has_a_new_producer(bench: Bench, step: str) -> None:
    bench.broker.script[step].append(ABORTABLE)
    assert ABORTED is bench.commit(part(0, b"a"))
    assert "abort" in bench.broker.asked
    assert [] == bench.values

    assert COMMITTED is bench.commit(part(0, b"a"))
    assert [b"a"] == bench.values
    assert 2 == len(bench.broker.producers)


def test_a_commit_that_timed_out_is_asked_for_again_before_anything_else(bench: Bench) -> None:
    bench.broker.script["commit"].extend([RETRIABLE, RETRIABLE])
    assert COMMITTED is bench.commit(part(0, b"a"))

    assert ["commit"] * 3 == bench.broker.asked[-3:]
    assert 1 == bench.broker.asked.count("produce")
    assert "abort" not in bench.broker.asked
    assert [b"a"] == bench.values


def test_offsets_that_are_not_taken_yet_are_sent_again_with_the_latest_membership(bench: Bench) -> None:
    def move_on() -> None:
        bench.membership = Membership("metadata-2", {0: 1})
        raise KafkaException(RETRIABLE)

    bench.broker.script["offsets"].append(move_on)
    assert COMMITTED is bench.commit(part())
    assert ["metadata-2"] == bench.broker.metadata


@pytest.mark.parametrize("error", [FATAL, FINAL], ids=["fatal", "neither retriable nor abortable"])
def test_a_producer_lost_while_it_commits_leaves_the_outcome_unknown(bench: Bench, error: KafkaError) -> None:
    bench.broker.script["commit"].append(error)
    assert UNKNOWN is bench.commit(part(0, b"a"))

    assert COMMITTED is bench.commit(part(0, b"a"))
    assert 2 == len(bench.broker.producers)


def test_a_commit_that_times_out_and_then_has_to_be_aborted_has_no_effect(bench: Bench) -> None:
    bench.broker.script["commit"].extend([RETRIABLE, ABORTABLE])

    assert ABORTED is bench.commit(part())
    assert "abort" in bench.broker.asked


def test_an_abort_that_timed_out_is_asked_for_again(bench: Bench) -> None:
    bench.broker.script["offsets"].append(ABORTABLE)
    bench.broker.script["abort"].extend([RETRIABLE, RETRIABLE])

    assert ABORTED is bench.commit(part())
    assert 3 == bench.broker.asked.count("abort")


def test_a_producer_that_hangs_while_it_sends_offsets_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bench, "policy", replace(Bench.policy, first_patience=0.05))
    bench, released = Bench(monkeypatch), threading.Event()

    def hang() -> None:
        released.wait(10)

    bench.broker.script["offsets"].append(hang)
    assert ABORTED is bench.commit(part(0, b"a"))
    released.set()
    assert [] == bench.values

    assert COMMITTED is bench.commit(part(0, b"a"))
    assert [b"a"] == bench.values
    assert 2 == len(bench.broker.producers)
    assert bench.sink.stop(5)


def test_a_producer_that_has_lost_its_coordinator_while_it_sends_offsets_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Bench, "policy", replace(Bench.policy, first_patience=0.05))
    bench = Bench(monkeypatch)

    def time_out() -> None:
        sleep(0.02)
        raise KafkaException(RETRIABLE)

    bench.broker.script["offsets"].extend([time_out] * 10)
    assert ABORTED is bench.commit(part(0, b"a"))
    assert "commit" not in bench.broker.asked
    assert bench.sink.stop(5)
    assert 2 == len(bench.broker.producers)


@pytest.mark.parametrize("step", ["abort", "commit"])
def test_a_producer_that_cannot_end_its_transaction_has_a_successor_at_once(
    monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The successor's beginning ends what is open, which holds up all subscribers; nobody knows how it ends."""
    monkeypatch.setattr(Bench, "policy", replace(Bench.policy, end_patience=0.0))
    bench = Bench(monkeypatch)
    bench.broker.script["commit"].append(ABORTABLE if step == "abort" else RETRIABLE)
    bench.broker.script["abort"].append(RETRIABLE)

    assert UNKNOWN is bench.commit(part(0, b"a"))
    assert bench.sink.stop(5)
    assert [step, "init"] == bench.broker.asked[-2:]


def test_a_fenced_producer_is_replaced(bench: Bench) -> None:
    bench.broker.script["begin"].append(FATAL)
    assert COMMITTED is not bench.commit(part(0, b"a"))

    assert COMMITTED is bench.commit(part(0, b"a"))
    assert [b"a"] == bench.values


def test_a_producer_that_is_not_ready_is_made_anew_until_one_is(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch)
    bench.broker.script["init"].extend([RETRIABLE, FATAL, RETRIABLE])

    assert COMMITTED is bench.commit(part())
    assert bench.sink.stop(5)


def test_until_the_producer_is_ready_the_core_hears_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """No call may start before; a right that is missing is waited for, since what is decided must not be lost."""
    broker_script = [KafkaError(KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, fatal=True), RETRIABLE]
    monkeypatch.setattr(Broker, "asked_for", _failing_first(broker_script))
    bench = Bench(monkeypatch)
    assert COMMITTED is bench.commit(part())
    assert bench.sink.stop(5)

    not_ready, no_right, no_coordinator, fine = (message or "" for message in bench.core.publishing[:4])
    assert "not ready" in not_ready
    assert "transactional ids with the prefix group-" in no_right
    assert "transaction.state.log.replication.factor" in no_coordinator
    assert "" == fine
    assert bench.core.publishing[-1] is None


def _failing_first(errors: list[KafkaError]) -> Callable[[Broker, str], None]:
    asked_for = Broker.asked_for

    def asked(self: Broker, what: str) -> None:
        if what == "init" and errors:
            raise KafkaException(errors.pop(0))
        asked_for(self, what)

    return asked


@pytest.mark.parametrize(
    ("code", "named"),
    [
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, "WRITE on the topic"),
        (KafkaError.GROUP_AUTHORIZATION_FAILED, "READ on the group"),
        (KafkaError.INVALID_RECORD, "cleanup.policy"),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, "topics ensure"),
        (KafkaError.NOT_ENOUGH_REPLICAS, "min.insync.replicas"),
    ],
)
@pytest.mark.parametrize("step", ["produce", "offsets", "commit"])
def test_a_refusal_has_no_effect_and_is_told_with_what_an_operator_can_do(
    bench: Bench, step: str, code: int, named: str
) -> None:
    bench.broker.script[step].append(KafkaError(code, "refused", txn_requires_abort=True))

    assert ABORTED is bench.commit(part())
    assert bench.core.trouble is not None
    assert named in bench.core.trouble.message

    assert COMMITTED is bench.commit(part())
    assert bench.core.trouble is None


@pytest.mark.parametrize("step", ["begin", "produce", "offsets"])
def test_a_producer_lost_before_its_commit_was_asked_for_had_no_effect(bench: Bench, step: str) -> None:
    """Else the partitions would be read anew, and all calls made again, for a right that is missing."""
    bench.broker.script[step].append(KafkaError(KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, fatal=True))

    assert ABORTED is bench.commit(part())
    assert bench.core.trouble is not None
    assert "transactional id group-1" in bench.core.trouble.message


def test_an_abort_that_never_ends_is_no_doubt_where_no_commit_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bench, "policy", replace(Bench.policy, end_patience=0.0))
    bench = Bench(monkeypatch)
    bench.broker.script["offsets"].append(ABORTABLE)
    bench.broker.script["abort"].append(RETRIABLE)

    assert ABORTED is bench.commit(part())


def test_a_map_that_is_too_large_is_told_as_such(bench: Bench) -> None:
    bench.broker.script["offsets"].append(KafkaError(KafkaError.OFFSET_METADATA_TOO_LARGE, txn_requires_abort=True))

    assert ABORTED is bench.commit(part())
    assert bench.core.trouble is not None
    assert bench.core.trouble.metadata_too_large


def test_a_rebalance_is_no_trouble(bench: Bench) -> None:
    bench.broker.script["offsets"].append(ABORTABLE)

    assert ABORTED is bench.commit(part())
    assert bench.core.trouble is None


def until_committed(bench: Bench, commit: PartitionCommit) -> int:
    """The same again and again; gives how many transactions it took."""
    for tries in range(1, 12):
        if bench.commit(commit) is COMMITTED:
            return tries
    raise AssertionError("it never gets through")


SMALL = b"a" * 600


@pytest.mark.parametrize(
    ("large", "becomes"), [(b"x" * 2500, b"x" * 250), (b"x" * 100_000, b"r")], ids=["a bit", "by far"]
)
def test_a_record_that_the_broker_finds_too_large_is_reduced_and_its_mates_are_not(
    bench: Bench, large: bytes, becomes: bytes
) -> None:
    """Although the broker refuses all that travel in one batch with it."""
    bench.broker.most_bytes = 2000
    until_committed(bench, part(0, SMALL, large, SMALL))

    assert [SMALL, becomes, SMALL] == bench.values


def test_many_small_records_that_are_too_large_together_all_stay_whole(bench: Bench) -> None:
    bench.broker.most_bytes = 20_000
    until_committed(bench, part(0, *[SMALL] * 200))
    assert [SMALL] * 200 == bench.values

    assert 1 == until_committed(bench, part(1, *[SMALL] * 200))


def test_a_record_that_the_library_finds_too_large_is_reduced_at_once_and_its_mates_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench(monkeypatch, **{"message.max.bytes": 1000})
    assert COMMITTED is bench.commit(part(0, SMALL, b"x" * 2000, b"y" * 50_000, SMALL))

    assert [SMALL, b"x" * 200, b"r", SMALL] == bench.values
    assert bench.sink.stop(5)


def test_an_outcome_that_does_not_fit_however_small_is_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather no commit at all than one without its outcome; and it waits, since it is decided."""
    bench = Bench(monkeypatch, **{"message.max.bytes": 0})
    assert ABORTED is bench.commit(part(0, SMALL))

    assert {} == bench.broker.offsets
    assert bench.core.trouble is not None
    assert "max.message.bytes of the topic" in bench.core.trouble.message
    assert bench.sink.stop(5)
    assert bench.sink.failure is None


def test_what_was_reduced_once_is_whole_again_in_a_later_record(bench: Bench) -> None:
    bench.broker.most_bytes = 2000
    until_committed(bench, part(0, b"x" * 2500))
    bench.broker.most_bytes = 1 << 30

    assert COMMITTED is bench.commit(part(0, b"x" * 2500))
    assert [b"x" * 250, b"x" * 2500] == bench.values


def test_a_full_queue_is_waited_for(bench: Bench) -> None:
    def full() -> None:
        raise BufferError("queue full")

    bench.broker.script["produce"].extend([full, full])
    assert COMMITTED is bench.commit(part(0, b"a"))
    assert [b"a"] == bench.values


def test_the_watchdog_sees_no_call_between_transactions(bench: Bench) -> None:
    seen: list[float | None] = []
    bench.broker.script["commit"].append(lambda: seen.append(bench.sink.busy_since))
    bench.commit(part())

    assert seen[0] is not None
    assert bench.sink.busy_since is None


def test_a_bug_while_publishing_is_kept_for_the_main_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch)
    bench.broker.script["produce"].append(lambda: (_ for _ in ()).throw(TypeError("a bug")))
    raised: list[object] = []
    bench.sink._post = raised.append
    bench.sink.commit(Commit(1, [part()]))
    assert bench.sink.stop(5)

    assert isinstance(bench.sink.failure, TypeError)
    assert 1 == len(raised)


# -- at least once -------------------------------------------------------------------------------------


class AtLeastOnce(Bench):
    """The same without transactions: the consumer commits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers: list[KafkaError | None] = []
        self.committed: list[list[TopicPartition]] = []
        self.delivered_before: list[int] = []
        super().__init__(monkeypatch)

    def make_sink(self, properties: dict[str, object]) -> AtLeastOnceSink:
        return AtLeastOnceSink(
            properties,
            Named("requests", "group", "group-1"),
            Words(),
            self.core.post,
            self.observed.append,
            self.policy,
            owner=self,
            commit_offsets=self._commit_offsets,
        )

    def _commit_offsets(self, offsets: Sequence[TopicPartition], done: Callable[[KafkaError | None], None]) -> None:
        self.delivered_before.append(sum(len(each.delivered) for each in self.broker.producers))
        self.committed.append(list(offsets))
        done(self.answers.pop(0) if self.answers else None)


def test_offsets_and_maps_are_committed_after_everything_is_acknowledged(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = AtLeastOnce(monkeypatch)
    assert COMMITTED is bench.commit(part(0, b"a", b"b"))

    assert [2] == bench.delivered_before
    assert [(0, 2, "map-0")] == [(each.partition, each.offset, each.metadata) for each in bench.committed[0]]
    assert bench.sink.stop(5)


def test_what_was_not_acknowledged_is_not_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = AtLeastOnce(monkeypatch)
    bench.broker.most_bytes = 2000
    commit = part(0, SMALL, b"x" * 2500)
    assert ABORTED is bench.commit(commit)
    assert [] == bench.committed

    until_committed(bench, commit)
    assert 1 == len(bench.committed)
    assert bench.sink.stop(5)


def test_a_commit_of_offsets_that_failed_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = AtLeastOnce(monkeypatch)
    bench.answers = [KafkaError(KafkaError.REBALANCE_IN_PROGRESS)]
    assert ABORTED is bench.commit(part())

    assert COMMITTED is bench.commit(part())
    assert bench.sink.stop(5)


def test_nothing_of_a_partition_that_is_no_longer_ours_is_published(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = AtLeastOnce(monkeypatch)
    assert ABORTED is bench.commit(part(0, epoch=7))

    assert "produce" not in bench.broker.asked
    assert [] == bench.committed
    assert bench.sink.stop(5)
