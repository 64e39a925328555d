"""A committer on a fake producer: what it is given, and who is told how a transaction ended."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from queue import SimpleQueue

import pytest

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
from consumer.domain.progress import Progress
from consumer.engine.commands import Commit, PartitionCommit
from consumer.engine.events import Event, PublishingTrouble, TransactionFinished, TransactionResult, TransactionTrouble
from consumer.engine.request_headers import read_headers
from consumer.engine.requests import Assignment, Request
from schemas.contract import DeadLetterReason
from tests.support.builders import fetched_record
from tests.unit.adapters.kafka.fake_producer import Broker, FakeProducer

COMMITTED, ABORTED, UNKNOWN = TransactionResult.COMMITTED, TransactionResult.ABORTED, TransactionResult.UNKNOWN
SMALL = b"a" * 600


class Words:
    """A request's value is what is published of it; reduced, it is a tenth, or one letter."""

    def publications(self, outcomes: Sequence[Request]) -> Iterable[Publication]:
        return (("results", str(each.record.offset).encode(), each.record.value, []) for each in outcomes)

    def reduced(self, outcome: Request, *, smallest: bool) -> Publication:
        value = outcome.record.value or b""
        return "results", str(outcome.record.offset).encode(), b"r" if smallest else value[::10], []


class Core:
    """The receiver of the committer's events: keeps how each transaction ended."""

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
    inherits = False

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
            inherits=self.inherits,
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


def part(partition: int = 0, *values: bytes, epoch: int = 1) -> PartitionCommit:
    """Outcomes of a partition from offset 0 on."""
    assignment = Assignment(partition, epoch, Progress(0))
    outcomes = []
    for offset, value in enumerate(values or (b"value",)):
        record = fetched_record(partition, offset, 0, None, value, [])
        request = Request(record, assignment, read_headers([]), 0.0, 300.0)
        request.verdict = DeadLettered(DeadLetterReason.UNREADABLE, "")
        outcomes.append(request)
    return PartitionCommit(partition, epoch, len(outcomes), f"map-{partition}", outcomes)


def until_committed(bench: Bench, commit: PartitionCommit) -> int:
    """The same again and again; gives how many transactions it took."""
    for tries in range(1, 12):
        if bench.commit(commit) is COMMITTED:
            return tries
    raise AssertionError("it never gets through")
