"""A world around one core, small enough to read: its clock is a number, its answers are given by the test."""

import json
from collections.abc import Hashable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

from consumer.domain.authorization import key_digest
from consumer.domain.calls import CallFailure, CallOutcome, Receipt
from consumer.domain.model import ApiKey, ClientSpecification, Directory, build_directory
from consumer.domain.outcome import DeadLettered, Failed, Partial, Synchronized, Verdict
from consumer.domain.retry import Backoff
from consumer.engine.clock import Instant
from consumer.engine.commands import (
    Command,
    Commit,
    ConfirmDirectory,
    Drained,
    LookUpSchema,
    Pause,
    Reload,
    ReportIgnoredMap,
    Reread,
    Resume,
    StartCall,
    Stopped,
)
from consumer.engine.core import Core
from consumer.engine.credentials import Credentials
from consumer.engine.events import (
    Assigned,
    CallFinished,
    DirectoryConfirmed,
    Event,
    Fetched,
    MembershipChanged,
    Tick,
    TransactionFinished,
    TransactionResult,
    TransactionTrouble,
    Unassigned,
)
from consumer.engine.policy import Policy
from consumer.engine.ports import NotARequest, SchemaNeeded
from consumer.engine.precedence import Precedence
from consumer.engine.records import ReadRange, Record
from consumer.engine.requests import Request
from consumer.engine.status import EngineStatus
from schemas.contract import REQUESTS_TOPIC, DeadLetterReason
from schemas.signature import Content, Signing, signing_secret
from tests.support.builders import api_key, client_specification, fetched_record

WALL = 1_700_000_000.0
KEY = b"operator-key"
FIRST = "00000000-0000-0000-0000-000000000001"
SECOND = "00000000-0000-0000-0000-000000000002"
TICK = 0.1

CommandT = TypeVar("CommandT", bound=Command)


def specification(id_: str = FIRST, **fields: Any) -> ClientSpecification:  # noqa: ANN401 - any of its fields
    """An active specification of the tenant ``default`` that takes 100 products a call, two calls at once."""
    plain = {"name": f"shop-{id_[-1]}", "products_per_call": 100, "concurrent_calls": 2}
    return client_specification(id=id_, **plain | fields)


def directory(
    *specifications: ClientSpecification, keys: dict[bytes, ApiKey] | None = None, version: int = 1
) -> Directory:
    """A snapshot with these specifications and, unless told otherwise, the one key ``KEY``."""
    known = {KEY: api_key(signing_secret=signing_secret(KEY))} if keys is None else keys
    return build_directory(version, list(specifications), {key_digest(key): row for key, row in known.items()})


def json_encodings(text: str) -> tuple[bytes]:
    """How a string occurs in the records of these tests."""
    return (json.dumps(text).encode(),)


class JsonDecoder:
    """Records are JSON here; ``?name`` in front of it says that the writer schema ``name`` has to be learnt."""

    def __init__(self) -> None:
        self.learnt: set[str] = set()

    def decode(self, value: bytes | None, schema_header: bytes | None) -> dict[str, Any] | NotARequest | SchemaNeeded:
        """Read what ``body`` has written."""
        if schema_header is not None:
            name = schema_header.decode()
            if name not in self.learnt:
                return SchemaNeeded(name)
        try:
            body = json.loads(value or b"")
        except ValueError:
            return NotARequest(DeadLetterReason.UNREADABLE, "not a request")
        return dict(body)


def body(request_id: str, products: dict[str, str] | None = None, given: str | None = None) -> bytes:
    """The value of a request's record."""
    pairs = {f"id-{request_id}": "sku"} if products is None else products
    return json.dumps(
        {
            "requestId": request_id,
            "requestedAt": 1_700_000_000_000,
            "clientSpecificationId": given,
            "products": [{"miraklProductId": id_, "productSku": sku} for id_, sku in pairs.items()],
        }
    ).encode()


class World:
    """One core, its clock, and what it has asked for so far.

    The database answers at once with ``self.directory``, or not at all while ``database`` is off; a broker commits
    when ``commit`` or ``settle`` is called.
    """

    def __init__(
        self,
        *specifications: ClientSpecification,
        policy: Policy | None = None,
        credentials: Credentials | None = None,
        start: bool = True,
    ) -> None:
        self.decoder = JsonDecoder()
        self.policy = policy or Policy()
        backoff = Backoff(first=1.0, factor=2.0, ceiling=30.0, jitter=0.0)
        self.core = Core(
            self.decoder,
            self.policy,
            backoff=backoff,
            precedence=partial(Precedence, json_encodings, self.policy),
            credentials=credentials,
        )
        self.now = 1000.0
        self.directory = directory(*(specifications or (specification(),)))
        self.changed = True
        self.questions = 0
        self._database = True
        self._asked_at: float | None = None
        self.calls: dict[int, StartCall] = {}
        self.call_log: list[StartCall] = []
        self.transaction: Commit | None = None
        self.committed: list[Request] = []
        self.offsets: dict[int, tuple[int, str]] = {}
        self.paused: set[int] = set()
        self.resumed: list[int] = []
        self.pauses = 0
        self.drained: list[int] = []
        self.reloads: dict[int, Reload] = {}
        self.rereads: list[Reread] = []
        self.ignored_maps: list[ReportIgnoredMap] = []
        self.lookups: list[Hashable] = []
        self.stopped = False
        self.epochs: dict[int, int] = {}
        self._last_epoch = 0
        self._next_offset: dict[int, int] = {}
        self._read_to: dict[int, int] = {}
        if start:
            self.do(MembershipChanged(member=True))
            self.assign(0)

    # -- time and events -------------------------------------------------------------------------------

    @property
    def at(self) -> Instant:
        """The two clocks, which run together."""
        return Instant(self.now, WALL + self.now)

    def do(self, *events: Event) -> None:
        """Let the events of one turn happen, and carry out what follows."""
        for command in self.core.handle(events, self.at):
            self._execute(command)
        if self._database and self._asked_at is not None:
            self.confirm(self._asked_at)

    def wait(self, seconds: float) -> None:
        """Let time pass, tick by tick."""
        end = self.now + seconds
        while self.now < end - 1e-9:
            self.now = min(end, self.now + TICK)
            self.do(Tick())

    def live(self, seconds: float) -> None:
        """Let time pass while the broker commits what comes."""
        end = self.now + seconds
        while self.now < end - 1e-9:
            self.wait(min(TICK, end - self.now))
            if self.transaction is not None:
                self.commit()

    def jump(self, seconds: float) -> None:
        """Let time pass unnoticed, then tick once."""
        self.now += seconds
        self.do(Tick())

    def assign(self, partition: int, offset: int = 0, metadata: str | None = None) -> int:
        """A partition is ours from ``offset`` on; gives its epoch."""
        self._last_epoch += 1
        epoch = self.epochs[partition] = self._last_epoch
        self._next_offset[partition] = self._read_to[partition] = offset
        self.paused.add(partition)  # as the owner thread assigns it: the core has it read
        self.do(Assigned(partition, epoch, offset, metadata))
        return epoch

    def end(self, partition: int) -> None:
        """A partition was lost or given up."""
        del self.epochs[partition]
        self.do(Unassigned([partition]))

    def send(  # noqa: PLR0913 - what a test is not about has a default
        self,
        request_id: str,
        products: dict[str, str] | None = None,
        *,
        given: str | None = None,
        key: bytes | None = KEY,
        caller: bytes | None = b"OPERATOR",
        partition: int = 0,
        schema: str | None = None,
        value: bytes | None = None,
        signed: bool = False,
    ) -> None:
        """One request arrives."""
        value = value or body(request_id, products, given)
        self.fetch([self.record(value, partition, key=key, caller=caller, schema=schema, signed=signed)])

    def record(
        self,
        value: bytes | None,
        partition: int = 0,
        *,
        key: bytes | None = KEY,
        caller: bytes | None = b"OPERATOR",
        schema: str | None = None,
        offset: int | None = None,
        signed: bool = False,
    ) -> Record:
        """The next record of a partition; ``signed`` by the holder of the key, who does not send it."""
        offset = self._next_offset[partition] if offset is None else offset
        self._next_offset[partition] = offset + 1
        headers = [("dj-api-key", key), ("dj-client", caller)]
        if schema is not None:
            headers.append(("__value_schema_id", schema.encode()))
        if signed:
            content = Content(schema.encode() if schema is not None else None, caller, value)
            headers[0] = ("dj-signature", Signing(REQUESTS_TOPIC).header(key or b"", content))
        return fetched_record(partition, offset, 1_700_000_000_000, None, value, headers)

    def fetch(self, records: Sequence[Record]) -> None:
        """A list of records arrives, which continues what was read before."""
        ends = {record.partition: record.offset + 1 for record in records}
        ranges = {
            partition: self.read_on(partition, end) for partition, end in ends.items() if partition in self.epochs
        }
        self.do(Fetched(ranges, records))

    def reach(self, partition: int, position: int) -> None:
        """The log's end was reached."""
        self.do(Fetched({partition: self.read_on(partition, position)}, []))

    def read_on(self, partition: int, end: int) -> ReadRange:
        """The range from where reading has come to before ``end``."""
        begin, self._read_to[partition] = self._read_to[partition], end
        return ReadRange(self.epochs[partition], begin, end)

    # -- the parts around ------------------------------------------------------------------------------

    def answer(self, call: StartCall | None = None, outcome: CallOutcome | None = None) -> StartCall:
        """Mirakl answers a call, the oldest by default, with a receipt by default; that takes it a moment."""
        self.now += 0.01
        call = next(iter(self.calls.values())) if call is None else call
        del self.calls[call.call_id]
        self.do(CallFinished(call.call_id, outcome or Receipt(f"t-{call.call_id}")))
        return call

    def fail(self, *, reached: bool = False, status: int | None = 503, retry_after: float | None = None) -> StartCall:
        """The oldest call fails in a way that time may heal."""
        return self.answer(outcome=CallFailure(f"HTTP {status}", reached, status, retry_after))

    def commit(
        self,
        result: TransactionResult = TransactionResult.COMMITTED,
        kept: frozenset[int] | None = None,
        trouble: TransactionTrouble | None = None,
    ) -> Commit:
        """The transaction that is out ends."""
        commit = self.transaction
        assert commit is not None
        self.transaction = None
        if kept is None:  # as the committer does: what is no longer ours is left out
            kept = frozenset(
                each.partition for each in commit.partitions if self.epochs.get(each.partition) == each.epoch
            )
        if result is TransactionResult.COMMITTED:
            for part in commit.partitions:
                if part.partition in kept:
                    self.committed += part.outcomes
                    self.offsets[part.partition] = (part.offset, part.metadata)
        self.do(TransactionFinished(commit, result, kept, trouble))
        return commit

    def settle(self) -> None:
        """Let everything that waits for a transaction only be committed."""
        for _ in range(100):
            if self.transaction is not None:
                self.commit()
            before = self.now
            self.wait(TICK)
            if self.transaction is None:
                return
            assert self.now > before
        raise AssertionError("transactions without end")

    def answer_calls(self, calls: int, *, seconds: float) -> None:
        """Requests come one after the other, and the call of each is answered after ``seconds``: it is usual then."""
        for _ in range(calls):
            self.send("usual")
            self.wait(seconds)
            self.answer()
            self.settle()

    def change(self, *specifications: ClientSpecification, keys: dict[bytes, ApiKey] | None = None) -> None:
        """The database changes; the next question will tell."""
        self.directory = directory(*specifications, keys=keys, version=self.directory.version + 1)
        self.changed = True

    @property
    def database(self) -> bool:
        """Does the database answer? Once it does again, the question that was left open is answered."""
        return self._database

    @database.setter
    def database(self, answers: bool) -> None:
        self._database = answers
        if answers and self._asked_at is not None:
            self.confirm(self._asked_at)

    def confirm(self, asked_at: float) -> None:
        """The database answers."""
        self._asked_at = None
        changed, self.changed = self.changed, False
        self.do(DirectoryConfirmed(asked_at, self.directory if changed else None))

    # -- what came out ---------------------------------------------------------------------------------

    @property
    def status(self) -> EngineStatus:
        return self.core.status(self.at)

    def verdict(self, request_id: str) -> Verdict:
        """The committed verdict of a request."""
        (found,) = [request for request in self.committed if request.request_id == request_id]
        assert found.verdict is not None
        return found.verdict

    def code(self, request_id: str) -> str:
        """Its error code, or what else became of it."""
        verdict = self.verdict(request_id)
        if isinstance(verdict, Failed | Partial):
            return verdict.error.code.value
        return "SYNCHRONIZED" if isinstance(verdict, Synchronized) else "DEAD"

    @property
    def answered(self) -> list[str]:
        """Request ids with a committed outcome, in the order of the commits."""
        return [request.request_id for request in self.committed]

    @property
    def dead(self) -> list[DeadLettered]:
        return [request.verdict for request in self.committed if isinstance(request.verdict, DeadLettered)]

    def batches(self) -> Iterator[list[str]]:
        """The Mirakl ids of each call ever started."""
        return (list(call.products) for call in self.call_log)

    def _execute(self, command: Command) -> None:  # noqa: C901 - one case for each command
        match command:
            case StartCall():
                self.calls[command.call_id] = command
                self.call_log.append(command)
            case Commit():
                assert self.transaction is None, "two transactions at once"
                self.transaction = command
            case Pause(partitions):
                self.paused.update(partitions)
                self.pauses += 1
            case Resume(partitions):
                self.paused.difference_update(partitions)
                self.resumed += partitions
            case Drained(partitions):
                self.drained += partitions
            case Reload(partition):
                self.reloads[partition] = command
            case Reread():
                self.rereads.append(command)
            case ReportIgnoredMap():
                self.ignored_maps.append(command)
            case ConfirmDirectory(asked_at):
                self.questions += 1
                self._asked_at = asked_at
            case LookUpSchema(reference):
                self.lookups.append(reference)
            case Stopped():
                self.stopped = True
