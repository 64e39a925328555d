"""Trace of the events of one core, from its start, for ``python -m tests.simulation --replay FILE``.

Each line is one JSON document: first the core's arguments, then each turn with its time, its events, the answers that
the core got while it handled them (decoded values, conflicts found), and the commands that followed.

A trace holds no payload and no secret. A record is its coordinates, its size and a digest of its value; what the core
reads of a request (ids and products) is written beside the digest, once. API keys, credentials and base URLs are
replaced by pseudonyms: keyed digests whose key exists in this process only. See docs/decisions/0040.
"""

import json
import secrets
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, fields
from hashlib import blake2b
from typing import Any, TypeAlias

from consumer.domain.authorization import is_blank, key_digest
from consumer.domain.calls import CallFailure, CallOutcome, Receipt
from consumer.domain.model import ApiKey, Directory
from consumer.domain.outcome import DeadLettered, Failed, Partial, Verdict
from consumer.domain.retry import Backoff
from consumer.engine.clock import Instant
from consumer.engine.commands import Command, Commit, StartCall
from consumer.engine.credentials import Credentials
from consumer.engine.events import CallFinished, DirectoryConfirmed, Event, Fetched, ThreadFailed, TransactionFinished
from consumer.engine.policy import Policy
from consumer.engine.ports import Decoder, NotARequest, SchemaNeeded
from consumer.engine.precedence import Encodings, Precedence
from consumer.engine.records import Record
from consumer.engine.request_headers import RequestHeaders, read_headers
from consumer.engine.requests import Request
from schemas.contract import OPERATOR
from schemas.signature import SIGNER_DIGITS, Content, Signature, signer

VERSION = 5
"""Of the form of the lines."""

Json: TypeAlias = Any
"""A value that ``json`` can write and read."""
Write: TypeAlias = Callable[[str], bool]
"""Keep a line; ``False`` where no more lines are kept."""


class EventTrace:
    """Writes a trace of one core.

    That core gets the trace as its decoder, with ``credentials``, and ``precedence`` for its partitions.
    """

    def __init__(
        self,
        write: Write,
        decoder: Decoder,
        encodings: Encodings,
        policy: Policy,
        salt: str = "",
        backoff: Backoff | None = None,
        credentials: Credentials | None = None,
    ) -> None:
        given = credentials or Credentials()
        self.credentials = Credentials(given.policy, self)
        self._verifier = given.verifier
        self._decoder = decoder
        self._encodings = encodings
        self._policy = policy
        self._secret = secrets.token_bytes(32)
        self._kinds: dict[str, str] = {}
        """Digest of a value -> what it was decoded to, as written last."""
        self._decoded: dict[str, Json] = {}
        """Since the last turn: digest -> what it was decoded to, where that is new."""
        self._verified: dict[str, bool] = {}
        """Since the last turn: secret and signature -> whether they match."""
        self._conflicts: list[tuple[int, int]] = []
        """Since the last turn: (offset of the conflict or -1, bytes searched)."""
        self._write = write
        made_of = {
            "policy": asdict(policy),
            "salt": salt,
            "backoff": asdict(backoff or Backoff()),
            "credentials": asdict(given.policy),
        }
        self._open = write(_line({"trace": VERSION, **made_of}))

    def decode(self, value: bytes | None, schema_header: bytes | None) -> dict[str, Any] | NotARequest | SchemaNeeded:
        """Decode a value as ``Decoder.decode`` does, and remember the outcome for the next line of the trace."""
        decoded = self._decoder.decode(value, schema_header)
        if self._open:
            self._note_decoded(self._digest(value, schema_header), decoded)
        return decoded

    def matches(self, secret: bytes, signature: Signature, content: Content) -> bool:
        """Verify a signature as ``Verifier.matches`` does, and remember the outcome for the next line of the trace."""
        found = self._verifier.matches(secret, signature, content)
        if self._open:
            self._verified[f"{self._pseudonym(secret)} {self._tag(signature, content)}"] = found
        return found

    def precedence(self) -> Precedence[Request]:
        """Return the precedence of a new assignment, whose findings become part of the trace."""
        return _TracedPrecedence(self._encodings, self._policy, self._conflicts if self._open else [])

    def record(self, events: Iterable[Event], at: Instant, commands: Iterable[Command]) -> None:
        """Write the events that were handled at ``at``, and the commands that they led to."""
        if not self._open:
            return
        line: dict[str, Json] = {"at": at, "events": [self._event(event) for event in events]}
        if self._decoded:
            line["decoded"] = self._decoded
        if self._verified:
            line["verified"] = self._verified
        if self._conflicts:
            line["conflicts"] = self._conflicts
        told = [command_form(command) for command in commands]
        if told:
            line["commands"] = told
        self._open = self._write(_line(line))
        self._decoded = {}
        self._verified = {}
        self._conflicts.clear()
        if not self._open:
            self._kinds.clear()

    def _note_decoded(self, digest: str, decoded: dict[str, Any] | NotARequest | SchemaNeeded) -> None:
        if isinstance(decoded, SchemaNeeded):
            kind, form = f"needs {decoded.reference}", {"needs": str(decoded.reference)}
        elif isinstance(decoded, NotARequest):
            kind, form = "no request", {"not_a_request": decoded.reason}
        else:
            kind, form = "request", {"request": _body_form(decoded)}
        if self._kinds.get(digest) != kind:
            self._kinds[digest] = kind
            self._decoded[digest] = form

    # -- events ----------------------------------------------------------------------------------------

    def _event(self, event: Event) -> Json:
        name = type(event).__name__
        match event:
            case Fetched():
                return [name, {str(each): read for each, read in event.ranges.items()}, self._records(event.records)]
            case TransactionFinished():
                trouble = asdict(event.trouble) if event.trouble is not None else None
                return [name, event.commit.number, event.result.name, sorted(event.kept), trouble]
            case CallFinished():
                return [name, event.call_id, _outcome_form(event.outcome)]
            case DirectoryConfirmed():
                directory = self._directory(event.directory) if event.directory is not None else None
                return [name, event.asked_at, directory]
            case ThreadFailed():
                return [name, type(event.problem).__name__]
            case _:
                return [name, *_fields(event)]

    def _records(self, records: Sequence[Record]) -> Json:
        return [self._record(record) for record in records]

    def _record(self, record: Record) -> Json:
        facts = read_headers(record.headers)
        caller = facts.caller if facts.caller is None else facts.caller == OPERATOR
        problem = record.problem or facts.unreadable
        digest = self._digest(record.value, facts.schema_id)
        credential = self._credential(facts, record.value)
        return [record.partition, record.offset, record.size, digest, credential, caller, problem]

    def _credential(self, facts: RequestHeaders, value: bytes | None) -> Json:
        """Return the pseudonym of a key, or ``{"signature": ...}`` with a header that says the same to a replay."""
        if facts.signature is None:
            return self._key(facts.api_key)
        signature = Signature.read(facts.signature)
        if signature is None:
            return {"signature": "" if is_blank(facts.signature) else "malformed"}
        tag = self._tag(signature, Content(facts.schema_id, facts.caller, value))
        return {"signature": f"v1:{self._signer(signature.signer)}:{tag}"}

    def _tag(self, signature: Signature, content: Content) -> str:
        """Return a pseudonym of a signature and of what it covers, in the form of an HMAC."""
        covered = f"{self._digest(content.value, content.schema_id)} {content.client!r} ".encode() + signature.tag
        return b64encode(blake2b(covered, key=self._secret, digest_size=32).digest()).decode()

    def _signer(self, name: str) -> str:
        return self._pseudonym(name.encode())[:SIGNER_DIGITS]

    def _key(self, api_key: bytes | None) -> str | None:
        """Return the pseudonym of a key; a blank one stays blank."""
        if api_key is None:
            return None
        return "" if is_blank(api_key) else self._pseudonym(key_digest(api_key))

    def _directory(self, directory: Directory) -> Json:
        specifications = [asdict(each) for each in directory.specifications.values()]
        for each in specifications:
            each["credential"] = self._pseudonym(each["credential"].encode()) if each["credential"] else ""
            each["base_url"] = self._pseudonym(each["base_url"].encode())
        keys = [
            [self._pseudonym(digest), self._signer(signer(digest)), self._api_key(key)]
            for digest, key in directory.api_keys.items()
        ]
        return {"version": directory.version, "specifications": specifications, "api_keys": keys}

    def _api_key(self, key: ApiKey) -> Json:
        secret = key.signing_secret
        return {**asdict(key), "signing_secret": None if secret is None else self._pseudonym(secret)}

    def _digest(self, value: bytes | None, schema_header: bytes | None) -> str:
        return self._pseudonym(b"%d %b" % (len(schema_header or b""), schema_header or b"") + (value or b""))

    def _pseudonym(self, data: bytes) -> str:
        return blake2b(data, key=self._secret, digest_size=12).hexdigest()


class _TracedPrecedence(Precedence[Request]):
    """Remembers what it found: a replay has no values to search."""

    __slots__ = ("_found",)

    def __init__(self, encodings: Encodings, policy: Policy, found: list[tuple[int, int]]) -> None:
        super().__init__(encodings, policy)
        self._found = found

    def conflict(self, request: Request) -> Request | None:
        before = self.searched
        older = super().conflict(request)
        self._found.append((older.record.offset if older is not None else -1, self.searched - before))
        return older


def command_form(command: Command) -> Json:
    """Return a command as it stands in a trace: JSON without payload, the same for the same command."""
    match command:
        case StartCall(call_id, specification, products, parts):
            checksum = zlib.crc32(json.dumps(list(products.items())).encode())
            return ["StartCall", call_id, specification.id, len(parts), len(products), checksum]
        case Commit(number, partitions):
            return ["Commit", number, [_commit_form(each) for each in partitions]]
        case _:
            return [type(command).__name__, *_fields(command)]


def _commit_form(part: Any) -> Json:  # noqa: ANN401 - commands.PartitionCommit
    outcomes = [[request.record.offset, _verdict_form(request.verdict)] for request in part.outcomes]
    return [part.partition, part.epoch, part.offset, part.metadata, outcomes]


def _verdict_form(verdict: Verdict | None) -> str:
    match verdict:
        case Failed() | Partial():
            return f"{type(verdict).__name__} {verdict.error.code}"
        case DeadLettered():
            return f"DeadLettered {verdict.reason}"
        case _:
            return "Synchronized"


def _outcome_form(outcome: CallOutcome) -> Json:
    """Return a call's outcome without Mirakl's own words."""
    match outcome:
        case Receipt():
            return ["Receipt", outcome.tracking_id]
        case CallFailure():
            ours = outcome.ours
            return ["CallFailure", outcome.reason, outcome.may_have_reached, outcome.status, outcome.retry_after, ours]
        case _:
            return [type(outcome).__name__, outcome.status]


def _body_form(body: dict[str, Any]) -> Json:
    products = [[each["miraklProductId"], each["productSku"]] for each in body["products"]]
    return [body["requestId"], body["requestedAt"], body["clientSpecificationId"], products]


def _fields(value: Event | Command) -> Iterator[Json]:
    for field in fields(value):
        each = getattr(value, field.name)
        yield str(each) if field.name == "reference" else _plain(each)


def _plain(value: Any) -> Json:  # noqa: ANN401 - the field of an event or a command
    """Return a field as JSON, bytes in hex."""
    if isinstance(value, bytes):
        return value.hex()
    if value is None or isinstance(value, bool | int | float | str | list | tuple):
        return value
    if isinstance(value, dict):
        return {str(key): each for key, each in value.items()}
    return asdict(value)


def _line(document: Json) -> str:
    return json.dumps(document, separators=(",", ":")) + "\n"
