"""Load shedding: gives up requests of lanes that cannot call and hold up others.

Requests are shed only if others are held up. For a partition's window: another lane that can call was fed from that
partition within the last deadline, or a record of such a lane was fetched and waits behind. For a global budget: such a
lane has requests, has fetched records that wait, or shares a partition with a lane that cannot call. Only as many as
necessary are given up, the oldest first, down to one half.
"""

from collections.abc import Collection, Iterator, Mapping

from consumer.engine.policy import Policy
from consumer.engine.requests import Assignment, Request

CannotCall = Mapping[str, bool]
"""Lanes that have requests and cannot call -> whether the lane is stalled."""


def blocking_window(assignment: Assignment, cannot_call: CannotCall, policy: Policy, now: float) -> Iterator[Request]:
    """Yield the requests to give up so that a partition's window moves on.

    It moves when its oldest records are done. So this ends at the first request that is waited for: one of a lane that
    can call, one without a lane yet, or one in a call that may still come back.
    """
    if assignment.progress.used < policy.shed_from * policy.window:
        return
    if not _holds_up_others(assignment, cannot_call, policy, now):
        return
    until = assignment.progress.position - policy.shed_to * policy.window
    for offset, request in list(assignment.open.items()):
        if offset >= until:
            return
        if not request.open:
            continue
        if not _may_shed(request, cannot_call):
            return
        yield request


def blocking_budget(
    assignments: Collection[Assignment],
    cannot_call: CannotCall,
    policy: Policy,
    in_flight: tuple[int, int],
    now: float,
    *,
    others_busy: bool,
) -> Iterator[Request]:
    """Yield the requests to give up so that others find room.

    ``in_flight``: records and bytes; ``others_busy``: lanes that can call have requests.
    """
    records, size = in_flight
    if records < policy.shed_from * policy.records and size < policy.shed_from * policy.record_bytes:
        return
    if not (others_busy or any(_waits_for_room(each, cannot_call, policy, now) for each in assignments)):
        return
    every = (request for each in assignments for request in each.open.values())
    for request in sorted(every, key=lambda each: each.read_at):
        if records <= policy.shed_to * policy.records and size <= policy.shed_to * policy.record_bytes:
            return
        if request.open:
            if not _may_shed(request, cannot_call):
                continue
            yield request
        records -= 1
        size -= request.record.size


def _holds_up_others(assignment: Assignment, cannot_call: CannotCall, policy: Policy, now: float) -> bool:
    recent = assignment.recent_lanes(now, policy.request_deadline)
    return any(lane in cannot_call for lane in recent) and any(lane not in cannot_call for lane in recent)


def _waits_for_room(assignment: Assignment, cannot_call: CannotCall, policy: Policy, now: float) -> bool:
    """Return whether records of lanes that can call wait to be taken in, or are likely to."""
    if not assignment.backlog:
        return _holds_up_others(assignment, cannot_call, policy, now)
    return any(lane not in cannot_call for lane in assignment.recent_lanes(now, policy.request_deadline))


def _may_shed(request: Request, cannot_call: CannotCall) -> bool:
    """Return whether it waits in a lane that cannot call; a call in flight is waited for until the lane has stalled."""
    stalled = cannot_call.get(request.lane or "")
    return stalled is not None and (stalled or not request.in_flight)
