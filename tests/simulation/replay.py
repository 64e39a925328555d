"""Run a trace (``consumer.engine.trace``) through the core again, and compare the commands."""

import json
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from consumer.domain.authorization import CredentialPolicy, key_digest
from consumer.domain.calls import CallFailure, CallOutcome, Receipt, Refusal, Unacknowledged
from consumer.domain.model import ApiKey, AuthScheme, ClientSpecification, Directory, QuotaPart, Role, build_directory
from consumer.domain.retry import Backoff
from consumer.engine import events
from consumer.engine.clock import Instant
from consumer.engine.commands import Commit
from consumer.engine.core import Core
from consumer.engine.credentials import Credentials
from consumer.engine.events import (
    Assigned,
    CallFinished,
    DirectoryConfirmed,
    Event,
    Fetched,
    PartitionTroubles,
    TransactionFinished,
    TransactionResult,
    TransactionTrouble,
)
from consumer.engine.policy import Policy
from consumer.engine.ports import NotARequest, SchemaNeeded
from consumer.engine.precedence import Precedence
from consumer.engine.records import ReadRange, Record
from consumer.engine.requests import Request
from consumer.engine.trace import VERSION, command_form
from schemas.contract import OPERATOR, Credential, DeadLetterReason
from schemas.explanation import Explanation
from schemas.signature import Content, Signature


class ReplayError(Exception):
    """The trace cannot be read, or the core did something else than it says."""


@dataclass(frozen=True, slots=True)
class Step:
    """One turn of a trace, handled again."""

    number: int
    at: Instant
    events: str
    """Their kinds."""
    commands: list[Any]
    """As they stand in a trace."""

    def __str__(self) -> str:
        return "\n".join([f"{self.at.mono:.3f} {self.events}", *(f"    {json.dumps(each)}" for each in self.commands)])


def replay(lines: Iterable[str]) -> Iterator[Step]:
    """Handle the events of a trace, turn by turn. Raises ``ReplayError`` where other commands follow than recorded."""
    documents = (json.loads(line) for line in lines)
    header: dict[str, Any] = next(documents, {})
    if header.get("trace") != VERSION:
        raise ReplayError(f"This is no trace of version {VERSION}. Record it with this version of the service.")
    stand_in = _StandIn()
    accepted, *ages = header["credentials"].values()
    credentials = Credentials(CredentialPolicy(tuple(map(Credential, accepted)), *ages), stand_in)
    policy, backoff = Policy(**header["policy"]), Backoff(**header["backoff"])
    core = Core(stand_in, policy, header["salt"], backoff, stand_in.precedence, credentials)
    reader = _Reader()
    for number, line in enumerate(documents, 1):
        at = Instant(*line["at"])
        stand_in.decoded.update(line.get("decoded", {}))
        stand_in.verified.update(line.get("verified", {}))
        stand_in.found.extend(line.get("conflicts", ()))
        commands = core.handle([reader.event(each) for each in line["events"]], at)
        reader.commits.update((each.number, each) for each in commands if isinstance(each, Commit))
        told = json.loads(json.dumps([command_form(each) for each in commands]))
        step = Step(number, at, ", ".join(name for name, *_ in line["events"]), told)
        yield step
        if told != line.get("commands", []):
            recorded = "\n".join(f"    {json.dumps(each)}" for each in line.get("commands", [])) or "    nothing"
            raise ReplayError(f"turn {number} led to other commands:\n{step}\nrecorded were:\n{recorded}")


class _StandIn:
    """In the place of the decoder and of the values that are not in a trace."""

    def __init__(self) -> None:
        self.decoded: dict[str, Any] = {}
        self.verified: dict[str, bool] = {}
        self.found: deque[tuple[int, int]] = deque()

    def decode(self, value: bytes | None, _schema_header: bytes | None) -> dict[str, Any] | NotARequest | SchemaNeeded:
        """Return what the value with this digest was decoded to."""
        form = self.decoded[(value or b"").decode()]
        if "needs" in form:
            return SchemaNeeded(form["needs"])
        if "not_a_request" in form:
            return NotARequest(DeadLetterReason(form["not_a_request"]), "as recorded")
        request_id, requested_at, given, products = form["request"]
        return {
            "requestId": request_id,
            "requestedAt": requested_at,
            "clientSpecificationId": given,
            "products": [{"miraklProductId": id_, "productSku": sku} for id_, sku in products],
        }

    def matches(self, secret: bytes, signature: Signature, _content: Content) -> bool:
        """Return whether they matched when the trace was recorded."""
        return self.verified[f"{secret.decode()} {signature.tag.decode()}"]

    def precedence(self) -> Precedence[Request]:
        return _FoundPrecedence(self.found)


class _FoundPrecedence(Precedence[Request]):
    """Finds what was found when the trace was recorded."""

    __slots__ = ("_found",)

    def __init__(self, found: deque[tuple[int, int]]) -> None:
        super().__init__()
        self._found = found

    def conflict(self, _request: Request) -> Request | None:
        if not self._found:
            raise ReplayError("The core looked for a conflict that it did not look for when this was recorded.")
        offset, searched = self._found.popleft()
        self.searched += searched
        return self.undecided[offset].request if offset >= 0 else None


class _Reader:
    """Events as they stand in a trace, to events."""

    def __init__(self) -> None:
        self.commits: dict[int, Commit] = {}

    def event(self, form: list[Any]) -> Event:
        name, *values = form
        kind: Any = getattr(events, name)
        if kind is Fetched:
            ranges, records = values
            return Fetched({int(each): ReadRange(*read) for each, read in ranges.items()}, [*map(_record, records)])
        if kind is TransactionFinished:
            number, result, kept, trouble = values
            return TransactionFinished(
                self.commits.pop(number),
                TransactionResult[result],
                frozenset(kept),
                TransactionTrouble(**trouble) if trouble else None,
            )
        if kind is CallFinished:
            return CallFinished(values[0], _outcome(*values[1]))
        if kind is DirectoryConfirmed:
            return DirectoryConfirmed(values[0], _directory(values[1]) if values[1] is not None else None)
        if kind is Assigned:
            values[-1] = bytes.fromhex(values[-1])
        if kind is PartitionTroubles:
            values = [{int(each): message for each, message in values[0].items()}]
        event: Event = kind(*values)
        return event


def _record(form: list[Any]) -> Record:
    partition, offset, size, digest, credential, operator, problem = form
    headers = []
    if isinstance(credential, dict):
        headers.append(("dj-signature", credential["signature"].encode()))
    elif credential is not None:
        headers.append(("dj-api-key", credential.encode()))
    if operator is not None:
        headers.append(("dj-client", OPERATOR if operator else b"other"))
    return Record(partition, offset, -1, None, digest.encode(), headers, problem, size)


def _outcome(kind: str, *values: Any) -> CallOutcome:  # noqa: ANN401 - JSON
    match kind:
        case "Receipt":
            return Receipt(*values)
        case "CallFailure":
            return CallFailure(*values)
        case "Refusal":
            return Refusal(values[0], "")
        case _:
            return Unacknowledged(values[0], "")


def _directory(form: Any) -> Directory:  # noqa: ANN401 - JSON
    specifications = [
        ClientSpecification(
            **{
                **each,
                "auth_scheme": AuthScheme(each["auth_scheme"]),
                "unusable": each["unusable"] and Explanation(*each["unusable"]),
                "part": each["part"] and QuotaPart(**each["part"]),
            }
        )
        for each in form["specifications"]
    ]
    keys = {pseudonym: (name, _api_key(key)) for pseudonym, name, key in form["api_keys"]}
    signers: dict[str, tuple[ApiKey, ...]] = {}
    for name, key in keys.values():
        signers[name] = (*signers.get(name, ()), key)
    known = {key_digest(pseudonym.encode()): key for pseudonym, (_, key) in keys.items()}
    return replace(build_directory(form["version"], specifications, known), signers=signers)


def _api_key(form: dict[str, Any]) -> ApiKey:
    secret = form["signing_secret"]
    known = {"role": Role(form["role"]), "signing_secret": None if secret is None else secret.encode()}
    return ApiKey(**{**form, **known})
