"""Classic bugs, planted one at a time: a simulation that does not find them proves nothing."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

from confluent_kafka import KafkaException, TopicPartition

from consumer.adapters.kafka.batch_search import BatchSearch
from consumer.adapters.kafka.known_progress import KnownProgress
from consumer.adapters.kafka.policy import READING
from consumer.domain.calls import CallFailure, Receipt
from consumer.domain.progress import WINDOW, CommitPoint, Progress, decode_map
from consumer.domain.retry import TokenBucket
from consumer.engine import credentials
from consumer.engine.admission.lookups import SchemaLookups
from consumer.engine.clock import Instant
from consumer.engine.commands import Resume
from consumer.engine.core import Core
from consumer.engine.dispatch import back_pressure, shedding, verdicts
from consumer.engine.dispatch.back_pressure import BackPressure
from consumer.engine.dispatch.dispatch import Dispatch
from consumer.engine.dispatch.health import LaneHealth
from consumer.engine.dispatch.lane_queue import LaneQueue
from consumer.engine.dispatch.lanes import Call, Lane
from consumer.engine.dispatch.verdicts import sum_up
from consumer.engine.events import Assigned, CallFinished, TransactionFinished, TransactionResult
from consumer.engine.partitions import partitions as engine_partitions
from consumer.engine.partitions.outbox import Outbox
from consumer.engine.partitions.partitions import Partitions
from consumer.engine.precedence import Precedence
from consumer.engine.requests import Assignment, Part, Request
from consumer.engine.status import LaneState
from schemas.signature import Signing
from tests.simulation.kafka import SimulatedConsumer
from tests.simulation.loop import Steps
from tests.simulation.runs import Finding, run_seed
from tests.simulation.shells import AT_LEAST_ONCE, GROUP, KAFKA_OUT, OUTGOING, POSITIONS, RESETS

MOST_SEEDS = 3000
"""Within so many schedules, from seed 0 on, every planted bug has to be found."""


@dataclass(frozen=True, slots=True)
class Bug:
    """One bug: which names it replaces, where."""

    name: str
    patches: tuple[tuple[object, str, object], ...]

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Plant the bug for a while."""
        with ExitStack() as stack:
            for owner, name, replacement in self.patches:
                stack.enter_context(patch.object(owner, name, replacement))
            yield


def seeds_until_found(bug: Bug) -> tuple[int, Finding | None]:
    """How many schedules it takes, from seed 0 on, until a law is broken."""
    with bug.planted():
        for seed in range(MOST_SEEDS):
            finding = run_seed(seed)
            if finding is not None and "TypeError" in finding.text:
                raise AssertionError(f"{bug.name} does not fit the code any more: {finding.text}")
            if finding is not None:
                return seed + 1, finding
    return MOST_SEEDS, None


# -- the engine ----------------------------------------------------------------------------------------


def _highest_seen(self: Progress, _offsets: Iterable[int], _longest: int | None = None) -> CommitPoint:
    return CommitPoint(self.position, "")


_preview, _decode_map = Progress.preview, decode_map


def _without_map(self: Progress, offsets: Iterable[int], _longest: int | None = None) -> CommitPoint:
    return CommitPoint(_preview(self, offsets).offset, "")


class _LastMap:
    """Where a commit carries no map, the last map of any other one is used."""

    def __init__(self) -> None:
        self._last = b""

    def __call__(self, offset: int, metadata: str) -> bytes:
        if metadata:
            self._last = _decode_map(offset, metadata)
        return self._last


_call_finished, _transaction_finished = Core._call_finished, Core._transaction_finished


def _throttled_is_success(self: Core, event: CallFinished, at: Instant) -> None:
    if isinstance(event.outcome, CallFailure) and event.outcome.status == 429:
        event = CallFinished(event.call_id, Receipt(f"throttled {event.call_id}"))
    _call_finished(self, event, at)


def _failure_is_success(self: Core, event: CallFinished, at: Instant) -> None:
    if isinstance(event.outcome, CallFailure):
        event = CallFinished(event.call_id, Receipt(f"failed {event.call_id}"))
    _call_finished(self, event, at)


def _taken_for(wrong: TransactionResult, right: TransactionResult) -> Callable[..., None]:
    def finished(self: Core, event: TransactionFinished, at: Instant) -> None:
        _transaction_finished(self, replace(event, result=right) if event.result is wrong else event, at)

    return finished


def _dropped(self: Partitions, _part: object, *, last: bool) -> None:
    """What was not published is forgotten."""


def _first_part(request: Request, at: Instant) -> None:
    final = [part for part in request.parts if part.final]
    if final:
        request.decide(sum_up(request, final[:1], at))


_may_start = Lane._may_start


def _many_probes(self: Lane, now: float) -> bool:
    health = self.health
    sick, health.sick_until = health.sick_until, None if (health.sick_until or 0.0) <= now else health.sick_until
    try:
        return _may_start(self, now)
    finally:
        health.sick_until = sick


def _nobody_to_blame(_self: Lane, _call: Call, *, too_large: bool) -> bool:  # noqa: ARG001 - as the lane's own
    return False


def _nothing(*_: object, **__: object) -> None:
    """Left out."""


def _put_back_last(self: LaneQueue, _call_id: int, parts: Sequence[Part]) -> None:
    self.waiting.extend(parts)


def _never(*_: object) -> bool:
    return False


def _whatever_is_signed(*_: object) -> bool:
    return True


def _endless(*_: object) -> float:
    return float("inf")


def _any_epoch(self: Partitions, part: Any) -> Any:  # noqa: ANN401 - as the original
    return self.assignments.get(part.partition)


_assign, _may_shed = Partitions.assign, shedding._may_shed


def _not_resumed(self: Partitions, event: Assigned) -> None:
    _assign(self, event)
    self._commands[:] = [each for each in self._commands if not isinstance(each, Resume)]


def _unforgiving(self: LaneHealth) -> None:
    self._ordered_until = 0.0
    self.sick_until = None


def _never_sated(self: BackPressure, budget: int, _now: float) -> bool:
    return budget < self._policy.active_records


def _trim_too_much(self: Progress) -> None:
    below = self.base - self._origin
    if below >= WINDOW // 2:
        del self._flags[: below + 1]
        self._origin = self.base


def _shed_anyone(request: Request, cannot_call: Mapping[str, bool]) -> bool:
    lane = request.lane
    return _may_shed(request, {lane: cannot_call.get(lane, False)} if lane is not None else {})


def _every_call(self: Dispatch, assignment: Assignment, at: Instant, **_: bool) -> bool:  # noqa: ARG001 - as the original
    calls = (call for lane in self.lanes.values() for call in lane.calls.values())
    return any(part.request.assignment is assignment for call in calls for part in call.parts)


def _due_some_day(self: LaneHealth, started_at: float, end: float, now: float, **_: bool) -> bool:
    return self.state(now) not in (LaneState.SICK, LaneState.STALLED) and started_at + (self.typical or 0.0) <= end


_is_due = LaneHealth.is_due


def _always_due_at_first(self: LaneHealth, started_at: float, end: float, now: float, *, stopping: bool) -> bool:
    hopeful = stopping and self.unheard and self.state(now) is not LaneState.SICK
    return hopeful or _is_due(self, started_at, end, now, stopping=stopping)


def _calls_anyway(self: Core, _at: Instant) -> bool:
    partitions = self._partitions
    return self._publishing_trouble is None and self._broker_trouble is None and partitions.outbox.may_call


# -- the shells ----------------------------------------------------------------------------------------

_END = BatchSearch.end.fget  # type: ignore[attr-defined]  # a property
_GROUP, _SINK = GROUP.Group, KAFKA_OUT.TransactionalSink
_publish, _committed = _GROUP.publish, SimulatedConsumer.committed


def _same_epoch(self: Any, partition: int) -> int:  # noqa: ANN401 - membership.Group
    self.epochs[partition] = 1
    return 1


def _all_parts(parts: Iterable[Any], _membership: object) -> list[Any]:
    return list(parts)


def _old_ownership(self: Any) -> Steps:  # noqa: ANN401 - membership.Group
    before = dict(self.membership.epochs)
    yield from _publish(self)
    self.membership = GROUP.Membership(self.membership.metadata, before | dict(self.membership.epochs))


def _no_answer_is_no_map(self: SimulatedConsumer, partitions: Any, timeout: float) -> Steps:  # noqa: ANN401 - the binding's
    try:
        return (yield from _committed(self, partitions, timeout))
    except KafkaException:
        return [TopicPartition("requests", each.partition, -1001) for each in partitions]


def _forgetting(self: Any, partitions: Any) -> None:  # noqa: ANN401 - positions.Positions
    for partition in partitions:
        self.unread.pop(partition, None)
        self._known.forget(partition)


def _any_member(_metadata: bytes) -> bool:
    return True


def _unfenced(self: Any, partitions: Any) -> None:  # noqa: ANN401 - membership.Group
    """Given up, and still taken for ours."""
    for partition in partitions:
        self._owner._positions.unread.pop(partition, None)


def _first_topic_id(self: Any, topic_id: bytes, _unread: object) -> None:  # noqa: ANN401 - resets.LogResets
    self.topic_id = self.topic_id or topic_id


def _no_topic_id(_offset: int, _metadata: str) -> bytes:
    return b""


def _one_too_many(self: BatchSearch) -> int | None:
    end = _END(self)
    return None if end is None else end + 1


BUGS = (
    Bug("believe any signature", ((Signing, "matches", _whatever_is_signed),)),
    Bug("a signature has no age", ((credentials, "untimely", _nothing),)),
    Bug("commit the highest offset seen", ((Progress, "preview", _highest_seen),)),
    Bug("forget the map", ((Progress, "preview", _without_map),)),
    Bug("reuse a map of another base", ((engine_partitions, "decode_map", _LastMap()),)),
    Bug("one epoch for all assignments", ((_GROUP, "begin", _same_epoch),)),
    Bug("finish what belongs to an older assignment", ((Partitions, "_alive", _any_epoch),)),
    Bug("commit after the partition was given up", ((_SINK, "_ours", staticmethod(_all_parts)),)),
    Bug("no fence when a partition is given up", ((_GROUP, "_fence", _unfenced),)),
    Bug("a revocation waits for every call in flight", ((Dispatch, "awaits", _every_call),)),
    Bug("a revocation waits for an answer that is overdue", ((LaneHealth, "is_due", _due_some_day),)),
    Bug("a revocation has the patience of its budget", ((GROUP, "READING", replace(READING, drain_patience=3.0)),)),
    Bug("a stop waits for a Mirakl that was never heard of", ((LaneHealth, "is_due", _always_due_at_first),)),
    Bug("fresh group metadata with old ownership", ((_GROUP, "publish", _old_ownership),)),
    Bug("send offsets under generation -1", ((GROUP, "_is_member", _any_member),)),
    Bug("no answer about progress is no progress", ((SimulatedConsumer, "committed", _no_answer_is_no_map),)),
    Bug("believe a broker that tells of former times", ((KnownProgress, "denied", _nothing),)),
    Bug("forget the progress of partitions given up", ((POSITIONS.Positions, "forget", _forgetting),)),
    Bug("no seek after progress was read anew", ((SimulatedConsumer, "seek", _nothing),)),
    Bug(
        "an unknown end is an abort",
        ((Core, "_transaction_finished", _taken_for(TransactionResult.UNKNOWN, TransactionResult.ABORTED)),),
    ),
    Bug(
        "an abort is a commit",
        ((Core, "_transaction_finished", _taken_for(TransactionResult.ABORTED, TransactionResult.COMMITTED)),),
    ),
    Bug("drop the outcomes of an aborted transaction", ((Partitions, "_take_back", _dropped),)),
    Bug("count 429 as success", ((Core, "_call_finished", _throttled_is_success),)),
    Bug("count what was sent as taken in", ((Core, "_call_finished", _failure_is_success),)),
    Bug("finish a large request with its first part", ((verdicts, "_decide_if_final", _first_part),)),
    Bug("refuse the batch mates of a poisoned request", ((Lane, "refused", _nobody_to_blame),)),
    Bug("many probes for a sick Mirakl", ((Lane, "_may_start", _many_probes),)),
    Bug("no deadline", ((Dispatch, "give_up_overdue", _nothing),)),
    Bug("read ahead of a slow Mirakl without measure", ((back_pressure, "spare_products", _endless),)),
    Bug("put a failed call back behind all others", ((LaneQueue, "put_back", _put_back_last),)),
    Bug("no Resume after an assignment", ((Partitions, "assign", _not_resumed),)),
    Bug("never forget the failures of a lane", ((LaneHealth, "_recover", _unforgiving),)),
    Bug("pause although there is a fetch budget", ((BackPressure, "_is_full", _never_sated),)),
    Bug("drop one flag too many when a tracker trims", ((Progress, "_trim", _trim_too_much),)),
    Bug("shed requests of healthy lanes too", ((shedding, "_may_shed", _shed_anyone),)),
    Bug("start calls although nothing commits", ((Core, "_may_call", _calls_anyway),)),
    Bug("leave the quota as it is after a 429", ((TokenBucket, "empty", _nothing),)),
    Bug("do not look at failed deliveries", ((OUTGOING.Outgoing, "_delivered", _nothing),)),
    Bug("overtake a request that is undecided", ((Precedence, "conflict", _nothing),)),
    Bug("overtake a request that comes from another lane", ((LaneQueue, "restore_order", _nothing),)),
    Bug("count what waits behind undecidable records", ((BackPressure, "is_blocked", _nothing),)),
    Bug("keep requests of ended assignments", ((SchemaLookups, "forget_ended", _nothing),)),
    Bug("calls although results are refused", ((Outbox, "may_call", True), (Outbox, "stuck", _never))),
    Bug("retry with a map that is too large", ((Outbox, "_learn", _never),)),
    Bug("no probe where nothing is left to publish", ((Outbox, "_probe", _nothing),)),
    Bug("a topic that was created again goes unnoticed", ((RESETS.LogResets, "on_topic_id", _first_topic_id),)),
    Bug("progress of a former topic counts", ((RESETS, "topic_id_of", _no_topic_id),)),
    Bug("the record behind an unreadable batch counts to it", ((BatchSearch, "end", property(_one_too_many)),)),
    Bug("partitions that are not read are not reported", ((POSITIONS.Positions, "report_troubles", _nothing),)),
    Bug("ask a forgetful broker for ever", ((POSITIONS, "READING", replace(READING, credible_patience=1e9)),)),
    Bug("commit offsets before results are written", ((AT_LEAST_ONCE.AtLeastOnceSink, "_flush", _nothing),)),
)
