"""Verdicts of requests, built from the ends of their calls, with messages that say what to do.

A request is decided once all its parts are final. A part is final with a receipt (Mirakl accepted it) or with an error
(Mirakl refused it, or it was given up).
"""

from collections.abc import Sequence
from enum import Enum

from consumer.domain.calls import Refusal, Unacknowledged
from consumer.domain.outcome import Failed, Partial, ResyncError, Synchronized, Verdict, error
from consumer.engine.clock import Instant
from consumer.engine.requests import Part, Request
from schemas.contract import ErrorCode


class GiveUp(Enum):
    """Reason for giving up a request. The value continues the sentence ``Mirakl could not be reached ...``."""

    DEADLINE = "in time"
    """No call can start before its deadline, or the one in flight takes too long."""
    LANE_CANNOT_CALL = "before the deadline"
    """Its lane cannot call until a known time, which is too late."""
    HOLDS_UP_OTHERS = "for a while, and other requests waited for this one"
    """Its lane cannot call, and it takes the room of requests that could go on."""


def refused(outcome: Refusal | Unacknowledged) -> ResyncError:
    """Return the error of a call that Mirakl answered and did not accept, or did not say so."""
    said = f"HTTP {outcome.status}" + (f": {outcome.excerpt}" if outcome.excerpt else "")
    if isinstance(outcome, Unacknowledged):
        return error(
            ErrorCode.CM21_OUTCOME_UNKNOWN,
            problem=f"answered without a usable tracking id ({said})",
            remedy="check them in Mirakl, then send the request again",
        )
    if outcome.unauthorized:
        return error(ErrorCode.CM21_UNAUTHORIZED, answer=said)
    if outcome.blames_entries:
        remedy = "correct them before sending them again"
        return error(ErrorCode.CM21_REFUSED, what="the products", answer=said, remedy=remedy)
    remedy = "have an administrator check the client specification's base URL"
    return error(ErrorCode.CM21_REFUSED, what="the call", answer=said, remedy=remedy)


def given_up(part: Part, reason: GiveUp, trouble: str | None) -> ResyncError:
    """Return the error of a part that is given up; ``trouble``: how the last call of its lane failed."""
    cause = f" (the last call: {trouble})" if trouble else ""
    if part.in_flight or part.may_have_reached:
        return error(
            ErrorCode.CM21_OUTCOME_UNKNOWN,
            problem=f"did not answer in time{cause}",
            remedy="send the request again, which is safe",
        )
    return error(
        ErrorCode.CM21_UNAVAILABLE,
        problem=f"Mirakl could not be reached {reason.value}{cause} and has not accepted the products",
    )


def accept(parts: Sequence[Part], specification_id: str, receipt: tuple[int, str], at: Instant) -> None:
    """Note that Mirakl accepted the parts of one call, and decide the requests that are complete with them.

    ``receipt``: number of the call and its tracking id. On the hot path: requests of one part share their verdict.
    """
    shared = Synchronized(specification_id, (receipt[1],), at.millis)
    for part in parts:
        request = part.request
        if not request.open:
            continue
        if len(request.parts) == 1:
            request.decide(shared)
        else:
            part.receipt = receipt
            _decide_if_final(request, at)


def fail(part: Part, error: ResyncError, at: Instant) -> None:
    """Note that a part is finally not accepted, and decide its request if that was the last one."""
    part.error = error
    if part.request.open:
        _decide_if_final(part.request, at)


def give_up(request: Request, reason: GiveUp, trouble: str | None, at: Instant, *, wait: bool = False) -> None:
    """Do no more for a request: answer it as it stands, accepted in part, perhaps accepted, or not.

    ``trouble``: how the last call of its lane failed; ``wait``: the answer waits for its calls in flight, and only
    those of its parts that need another call are given up.
    """
    for part in request.parts:
        if not part.final and not (wait and part.in_flight):
            part.error = given_up(part, reason, trouble)
    _decide_if_final(request, at)


def _decide_if_final(request: Request, at: Instant) -> None:
    parts = request.parts
    if all(each.final for each in parts):
        request.decide(sum_up(request, parts, at))


def sum_up(request: Request, parts: Sequence[Part], at: Instant) -> Verdict:
    """Return the verdict on a request all of whose parts are final: synchronized, partial or failed."""
    specification_id = request.lane or ""
    failed = [each for each in parts if each.error is not None]
    accepted = sorted({each.receipt for each in parts if each.receipt is not None})
    tracking_ids = tuple(dict.fromkeys(tracking_id for _, tracking_id in accepted))
    problem = next((each.error for each in failed if each.error is not None), None)
    if problem is None:
        return Synchronized(specification_id, tracking_ids, at.millis)
    if not accepted:
        return Failed(specification_id, _worst(problem, failed), at.millis)
    unsynchronized = {id_: sku for each in failed for id_, sku in each.products.items()}
    count = len(request.products) - len(unsynchronized)
    return Partial(specification_id, tracking_ids, count, unsynchronized, problem, at.millis)


def _worst(problem: ResyncError, failed: Sequence[Part]) -> ResyncError:
    """Return the error to tell: a request is not called unavailable if any part of it may have reached Mirakl."""
    if problem.code is not ErrorCode.CM21_UNAVAILABLE:
        return problem
    unknown = (each.error for each in failed if each.error and each.error.code is ErrorCode.CM21_OUTCOME_UNKNOWN)
    return next(unknown, problem)
