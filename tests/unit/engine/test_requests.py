"""The phases of a request: which follow which, and what goes with them."""

import pytest

from consumer.domain.outcome import DeadLettered, Synchronized
from consumer.domain.progress import Progress
from consumer.engine.request_headers import RequestHeaders
from consumer.engine.requests import Assignment, AssignmentPhase, Phase, Request
from schemas.contract import DeadLetterReason
from tests.support.builders import fetched_record
from tests.unit.engine.world import FIRST

ALLOWED = {
    Phase.UNDECIDED: {Phase.ROUTED, Phase.DECIDED, Phase.DISCARDED},
    Phase.ROUTED: {Phase.UNDECIDED, Phase.DECIDED, Phase.DISCARDED},
    Phase.DECIDED: {Phase.COMMITTED, Phase.DISCARDED},
    Phase.COMMITTED: set(),
    Phase.DISCARDED: set(),
}
SYNCHRONIZED = Synchronized(FIRST, ("t-1",), 0)


@pytest.fixture
def request_() -> Request:
    record = fetched_record(0, 5, -1, None, b"value", [])
    request = Request(record, Assignment(0, 1, Progress(5)), RequestHeaders(), 0.0, 300.0, products={"a": "1"})
    request.assignment.open[5] = request
    return request


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("then", Phase)
def test_only_the_transitions_of_the_table_are_possible(request_: Request, phase: Phase, then: Phase) -> None:
    request_.phase = phase
    if then in ALLOWED[phase]:
        request_.enter(then)
        assert then is request_.phase
    else:
        with pytest.raises(RuntimeError, match=f"cannot become {then.name} from {phase.name}"):
            request_.enter(then)


def test_a_routed_request_is_one_sendable_part_of_its_lane(request_: Request) -> None:
    part = request_.route(FIRST)

    assert (FIRST, (part,), True) == (request_.lane, request_.parts, part.sendable)


def test_a_decided_request_waits_for_its_transaction_and_sends_nothing_more(request_: Request) -> None:
    part = request_.route(FIRST)
    request_.decide(SYNCHRONIZED)

    assert [request_] == request_.assignment.decided
    assert not part.sendable
    assert not request_.open


def test_a_request_is_decided_once(request_: Request) -> None:
    request_.decide(SYNCHRONIZED)

    with pytest.raises(RuntimeError, match="DECIDED from DECIDED"):
        request_.decide(DeadLettered(DeadLetterReason.UNREADABLE, "no request"))
    assert request_.verdict is SYNCHRONIZED


def test_a_request_that_is_withdrawn_can_be_routed_again_and_remembers_it(request_: Request) -> None:
    request_.route(FIRST)
    request_.withdraw()

    assert (None, (), True) == (request_.lane, request_.parts, request_.rerouted)
    assert request_.route(FIRST).sendable


def test_the_end_of_an_assignment_discards_its_requests(request_: Request) -> None:
    part = request_.route(FIRST)
    request_.assignment.end()

    assert Phase.DISCARDED is request_.phase
    assert not part.sendable
    assert not request_.assignment.open


def test_no_call_starts_for_a_partition_that_is_being_given_up(request_: Request) -> None:
    part = request_.route(FIRST)
    request_.assignment.enter(AssignmentPhase.REVOKED)

    assert not part.sendable


def test_the_slices_of_a_large_request_take_its_place_in_order(request_: Request) -> None:
    request_.products = {str(number): "sku" for number in range(5)}
    slices = request_.route(FIRST).split(2)
    inner = slices[1].split(1)

    assert [["0", "1"], ["2"], ["3"], ["4"]] == [list(part.products) for part in request_.parts]
    assert (slices[0], *inner, slices[2]) == request_.parts
