"""Decisions about one record: the checks of the contract, in their order, on one snapshot of the directory.

The result is a client specification to call, a final verdict, or what the decision lacks. ``Admission`` keeps the
requests that wait for a schema or a confirmed snapshot, and has them decided again.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

from consumer.domain.authorization import refuse
from consumer.domain.model import ApiKey, ClientSpecification, Directory
from consumer.domain.outcome import RESTS_ON_DIRECTORY, DeadLettered, Failed, ResyncError
from consumer.domain.resolution import resolve, unfit
from consumer.domain.validation import validate
from consumer.engine.clock import Instant
from consumer.engine.credentials import Credentials
from consumer.engine.ports import Decoder, NotARequest, SchemaNeeded
from consumer.engine.requests import Request
from schemas.contract import DeadLetterReason, canonical_uuid


@dataclass(frozen=True, slots=True)
class AwaitDirectory:
    """A *no* that depends on the database, and so needs a snapshot that was confirmed after the record was read."""


@dataclass(frozen=True, slots=True)
class Behind:
    """The request waits behind an older one of its partition, which is undecided and may name one of its ids."""

    older: Request


Routed: TypeAlias = ClientSpecification | Failed
Decision: TypeAlias = Routed | DeadLettered | SchemaNeeded | AwaitDirectory
_Requester: TypeAlias = tuple[ApiKey | None, ResyncError | None]
"""(valid API key, why its holder may not resynchronize)."""
_Route: TypeAlias = tuple[str | None, Routed]
"""(the given id in lower case, decision)."""


class Decider:
    """Decides about records on the newest snapshot, in the contract's order of checks.

    Remembers requesters and routes within one turn, since records of a list often share them.
    """

    def __init__(self, decoder: Decoder, credentials: Credentials, max_products: int) -> None:
        self._decoder = decoder
        self._credentials = credentials
        self._max_products = max_products
        self.directory = Directory(-1, {}, {}, {})
        self.confirmed_at = float("-inf")
        """Monotonic seconds at which the question was asked that ``directory`` answers."""
        self._asked_of: tuple[Instant, Directory] | None = None
        """The moment and the snapshot for which the next two hold: the records of one turn repeat few questions."""
        self._requesters: dict[tuple[bytes | None, bytes | None], _Requester] = {}
        self._routes: dict[tuple[str, str | None], _Route] = {}

    def decide(self, request: Request, at: Instant) -> Decision:
        """Read a record, check it and fill the request's fields.

        Return a specification to call, a final verdict, or what the decision has to wait for. Never raises, whatever
        the record.
        """
        headers = request.headers
        unreadable = request.record.problem or headers.unreadable
        if unreadable is not None:
            return self._dead_letter(request, DeadLetterReason.UNREADABLE, unreadable, at)
        body = self._decoder.decode(request.record.value, headers.schema_id)
        if isinstance(body, SchemaNeeded):
            return self._before_schema(request, body, at)
        if isinstance(body, NotARequest):
            return self._dead_letter(request, body.reason, body.message, at)
        request.request_id = body["requestId"]
        request.requested_at = body["requestedAt"]
        decision = self._confirmed(request, self._check(request, body, at))
        if isinstance(decision, AwaitDirectory) and not request.products:  # what newer ones may be in conflict with
            request.products = {each["miraklProductId"]: each["productSku"] for each in body["products"]}
        return decision

    def decide_again(self, request: Request, at: Instant) -> Routed | AwaitDirectory:
        """Resolve the client specification of a request again: the directory has changed, all else was checked."""
        self._forget_former(at)
        return self._confirmed(request, self._route(request, request.given, at))

    def no_schema(self, request: Request, message: str, at: Instant) -> DeadLettered:
        """Return the dead letter of a record whose writer schema certainly does not exist."""
        return self._dead_letter(request, DeadLetterReason.UNKNOWN_SCHEMA, message, at)

    def _before_schema(self, request: Request, needed: SchemaNeeded, at: Instant) -> SchemaNeeded | AwaitDirectory:
        """Identify the sender first: a request that is refused in any case is in conflict with no other one."""
        self._forget_former(at)
        refusal = self._identify(request, at)
        if refusal is not None and isinstance(self._confirmed(request, _failed(refusal, None, at)), AwaitDirectory):
            return AwaitDirectory()
        request.refusal = refusal
        return needed

    def _check(self, request: Request, body: dict[str, Any], at: Instant) -> Routed:
        self._forget_former(at)
        refusal = request.refusal
        if refusal is None:
            refusal = self._identify(request, at)
        if request.headers.signature is not None and request.tenant is not None:
            read_at = at.wall - (at.mono - request.read_at)
            late = self._credentials.untimely(request.requested_at, read_at)
            if late is not None:
                _note_key(request, None)
                refusal = late
        if refusal is not None:
            return _failed(refusal, None, at)
        given = body["clientSpecificationId"]
        products = validate(body["products"], given, self._max_products)
        if isinstance(products, ResyncError):
            return _failed(products, None if given is None else canonical_uuid(given), at)
        request.products = products
        return self._route(request, given, at)

    def _identify(self, request: Request, at: Instant) -> ResyncError | None:
        """Note whose request it is; return why its sender may not resynchronize, if so."""
        headers = request.headers
        if headers.signature is not None:  # made for this record: nothing to remember
            known, refusal = self._requester(request, at)
        else:
            who = headers.api_key, headers.caller
            known, refusal = self._requesters.get(who) or self._requesters.setdefault(who, self._requester(request, at))
        _note_key(request, known)
        return refusal

    def _requester(self, request: Request, at: Instant) -> _Requester:
        known = self._known(request, at)
        return (None, known) if isinstance(known, ResyncError) else (known, refuse(known, request.headers.caller))

    def _known(self, request: Request, at: Instant) -> ApiKey | ResyncError:
        return self._credentials.identify(self.directory, request.headers, request.record.value, at.wall)

    def _route(self, request: Request, given: str | None, at: Instant) -> Routed:
        asked = request.tenant or "", given
        route = self._routes.get(asked) or self._routes.setdefault(asked, self._resolved(*asked, at))
        request.given, decision = route
        return decision

    def _resolved(self, tenant: str, given: str | None, at: Instant) -> _Route:
        canonical = canonical_uuid(given) if given is not None else None
        specification = resolve(self.directory, tenant, canonical)
        if isinstance(specification, ResyncError):
            return canonical, _failed(specification, None, at)
        problem = unfit(specification)
        return canonical, specification if problem is None else _failed(problem, specification.id, at)

    def _forget_former(self, at: Instant) -> None:
        """Forget the answers for another event or snapshot."""
        if self._asked_of is None or self._asked_of[0] is not at or self._asked_of[1] is not self.directory:
            self._asked_of = at, self.directory
            self._requesters.clear()
            self._routes.clear()

    def _dead_letter(self, request: Request, reason: DeadLetterReason, message: str, at: Instant) -> DeadLettered:
        known = self._known(request, at)
        _note_key(request, None if isinstance(known, ResyncError) else known)
        return DeadLettered(reason, message)

    def _confirmed(self, request: Request, decision: Routed) -> Routed | AwaitDirectory:
        """Return the decision, unless it is a *no* that rests on a state of the database older than the record."""
        is_no = isinstance(decision, Failed) and decision.error.code in RESTS_ON_DIRECTORY
        return AwaitDirectory() if is_no and self.confirmed_at < request.read_at else decision


def _note_key(request: Request, key: ApiKey | None) -> None:
    request.tenant, request.key_name = (None, None) if key is None else (key.tenant, key.name)


def _failed(error: ResyncError, specification_id: str | None, at: Instant) -> Failed:
    return Failed(specification_id, error, at.millis)
