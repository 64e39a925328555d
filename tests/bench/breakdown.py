"""What each step of a request costs: the service's own code, one step at a time, in this process.

CPU time, librdkafka's threads included, the best of some rounds: what a step takes by itself, with warm caches and
nobody to share the interpreter with. The service adds what its threads cost each other.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from confluent_kafka import Consumer, Message, Producer
from rich.console import Console
from rich.table import Table

from consumer.adapters.kafka.outgoing import BY_KEY, NOW, Publication
from consumer.adapters.kafka.publications import Publications, Topics
from consumer.adapters.kafka.records import RecordReader
from consumer.adapters.mirakl.client import Cm21, entries_json
from consumer.adapters.observability.request_log import AnsweredRequest, RequestLog
from consumer.adapters.request_reader import RequestReader
from consumer.adapters.stores import DirectoryReader, Encryption, create_engine
from consumer.domain.calls import CallOutcome, Receipt
from consumer.domain.model import Directory
from consumer.domain.outcome import Synchronized
from consumer.domain.validation import validate
from consumer.engine.clock import Instant
from consumer.engine.commands import Command, Commit, StartCall
from consumer.engine.core import Core
from consumer.engine.events import (
    Assigned,
    CallFinished,
    DirectoryConfirmed,
    Event,
    Fetched,
    MembershipChanged,
    TransactionFinished,
    TransactionResult,
)
from consumer.engine.policy import Policy
from consumer.engine.records import ReadRange, Record
from consumer.engine.request_headers import HeaderReader
from consumer.engine.requests import Request
from schemas.avro.codec import ResultEncoder
from schemas.console.startup import collect_rarely
from schemas.process.memory import share_one_heap
from tests.bench.bare import CONSUMER, PRODUCER
from tests.bench.stage import Mirakl, Stage
from tests.bench.workload import WITH_KEY
from tests.support.topics import Topics as TopicNames

ROUNDS = 5
LIST = 500
"""Records that the owner thread hands over at once."""
TRANSACTION = 2_000
CALLS = 200
CALLS_AT_ONCE = 8
TIMEOUT_SECONDS = 30
MAX_REQUEST_BYTES = 1 << 20
MICROSECONDS = 1e6

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Step:
    """One row of the table."""

    name: str
    microseconds: float
    """A request."""
    counts: bool = True
    """Else it is part of another row, or an alternative to it."""


@dataclass(frozen=True, slots=True)
class EngineTimes:
    """CPU seconds that the core took, by event, and what came of its requests."""

    by_event: Mapping[str, float]
    outcomes: Sequence[Request]
    calls: Sequence[StartCall]


def break_down(stage: Stage) -> Sequence[Step]:
    """Measure every step on the stage's workload."""
    share_one_heap()
    collect_rarely()  # as the service does: the many records kept here would be looked through again and again
    with stage.topics() as topics:
        consumed, messages = _consume(stage)
        read = RecordReader().read
        records = [record for record in read(messages) if isinstance(record, Record)]
        directory = _directory(stage)
        times = _best([_drive_core(records, directory) for _ in range(ROUNDS)])
        body = _each_of(times.calls, lambda call: entries_json(call.products), len(records))
        publications = Publications(
            Topics(topics.requests, topics.results, topics.dead_letters),
            topics.group,
            ResultEncoder(),
            MAX_REQUEST_BYTES,
        )
        return [
            Step("consume: poll, consume(500)", consumed),
            Step("message to record", _best_of(lambda: read(messages), len(messages))),
            *_engine_steps(records, times),
            Step("CM21 call over HTTP", _call(stage, times.calls)),
            Step("of it: write the body", body, counts=False),
            *_publishing_steps(stage, topics, publications, times.outcomes),
            Step("line in the log (all)", _log_line(times.outcomes), counts=False),
        ]


def show(steps: Sequence[Step], console: Console) -> None:
    """Print the table."""
    table = Table("step", "µs a request", title="Where the CPU goes, step by step")
    for step in steps:
        table.add_row(step.name if step.counts else f"  [dim]{step.name}", f"{step.microseconds:.2f}")
    table.add_row(
        "[bold]sum[/] without the rows that are part of another",
        f"{sum(s.microseconds for s in steps if s.counts):.2f}",
    )
    console.print(table)


# -- in ------------------------------------------------------------------------------------------------


def _consume(stage: Stage) -> tuple[float, Sequence[Message]]:
    """Microseconds a record, and all records of the log."""
    rounds = [_consume_all(stage, number) for number in range(ROUNDS)]
    return min(spent for spent, _ in rounds), rounds[-1][1]


def _consume_all(stage: Stage, number: int) -> tuple[float, Sequence[Message]]:
    group = f"{stage.requests[WITH_KEY]}-breakdown-{number}"
    consumer = Consumer({**CONSUMER, "bootstrap.servers": stage.bootstrap, "group.id": group})
    consumer.subscribe([stage.requests[WITH_KEY]])
    messages: list[Message] = consumer.consume(1, TIMEOUT_SECONDS)
    started = time.process_time()
    while len(messages) < stage.workload.requests:
        messages += consumer.consume(LIST, 0.1)
    spent = time.process_time() - started
    consumer.close()
    return MICROSECONDS * spent / len(messages), messages


def _directory(stage: Stage) -> Directory:
    engine = create_engine(stage.settings["RESYNC_DATABASE_URL"])
    try:
        read = DirectoryReader(engine, Encryption([stage.settings["RESYNC_ENCRYPTION_KEYS"]])).read(None)
    finally:
        engine.dispose()
    assert read is not None
    return read


# -- the engine ----------------------------------------------------------------------------------------


def _engine_steps(records: Sequence[Record], times: EngineTimes) -> Sequence[Step]:
    reader, read_headers = RequestReader(registry=False, max_bytes=MAX_REQUEST_BYTES), HeaderReader().read
    bodies = [body for record in records if isinstance(body := reader.decode(record.value, None), dict)]
    steps = [
        ("header pass", _each(records, lambda record: read_headers(record.headers))),
        ("decode", _each(records, lambda record: reader.decode(record.value, None))),
        ("validate", _each(bodies, lambda body: validate(body["products"], body["clientSpecificationId"], 10_000))),
    ]
    per_request = {name: MICROSECONDS * spent / len(records) for name, spent in times.by_event.items()}
    rest = per_request["fetched"] - sum(each for _, each in steps)
    return [
        Step("engine, taking in and cutting calls", per_request["fetched"]),
        *(Step(f"of it: {name}", each, counts=False) for name, each in steps),
        Step("of it: the rest (key, route, request, lane, batch, flow)", rest, counts=False),
        Step("engine, answers of calls", per_request["call finished"]),
        Step("engine, transactions", per_request["transaction finished"]),
    ]


class _CoreDrive:
    """Feeds a core as the driver would, with a Mirakl and a broker that answer between two lists."""

    def __init__(self, directory: Directory) -> None:
        self._core = Core(RequestReader(registry=False, max_bytes=MAX_REQUEST_BYTES), Policy())
        self._now = 0.0
        self._commands: list[Command] = []
        self.spent = dict.fromkeys(("fetched", "call finished", "transaction finished"), 0.0)
        self.outcomes: list[Request] = []
        self.calls: list[StartCall] = []
        self._core.handle([MembershipChanged(member=True)], self._at)
        self._core.handle([DirectoryConfirmed(self._now, directory)], self._at)

    @property
    def _at(self) -> Instant:
        return Instant(self._now, 1_700_000_000 + self._now)

    def assign(self, partitions: Iterable[int]) -> dict[int, int]:
        """Each gets its own number as its epoch."""
        epochs = {partition: partition + 1 for partition in partitions}
        for partition, epoch in epochs.items():
            self._core.handle([Assigned(partition, epoch, 0, None)], self._at)
        return epochs

    def fetched(self, epochs: Mapping[int, int], records: Sequence[Record]) -> None:
        """Hand a list over, and answer everything that follows from it."""
        ends = {record.partition: record.offset + 1 for record in records}
        ranges = {partition: ReadRange(epochs[partition], 0, end) for partition, end in ends.items()}
        self._timed("fetched", Fetched(ranges, records))
        while self._commands:
            commands, self._commands = self._commands, []
            self._now += 0.01
            for command in commands:
                self._carry_out(command)

    def _carry_out(self, command: object) -> None:
        if isinstance(command, StartCall):
            self.calls.append(command)
            outcome: CallOutcome = Receipt(f"tracking-{command.call_id}")
            self._timed("call finished", CallFinished(command.call_id, outcome))
        elif isinstance(command, Commit):
            kept = frozenset(part.partition for part in command.partitions)
            self.outcomes += [request for part in command.partitions for request in part.outcomes]
            self._timed("transaction finished", TransactionFinished(command, TransactionResult.COMMITTED, kept))

    def _timed(self, name: str, event: Event) -> None:
        started = time.thread_time()
        self._commands += self._core.handle([event], self._at)
        self.spent[name] += time.thread_time() - started


def _drive_core(records: Sequence[Record], directory: Directory) -> EngineTimes:
    drive = _CoreDrive(directory)
    epochs = drive.assign(sorted({record.partition for record in records}))
    for start in range(0, len(records), LIST):
        drive.fetched(epochs, records[start : start + LIST])
    return EngineTimes(drive.spent, drive.outcomes, drive.calls)


def _best(times: Sequence[EngineTimes]) -> EngineTimes:
    return min(times, key=lambda each: sum(each.by_event.values()))


# -- out -----------------------------------------------------------------------------------------------


def _call(stage: Stage, calls: Sequence[StartCall]) -> float:
    """The cost of calls with as many requests as the workload's calls may carry."""
    with stage.mirakl(Mirakl("0ms")):
        return asyncio.run(_calls(calls))


async def _calls(calls: Sequence[StartCall]) -> float:
    """Full calls come first: the others were cut while little waited."""
    fullest = sorted(calls, key=lambda call: -call.requests)[:CALLS]
    cm21 = Cm21(TIMEOUT_SECONDS)
    gate = asyncio.Semaphore(CALLS_AT_ONCE)

    async def one(call: StartCall) -> None:
        async with gate:
            outcome = await cm21.synchronize(call.specification, call.products)
        if not isinstance(outcome, Receipt):
            raise TypeError(f"the simulated Mirakl did not take a call in: {outcome}")

    try:
        await asyncio.gather(*map(one, fullest))  # opens the connections
        started = time.process_time()
        await asyncio.gather(*map(one, fullest))
        return MICROSECONDS * (time.process_time() - started) / sum(call.requests for call in fullest)
    finally:
        await cm21.aclose()


def _publishing_steps(
    stage: Stage, topics: TopicNames, publications: Publications, outcomes: Sequence[Request]
) -> Sequence[Step]:
    worded = list(publications.publications(outcomes))
    bare: list[Publication] = [(topic, key, value, []) for topic, key, value, _ in worded]
    producer = Producer(
        {**PRODUCER, "bootstrap.servers": stage.bootstrap, "transactional.id": f"{topics.group}-breakdown"}
    )
    producer.init_transactions(TIMEOUT_SECONDS)

    def produced(records: Sequence[Publication]) -> float:
        return min(_transactions(producer, records) for _ in range(ROUNDS))

    whole = _best_of(lambda: list(publications.publications(outcomes)), len(outcomes))
    encode = _splice(outcomes)
    return [
        Step("outcome to record", whole),
        Step("of it: splice the value", encode, counts=False),
        Step("of it: key and headers", whole - encode, counts=False),
        Step(f"produce and commit, {TRANSACTION} a transaction", produced(worded)),
        Step("the same without headers", produced(bare), counts=False),
    ]


def _transactions(producer: Producer, publications: Sequence[Publication]) -> float:
    started = time.process_time()
    for start in range(0, len(publications), TRANSACTION):
        producer.begin_transaction()
        for topic, key, value, headers in publications[start : start + TRANSACTION]:
            producer.produce(topic, value, key, BY_KEY, None, None, NOW, headers)
        producer.commit_transaction(TIMEOUT_SECONDS)
    return MICROSECONDS * (time.process_time() - started) / len(publications)


def _splice(outcomes: Sequence[Request]) -> float:
    verdict = outcomes[0].verdict
    assert isinstance(verdict, Synchronized)
    shared = ResultEncoder().share(
        status="SYNCHRONIZED",
        client_specification_id=verdict.client_specification_id,
        tracking_ids=verdict.tracking_ids,
        completed_at=verdict.completed_at,
    )
    named = [(request.request_id.encode(), len(request.products), request.requested_at) for request in outcomes]
    return _each(named, lambda each: shared.encode(*each))


def _log_line(outcomes: Sequence[Request]) -> float:
    log = RequestLog(lambda _: None)

    def write() -> None:
        log.write(
            AnsweredRequest(
                each.request_id,
                "t",
                0,
                each.record.offset,
                None,
                "SYNCHRONIZED",
                None,
                1.0,
                None,
                each.tenant,
                each.key_name,
            )
            for each in outcomes
        )

    return _best_of(write, len(outcomes))


# -- timing --------------------------------------------------------------------------------------------


def _each(items: Sequence[T], step: Callable[[T], object]) -> float:
    return _each_of(items, step, len(items))


def _each_of(items: Sequence[T], step: Callable[[T], object], requests: int) -> float:
    def all_of_them() -> None:
        for item in items:
            step(item)

    return _best_of(all_of_them, requests)


def _best_of(work: Callable[[], object], requests: int) -> float:
    def timed() -> float:
        started = time.thread_time()
        work()
        return time.thread_time() - started

    return MICROSECONDS * min(timed() for _ in range(ROUNDS)) / requests
