"""What a request is answered with once nothing more is done for it, in words that say what to do."""

from collections.abc import Sequence

from consumer.domain.calls import Refusal, Unacknowledged
from consumer.domain.outcome import Failed, Partial, ResyncError, Synchronized, Verdict, error
from consumer.engine.admission.decisions import AwaitDirectory, Routed, millis
from consumer.engine.clock import Instant
from consumer.engine.requests import Part, Request
from schemas.contract import ErrorCode


def refused(outcome: Refusal | Unacknowledged) -> ResyncError:
    """Mirakl answered a call, and has not taken it in, or does not say so."""
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


def no_longer(decision: Routed | AwaitDirectory) -> ResyncError:
    """Say why the rest of a large request is not sent."""
    if isinstance(decision, Failed):
        return decision.error
    return error(
        ErrorCode.CM21_UNAVAILABLE, problem="The client specification was removed before all products were sent"
    )


def given_up(part: Part) -> ResyncError:
    """No call starts for it any more, or none that is out is waited for."""
    lane = part.request.lane
    cause = f" (the last call: {lane.trouble})" if lane is not None and lane.trouble else ""
    if part.out or part.may_have_reached:
        return error(
            ErrorCode.CM21_OUTCOME_UNKNOWN,
            problem=f"did not answer in time{cause}",
            remedy="send the request again, which is safe",
        )
    return error(
        ErrorCode.CM21_UNAVAILABLE,
        problem=f"Mirakl could not be reached in time{cause} and has not accepted the products",
    )


def sum_up(request: Request, parts: Sequence[Part], at: Instant) -> Verdict:
    """Answer a request all of whose parts are settled."""
    lane = request.lane
    specification_id = lane.specification.id if lane is not None else ""
    failed = [each for each in parts if each.error is not None]
    taken = sorted({each.tracking for each in parts if each.tracking is not None})
    tracking_ids = tuple(dict.fromkeys(tracking_id for _, tracking_id in taken))
    problem = next((each.error for each in failed if each.error is not None), None)
    if problem is None:
        return Synchronized(specification_id, tracking_ids, millis(at))
    if not taken:
        return Failed(specification_id, _worst(problem, failed), millis(at))
    unsynchronized = {id_: sku for each in failed for id_, sku in each.products.items()}
    count = len(request.products) - len(unsynchronized)
    return Partial(specification_id, tracking_ids, count, unsynchronized, problem, millis(at))


def _worst(problem: ResyncError, failed: Sequence[Part]) -> ResyncError:
    """A request is not called unavailable where any of its parts may have reached Mirakl."""
    if problem.code is not ErrorCode.CM21_UNAVAILABLE:
        return problem
    unknown = (each.error for each in failed if each.error and each.error.code is ErrorCode.CM21_OUTCOME_UNKNOWN)
    return next(unknown, problem)
