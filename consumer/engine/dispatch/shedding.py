"""Which requests of lanes that cannot call are given up, so that they do not hold up others.

Only where somebody else is held up: for a partition's window, another lane that can call was fed from that partition
within the last deadline, or its record was fetched and waits behind; for a global budget, such a lane has requests, has
fetched records that wait, or shares a partition with a lane that cannot call. Only as many as stand in the way, the
oldest first, down to one half.
"""

from collections.abc import Collection, Iterable, Iterator

from consumer.engine.dispatch.lanes import Lane
from consumer.engine.policy import Limits
from consumer.engine.requests import Assignment, Request

SHED_FROM, SHED_TO = 0.75, 0.5
"""Shares of a window or a budget at which shedding begins and ends."""


def in_the_windows_way(
    assignment: Assignment, cannot_call: Collection[Lane], limits: Limits, now: float
) -> Iterator[Request]:
    """Return the requests to give up so that a partition's window moves on.

    It moves when its oldest records are done. So this ends at the first request that is waited for: one of a lane that
    can call, one without a lane yet, or one in a call that may still come back.
    """
    if assignment.progress.used < SHED_FROM * limits.window:
        return
    if not _holds_up_others(assignment, cannot_call, limits, now):
        return
    until = assignment.progress.position - SHED_TO * limits.window
    for offset, request in list(assignment.open.items()):
        if offset >= until:
            return
        if request.dropped:
            continue
        if not _may_shed(request, cannot_call, now):
            return
        yield request


def in_the_budgets_way(
    assignments: Collection[Assignment],
    lanes: Iterable[Lane],
    cannot_call: Collection[Lane],
    limits: Limits,
    in_flight: tuple[int, int],
    now: float,
) -> Iterator[Request]:
    """Return the requests to give up so that others find room; ``in_flight``: records and bytes."""
    records, size = in_flight
    if records < SHED_FROM * limits.records and size < SHED_FROM * limits.record_bytes:
        return
    if not (
        any(not lane.idle and lane not in cannot_call for lane in lanes)
        or any(_waits_for_room(each, cannot_call, limits, now) for each in assignments)
    ):
        return
    every = (request for each in assignments for request in each.open.values())
    for request in sorted(every, key=lambda each: each.read_at):
        if records <= SHED_TO * limits.records and size <= SHED_TO * limits.record_bytes:
            return
        if not request.dropped:
            if not _may_shed(request, cannot_call, now):
                continue
            yield request
        records -= 1
        size -= request.record.size


def _holds_up_others(assignment: Assignment, cannot_call: Collection[Lane], limits: Limits, now: float) -> bool:
    recent = assignment.recent_lanes(now, limits.request_deadline)
    return any(lane in cannot_call for lane in recent) and any(lane not in cannot_call for lane in recent)


def _waits_for_room(assignment: Assignment, cannot_call: Collection[Lane], limits: Limits, now: float) -> bool:
    """Tell whether records of lanes that can call wait to be taken in, or are likely to."""
    if not assignment.waiting:
        return _holds_up_others(assignment, cannot_call, limits, now)
    return any(lane not in cannot_call for lane in assignment.recent_lanes(now, limits.request_deadline))


def _may_shed(request: Request, cannot_call: Collection[Lane], now: float) -> bool:
    """Tell whether it waits in a lane that cannot call; what is in a call is waited for until the lane has stalled."""
    lane = request.lane
    return lane is not None and lane in cannot_call and (not request.calls_out or lane.stalled(now))
