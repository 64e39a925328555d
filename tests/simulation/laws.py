"""The oracle: what must hold whatever happens, checked while it happens and once it is over.

It knows the world, which the service does not: what was sent, what Mirakl took in, what the stores held when. Of
the service it believes only what is visible outside, but for the bounds and the clock of its core, which it reads.
"""

import gc
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from consumer.domain.calls import CallFailure, Refusal, Unacknowledged
from consumer.domain.model import Directory
from consumer.domain.outcome import RESTS_ON_DIRECTORY, DeadLettered, Failed, Partial, Synchronized, Verdict
from consumer.engine.clock import Instant
from consumer.engine.commands import Commit, StartCall
from consumer.engine.core import Core
from consumer.engine.dispatch.lanes import Call
from consumer.engine.policy import Policy
from consumer.engine.requests import Assignment, Request
from schemas.contract import DeadLetterReason, ErrorCode
from tests.simulation.mirakl import SentCall
from tests.simulation.replica import WALL, Payload, Replica
from tests.simulation.scenario import KEYS, MAX_PRODUCTS, POISON, UNKNOWN_SCHEMA, SentRecord, Shop

if TYPE_CHECKING:
    from tests.simulation.world import World

TICK_SLACK = 0.35
"""Seconds by which something that a tick brings about may come late."""
LONGEST_CALLS = 12
"""Usual calls that have to fit into the time in which calls may start, for a lane to owe an answer in time."""
LONGEST_FACTOR = 4
"""A call lasts at most so many times its Mirakl's pace."""
STALE = Policy().directory_patience + 0.6
LARGEST_RECORD = 700
"""Bytes of the largest record, by which the bound on bytes may be exceeded."""
REFUSALS_FOR_ENTRIES = (400, 413, 422)


@dataclass(frozen=True, slots=True)
class _Push:
    """The first call that carried an id of a request."""

    sku: str
    step: int


@dataclass(slots=True)
class _Calls:
    """Of one process to one Mirakl."""

    every: list[SentCall] = field(default_factory=list)
    out: list[SentCall] = field(default_factory=list)
    failed: list[SentCall] = field(default_factory=list)
    answered_at: float = float("-inf")
    """When the last one was answered."""

    def sort_ended(self) -> None:
        """Find those that have ended meanwhile."""
        for each in self.out:
            if each.ended is not None:
                if isinstance(each.outcome, CallFailure):
                    self.failed.append(each)
                else:
                    self.answered_at = max(self.answered_at, each.ended)
        self.out = [each for each in self.out if each.ended is None]


class Laws:
    """All of them."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._calls: dict[tuple[str, str], _Calls] = {}
        self._counted: dict[int, int] = {}
        self._deep_at = 0.0
        skus: dict[str, set[str]] = {}
        for record in world.plan.records:
            for id_, sku in record.products:
                skus.setdefault(id_, set()).add(sku)
        self._ambiguous = frozenset(id_ for id_, found in skus.items() if len(found) > 1)
        self._pushes: dict[tuple[Assignment, str, str], dict[int, _Push]] = {}
        """(assignment, client specification, ambiguous Mirakl id) -> offset -> its first push."""
        self._epochs: dict[Replica, frozenset[int]] = {}

    def _broken(self, text: str) -> None:
        self._world.violated(text)

    # -- outcomes --------------------------------------------------------------------------------------

    def check_outcome(self, record: SentRecord, payload: Payload) -> None:
        """An outcome is one that the contract gives for this record and this state of the world."""
        verdict, request = payload.verdict, payload.request
        where = f"record {record.partition}:{record.offset} (r{record.number})"
        if isinstance(verdict, DeadLettered):
            self._check_dead_letter(record, verdict, where)
            return
        if not record.readable or (record.schema is not None and record.schema >= UNKNOWN_SCHEMA):
            self._broken(f"{where} cannot be read, and was answered {verdict}")
        if isinstance(verdict, Failed):
            self._check_failure(record, request, verdict, where)
            return
        if not isinstance(verdict, Synchronized | Partial):
            self._broken(f"{where} was published without a verdict")
            return
        self._check_specification(record, request, verdict.client_specification_id, where)
        self._check_taken_in(record, request, verdict, payload, where)

    def _check_dead_letter(self, record: SentRecord, verdict: DeadLettered, where: str) -> None:
        unknown = record.schema is not None and record.schema >= UNKNOWN_SCHEMA
        expected = None
        if not record.readable:
            expected = DeadLetterReason.UNREADABLE
        elif unknown:
            expected = DeadLetterReason.UNKNOWN_SCHEMA
        if verdict.reason is not expected:
            self._broken(f"{where} became a dead letter: {verdict}")

    def _check_specification(self, record: SentRecord, request: Request, id_: str | None, where: str) -> None:
        seen = self._world.database.between(request.read_at - STALE, self._world.loop.now)
        again = request.rerouted
        if not any(judge(record, each) == id_ or (again and self._resolved_again(record, id_, each)) for each in seen):
            self._broken(f"{where} went to {id_}, which no state of the database allows")

    def _check_taken_in(
        self, record: SentRecord, request: Request, verdict: Synchronized | Partial, payload: Payload, where: str
    ) -> None:
        wanted = dict(record.products)
        missing = dict(verdict.unsynchronized) if isinstance(verdict, Partial) else {}
        covered: set[tuple[str, str]] = set()
        for tracking_id in verdict.tracking_ids:
            call = self._world.mirakl.taken_in.get(tracking_id)
            if call is None:
                self._broken(f"{where}: Mirakl never gave tracking id {tracking_id}")
                return
            if call.specification.id != verdict.client_specification_id or call.owner != payload.process.name:
                self._broken(f"{where}: tracking id {tracking_id} is of another client specification or process")
            covered |= call.products.items()
        for id_, sku in wanted.items():
            if id_ not in missing and (id_, sku) not in covered:
                self._broken(f"{where}: {id_} was not taken in under {verdict.tracking_ids}")
        if not missing.items() <= wanted.items():
            self._broken(f"{where}: unsynchronized products that were not asked for")
        count = verdict.synchronized_products if isinstance(verdict, Partial) else len(request.products)
        if count != len(wanted) - len(missing) or (isinstance(verdict, Partial) and not 0 < count < len(wanted)):
            self._broken(f"{where}: {count} products reported of {len(wanted)}, {len(missing)} missing")
        if isinstance(verdict, Partial):
            self._check_cm21_error(record, verdict, verdict.error.code, missing, where)

    def _check_failure(self, record: SentRecord, request: Request, verdict: Failed, where: str) -> None:
        code = verdict.error.code
        if code.name.startswith("CM21"):
            self._check_specification(record, request, verdict.client_specification_id, where)
            self._check_cm21_error(record, verdict, code, dict(record.products), where)
            return
        since = request.read_at if code in RESTS_ON_DIRECTORY else request.read_at - STALE
        seen = self._world.database.between(since, self._world.loop.now)
        if not any(judge(record, each) is code or self._resolved_again(record, code, each) for each in seen):
            self._broken(f"{where} was answered {code} on no state of the database seen after it was read")

    @staticmethod
    def _resolved_again(record: SentRecord, answer: str | ErrorCode | None, directory: Directory) -> bool:
        """A request that waits is resolved anew when its specification goes; its key is not asked for again."""
        tenant, _ = KEYS.get(record.api_key or b"", ("", None))
        return _resolve(record, directory, tenant) == answer

    def _check_cm21_error(
        self,
        record: SentRecord,
        verdict: Verdict,
        code: ErrorCode,
        missing: dict[str, str],
        where: str,
    ) -> None:
        specification_id = getattr(verdict, "client_specification_id", None) or ""
        shop = self._world.mirakl.shops[specification_id]
        calls = [
            call
            for (_, id_), calls in self._calls.items()
            if id_ == specification_id
            for call in calls.every
            if any(call.products.get(product) == sku for product, sku in missing.items())
        ]
        match code:
            case ErrorCode.CM21_REFUSED:
                self._check_refusal(record, missing, calls, where)
            case ErrorCode.CM21_UNAUTHORIZED:
                if not any(isinstance(call.outcome, Refusal) and call.outcome.unauthorized for call in calls):
                    self._broken(f"{where}: unauthorized, but Mirakl never said so")
            case ErrorCode.CM21_OUTCOME_UNKNOWN:
                decided = getattr(verdict, "completed_at", 0) / 1000 - WALL
                if not any(_unknown(call, decided) for call in calls):
                    self._broken(f"{where}: no call of it had an unknown outcome")
            case _:
                pass
        if (
            code in (ErrorCode.CM21_UNAVAILABLE, ErrorCode.CM21_OUTCOME_UNKNOWN)
            and shop.always_well
            and self._plain(shop)
        ):
            self._broken(f"{where}: {code} though its Mirakl was always well")

    def _plain(self, shop: Shop) -> bool:
        """Return whether a queue of this plan is answered as fast as its calls are, with time to spare."""
        plan = self._world.plan
        return (
            not self._ambiguous
            and shop.largest_call is None
            and plan.call_timeout >= LONGEST_FACTOR * shop.pace
            and (shop.steady or self._leaves_time(shop))
            and not any(id_.startswith(POISON) for record in plan.records for id_, _ in record.products)
            and not any(fault.kind in ("batch size", "quota", "concurrency") for fault in plan.faults)
            and not any(replica.disturbed for replica in self._world.every)
        )

    def _leaves_time(self, shop: Shop) -> bool:
        """Return whether its longest call ends within the margin, and the deadline is long beside its usual ones.

        One request may be larger than the room there is, since what a record asks for shows once it is read, and
        may meet none but the longest calls.
        """
        plan = self._world.plan
        smallest = min(shop.specification.products_per_call for shop in plan.shops)
        largest = max((len(record.products) for record in plan.records), default=0)
        ahead = LONGEST_CALLS + LONGEST_FACTOR * -(-largest // smallest)
        seconds = plan.limits.request_deadline - plan.limits.call_margin
        return plan.limits.call_margin >= LONGEST_FACTOR * shop.pace and seconds >= ahead * shop.pace

    def _check_refusal(self, record: SentRecord, missing: dict[str, str], calls: list[SentCall], where: str) -> None:
        """A request is refused for its own entries alone."""
        statuses = {call.outcome.status for call in calls if isinstance(call.outcome, Refusal)}
        if not statuses:
            self._broken(f"{where}: refused, but Mirakl never refused a call of it")
        poisoned = any(id_.startswith(POISON) for id_ in missing)
        largest = min((shop.largest_call or 1 << 30) for shop in self._world.mirakl.shops.values())
        too_large = 413 in statuses and len(dict(record.products)) > largest
        if not poisoned and not too_large:
            self._broken(f"{where}: refused for the entries of another request ({sorted(statuses)})")

    # -- calls -----------------------------------------------------------------------------------------

    def call_starts(self, replica: Replica, command: StartCall, call: SentCall) -> None:
        """Before a call leaves the process."""
        specification, now = command.specification, self._world.loop.now
        calls = self._calls.setdefault((replica.process.name, specification.id), _Calls())
        calls.sort_ended()
        what = f"call {call.number} of {replica.process.name} to {specification.name}"
        if not command.products or any(not id_.strip() or not sku for id_, sku in command.products.items()):
            self._broken(f"{what}: blank entries")
        for each in calls.out:
            if any(each.products.get(id_, sku) != sku for id_, sku in command.products.items()):
                self._broken(f"{what}: an id goes out with two SKUs at once")
        seen = [
            each.specifications[specification.id]
            for each in self._world.database.between(
                min(replica.core._admission.decider.confirmed_at, now - STALE), now
            )
            if specification.id in each.specifications
        ]
        if seen and len(command.products) > max(each.products_per_call for each in seen):
            self._broken(f"{what}: {len(command.products)} products in one call")
        if seen and len(calls.out) >= max(each.concurrent_calls for each in seen):
            self._broken(f"{what}: more concurrent calls than allowed")
        if not any(each.credential == specification.credential for each in seen) and seen:
            self._broken(f"{what}: with a credential that was replaced long ago")
        self._check_publishing(replica, what)
        self._check_rest(replica.born, calls, call, what)
        self._check_requests(replica, command, what)
        calls.every.append(call)
        calls.out.append(call)

    def _check_publishing(self, replica: Replica, what: str) -> None:
        """No call starts while results cannot be published, however that looks."""
        since = replica.refused_since
        if since is not None and not replica.disturbed and self._world.loop.now > since + TICK_SLACK:
            self._broken(f"{what}: although no result can be published since {since:.2f}")

    def _check_rest(self, born: float, calls: _Calls, call: SentCall, what: str) -> None:
        """A sick Mirakl is asked by one call alone, and not before it wants to be; quotas fill from the start on."""
        now = self._world.loop.now
        quotas = [
            each.specifications[call.specification.id].calls_per_hour
            for each in self._world.database.between(born - STALE, now)
            if call.specification.id in each.specifications
        ]
        per_hour = max((each for each in quotas if each is not None), default=None)
        changes = sum(fault.kind == "quota" for fault in self._world.plan.faults)
        if per_hour and None not in quotas and len(calls.every) + 1 > 2.01 + changes + per_hour / 3600 * (now - born):
            self._broken(f"{what}: the {len(calls.every) + 1}th call within {now - born} s of the process")
        failed = calls.failed
        if not failed:
            return
        last = max(each.ended or 0.0 for each in failed)
        if any(each.specification is not call.specification != each.specification for each in failed):
            return  # the row was changed: a fresh chance
        if any(
            call.specification.id not in each.specifications for each in self._world.database.between(last - STALE, now)
        ):
            return  # it was removed meanwhile: a new one, of which nothing is known
        if calls.answered_at < last and any(each.started >= last for each in calls.out):
            self._broken(f"{what}: a second probe")
        for each in failed:
            wanted = each.outcome.retry_after if isinstance(each.outcome, CallFailure) else None
            if wanted is not None and now < (each.ended or 0.0) + wanted - 1e-6:
                self._broken(f"{what}: {wanted} s of peace were asked for")

    def _check_requests(self, replica: Replica, command: StartCall, what: str) -> None:
        core, at = replica.core, replica.instant()
        sent = core._dispatch.call_lanes[command.call_id].calls[command.call_id]
        for part in sent.parts:
            request = part.request
            left = request.deadline - core._clock.read(at.mono)
            if left < core.policy.call_margin - TICK_SLACK and not replica.disturbed:
                self._broken(f"{what}: carries {request.request_id} with {left:.2f} s left")
            for id_ in self._ambiguous.intersection(part.products):
                self._check_order(replica, request, id_, part.products[id_], what)
                self._check_first_push(replica, request, id_, part.products[id_], what)
        replica.steps += 1

    def _check_order(self, replica: Replica, request: Request, id_: str, sku: str, what: str) -> None:
        """Nothing older in the same lane still waits to push the id with another SKU."""
        pushed = self._pushes.get((request.assignment, _lane_id(request), id_), {}).get(request.record.offset)
        for offset, other in request.assignment.open.items():
            if offset >= request.record.offset:
                break
            if other.verdict is not None or other.lane != request.lane or other.products.get(id_, sku) == sku:
                continue
            if other.rerouted and pushed is not None and replica.queued[other] > pushed.step:
                continue  # it came from another lane when this one had been sent already
            parts = [part for part in other.parts or () if id_ in part.products]
            if not parts or not parts[0].final:
                self._broken(f"{what}: {id_} of {request.request_id} overtakes {other.request_id}")

    def _check_first_push(self, replica: Replica, request: Request, id_: str, sku: str, what: str) -> None:
        """First pushes of an id with different SKUs go out in partition order, whatever the older ones waited for."""
        pushes = self._pushes.setdefault((request.assignment, _lane_id(request), id_), {})
        offset = request.record.offset
        if offset in pushes:
            return
        for newer, push in pushes.items():
            rerouted = request.rerouted and replica.queued[request] > push.step
            if newer > offset and push.sku != sku and not rerouted:
                self._broken(f"{what}: {id_} of offset {offset} goes out after that of offset {newer}")
        pushes[offset] = _Push(sku, replica.steps)

    # -- the core --------------------------------------------------------------------------------------

    def turned(self, replica: Replica) -> None:
        """After each turn: the bounds."""
        core, limits = replica.core, replica.core.policy
        if core._pressure.records > limits.records:
            self._broken(f"{replica.process.name}: {core._pressure.records} records in flight")
        if core._pressure.bytes > limits.record_bytes + LARGEST_RECORD:
            self._broken(f"{replica.process.name}: {core._pressure.bytes} bytes in flight")
        if len(core._dispatch.call_lanes) > limits.calls:
            self._broken(f"{replica.process.name}: {len(core._dispatch.call_lanes)} calls are out")
        self._check_fetch_budget(replica)

    def _check_fetch_budget(self, replica: Replica) -> None:
        """What cannot be decided yet, and what waits behind it, leaves the fetch budget to others."""
        core, flow, limits = replica.core, replica.core._pressure, replica.core.policy
        if replica.fetch_budget.records > 0 or core._partitions.stopping or core._clock.troubles:
            return
        able = in_flight = size = 0
        for each in core._partitions.assignments.values():
            first = each.backlog[0].offset if each.backlog else -1
            blocked = each.partition in flow.over_limit or (each.open and first >= each.progress.base + limits.window)
            able += 0 if blocked else len(each.backlog)
            able += sum(request.lane is not None or request.verdict is not None for request in each.open.values())
            in_flight += len(each.open)
            size += each.backlog_bytes + sum(request.record.size for request in each.open.values())
        if able < limits.active_records and in_flight + able < limits.records and 2 * size < limits.record_bytes:
            self._broken(f"{replica.process.name}: fetches nothing with {able} of {in_flight} records that can go on")

    def ticked(self, replica: Replica, at: Instant) -> None:
        """After each tick: the deadlines, and that nothing is forgotten."""
        core = replica.core
        clock = core._clock.read(at.mono)
        queued = self._queued(replica)
        count = 0
        for assignment in core._partitions.assignments.values():
            count += len(assignment.open)
            offsets = list(assignment.open)
            if offsets and offsets[-1] - offsets[0] >= core.policy.window:
                self._broken(f"{replica.process.name}: the window of {assignment.partition} is exceeded")
            for request in assignment.open.values():
                if request.verdict is None and request.lane is not None and assignment.kept:
                    if clock > request.deadline and not replica.disturbed:
                        self._broken(f"{replica.process.name}: {request.request_id} is not decided in time")
                    if not request.in_flight and id(request) not in queued:
                        self._broken(f"{replica.process.name}: {request.request_id} is in no queue and no call")
        if count != core._pressure.records:
            self._broken(f"{replica.process.name}: {core._pressure.records} records counted, {count} are open")
        epochs = frozenset(each.epoch for each in core._partitions.assignments.values())
        if epochs != self._epochs.get(replica):
            self._epochs[replica] = epochs
            self._check_memory(replica)

    def _check_memory(self, replica: Replica) -> None:
        """Nothing is kept of assignments that ended, but for calls and a transaction in flight; counters are true."""
        kept = [each for each in _reachable(replica.core) if each.assignment.ended]
        if kept:
            self._broken(
                f"{replica.process.name}: {len(kept)} requests of ended assignments are kept: {kept[0].record}"
            )
        core = replica.core
        size = sum(
            request.record.size for each in core._partitions.assignments.values() for request in each.open.values()
        )
        if size != core._pressure.bytes:
            self._broken(f"{replica.process.name}: {core._pressure.bytes} bytes counted, {size} are open")

    @staticmethod
    def _queued(replica: Replica) -> set[int]:
        return {id(part.request) for lane in replica.core._dispatch.lanes.values() for part in lane.queue.parts()}


def _lane_id(request: Request) -> str:
    """The client specification whose lane a request is in."""
    return request.lane or ""


_CONTAINERS = (dict, list, tuple, deque, set, frozenset)


def _reachable(core: Core) -> Iterator[Request]:
    """All requests that a core refers to, but for those of calls and of the transaction in flight."""
    seen: set[int] = set()
    stack: list[object] = [core]
    while stack:
        each = stack.pop()
        ours = isinstance(each, _CONTAINERS) or type(each).__module__.startswith("consumer.engine.")
        if id(each) in seen or not ours or isinstance(each, Call | Commit | type):
            continue
        seen.add(id(each))
        if isinstance(each, Request):
            yield each
        stack += gc.get_referents(each)


def _unknown(call: SentCall, decided: float) -> bool:
    """Return whether it was unknown by then what had become of a call."""
    outcome = call.outcome
    return (
        call.ended is None
        or call.ended > decided - 0.01
        or isinstance(outcome, Unacknowledged)
        or (isinstance(outcome, CallFailure) and outcome.may_have_reached)
    )


def judge(record: SentRecord, directory: Directory) -> str | ErrorCode:
    """What the contract's table says of a request: the specification's id, or the code."""
    known = KEYS.get(record.api_key or b"")
    if record.api_key is None:
        return ErrorCode.API_KEY_MISSING
    valid = any(key.name.encode() == record.api_key and not key.revoked for key in directory.api_keys.values())
    if known is None or not valid or record.signature not in (None, "good"):
        return ErrorCode.API_KEY_INVALID
    tenant, role = known
    if record.caller != b"OPERATOR" or role.value != "OPERATOR":
        return ErrorCode.OPERATOR_REQUIRED
    distinct = set(record.products)
    if not 0 < len(distinct) <= MAX_PRODUCTS or len(dict(record.products)) < len(distinct):
        return ErrorCode.VALIDATION_FAILED
    return _resolve(record, directory, tenant)


def _resolve(record: SentRecord, directory: Directory, tenant: str) -> str | ErrorCode:
    own = {id_: each for id_, each in directory.specifications.items() if each.tenant == tenant}
    if record.given is not None:
        if record.given not in own:
            return ErrorCode.CLIENT_SPECIFICATION_NOT_FOUND
        found = own[record.given]
    else:
        active = [each for each in own.values() if each.active]
        if len(active) != 1:
            return (
                ErrorCode.MULTIPLE_ACTIVE_CLIENT_SPECIFICATIONS if active else ErrorCode.NO_ACTIVE_CLIENT_SPECIFICATION
            )
        found = active[0]
    return ErrorCode.CLIENT_SPECIFICATION_SUSPENDED if found.suspended else found.id
