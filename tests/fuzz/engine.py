"""Records of all kinds through the core, in a world that is well enough: each gets exactly one outcome."""

from collections import Counter
from collections.abc import Hashable
from functools import partial
from random import Random
from typing import Final

from consumer.adapters.kafka.outgoing import Publication
from consumer.adapters.kafka.publications import Publications, Topics
from consumer.adapters.request_reader import RequestReader, string_encodings
from consumer.domain.calls import CallFailure, CallOutcome, Receipt, Refusal, Unacknowledged
from consumer.engine.clock import Instant
from consumer.engine.commands import Command, Commit, ConfirmDirectory, LookUpSchema, StartCall
from consumer.engine.core import Core
from consumer.engine.events import (
    Assigned,
    CallFinished,
    DirectoryConfirmed,
    Event,
    Fetched,
    MembershipChanged,
    SchemaFound,
    SchemaMissing,
    SchemaUnavailable,
    Tick,
    TransactionFinished,
    TransactionResult,
)
from consumer.engine.policy import Policy
from consumer.engine.precedence import Precedence
from consumer.engine.records import ReadRange, Record
from schemas.avro.codec import ResultEncoder
from tests.fuzz.bytes import mutated
from tests.fuzz.targets import NAMED, SCHEMA, record_headers, record_value
from tests.support.builders import fetched_record
from tests.unit.engine.world import FIRST, SECOND, directory, specification

RECORDS: Final = 50
"""Of one run."""
LONGEST_SECONDS: Final = 1000.0
"""Of the simulated clock, which all are decided within: twice 30 s for schemas, the deadline, and much to spare."""
STEP_SECONDS: Final = 0.1
KEY: Final = b"operator-key"
KNOWN: Final = directory(
    specification("11111111-2222-3333-4444-555555555555"),
    specification(FIRST, products_per_call=1),
    specification(SECOND, suspended=True),
)


def engine(rng: Random) -> None:
    """Fifty records, until each has its outcome."""
    World(rng).run()


class World:
    """Everything around the core, as simple as can be."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._reader = RequestReader(registry=True, max_bytes=1 << 20)
        self._core = Core(
            self._reader,
            Policy(request_deadline=100.0, max_products=20),
            precedence=partial(Precedence, string_encodings),
        )
        self._publications = Publications(Topics("requests", "results", "dlq"), "group", ResultEncoder(), 1 << 20)
        self._at = Instant(0.0, 1.7e9)
        self._said = False
        self._outcomes: Counter[int] = Counter()
        self._events: list[Event] = []
        self._commands: list[Command] = []

    def run(self) -> None:
        rng, core = self._rng, self._core
        records = [self._record(offset) for offset in range(RECORDS)]
        self._post(MembershipChanged(member=True))
        self._post(Assigned(0, 1, 0, None))
        while sum(self._outcomes.values()) < RECORDS and self._at.mono < LONGEST_SECONDS:
            taken, records = records[: (most := rng.randint(0, RECORDS))], records[most:]
            if taken:
                self._post(Fetched({0: ReadRange(1, taken[0].offset, taken[-1].offset + 1)}, taken))
            self._turn()
            self._at = Instant(self._at.mono + STEP_SECONDS, self._at.wall + STEP_SECONDS)
            self._post(Tick())
            self._turn()
        assert Counter(range(RECORDS)) == self._outcomes
        assert 0 == core.status(self._at).in_flight_bytes

    def _record(self, offset: int) -> Record:
        rng = self._rng
        key = rng.choice((None, b"", b"key", mutated(rng, b"key")))
        return fetched_record(
            0, offset, rng.choice((-1, 0, 1_700_000_000_000)), key, record_value(rng), record_headers(rng)
        )

    def _turn(self) -> None:
        """Carry out commands, and those that follow from what answers them, in turns of a few events."""
        while self._commands or self._events:
            commands, self._commands = self._commands, []
            for command in commands:
                self._carry_out(command)
            events, self._events = self._events, []
            while events:
                most = self._rng.randint(1, 4)
                self._commands += self._core.handle(events[:most], self._at)
                del events[:most]

    def _post(self, event: Event) -> None:
        self._events.append(event)

    def _carry_out(self, command: Command) -> None:
        match command:
            case StartCall():
                self._post(CallFinished(command.call_id, self._answer()))
            case Commit():
                self._commit(command)
            case ConfirmDirectory(asked_at):
                self._post(DirectoryConfirmed(asked_at, None if self._said else KNOWN))
                self._said = True
            case LookUpSchema(reference):
                self._look_up(reference)
            case _:
                pass

    def _answer(self) -> CallOutcome:
        rng = self._rng
        return rng.choice(
            (
                *(Receipt("tracking-1"), Receipt("tracking-2"), Receipt("\U0001f600" * 1000)),
                *(Refusal(400, "no"), Refusal(401, ""), Refusal(404, "x" * 300), Unacknowledged(200, "hello")),
                CallFailure("HTTP 503", may_have_reached=False, status=503),
                CallFailure(
                    "HTTP 429", may_have_reached=False, status=429, retry_after=rng.choice((0.0, 5.0, 86_400.0))
                ),
                CallFailure("no answer", may_have_reached=True),
            )
        )

    def _look_up(self, reference: Hashable) -> None:
        if reference == NAMED:
            self._reader.learn(NAMED, SCHEMA)
            self._post(SchemaFound(NAMED))
        elif self._rng.random() < 0.1:
            self._post(SchemaUnavailable(reference, "the registry is away"))
        else:
            self._post(SchemaMissing(reference))

    def _commit(self, commit: Commit) -> None:
        if self._rng.random() < 0.1:
            self._finished(commit, TransactionResult.ABORTED)
            return
        for part in commit.partitions:
            for outcome, publication in zip(part.outcomes, self._publications.publications(part.outcomes), strict=True):
                self._check(publication)
                self._check(self._publications.reduced(outcome, smallest=True))
                self._outcomes[outcome.record.offset] += 1
        self._finished(commit, TransactionResult.COMMITTED)

    def _finished(self, commit: Commit, result: TransactionResult) -> None:
        self._post(TransactionFinished(commit, result, frozenset({0})))

    def _check(self, publication: Publication) -> None:
        topic, _, _, headers = publication
        assert topic in ("results", "dlq")
        assert "dj-api-key" not in {name.lower() for name, _ in headers}
        assert all(isinstance(value, bytes | None) for _, value in headers)
