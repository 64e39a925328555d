"""What is traced: sampled requests, how they ended, and the calls that carried them."""

from collections.abc import Sequence

import pytest

from consumer.adapters.observability.spans import Kind, Span
from consumer.adapters.observability.traces import Traces
from consumer.adapters.trace_context import continued
from consumer.domain.calls import CallFailure, CallOutcome, Receipt, Refusal, Unacknowledged
from consumer.engine.commands import StartCall
from tests.unit.engine.world import FIRST, TICK, World, body, specification

TRACE, PRODUCER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TOPIC, GROUP = "requests.v1", "the-group"
MAX_LINKS = 3


class TracedWorld(World):
    """A world whose calls and commits are traced, as the observers do it."""

    def __init__(self, *, calls: int = 1) -> None:
        super().__init__(specification(concurrent_calls=calls))
        self.spans: list[Span] = []
        self.traces = Traces(self.spans.extend, TOPIC, GROUP, MAX_LINKS)

    def ask(self, *request_ids: str, sampled: bool = True, products: dict[str, str] | None = None) -> None:
        """Requests that arrive together."""
        records = [self.record(body(each, products)) for each in request_ids]
        for number, record in enumerate(records):
            trace = f"00-{TRACE[:-2]}{number:02x}-{PRODUCER}-{'01' if sampled else '00'}"
            record.headers = [*(record.headers or ()), ("traceparent", trace.encode()), ("tracestate", b"a=1")]
        self.fetch(records)

    def finish(self, outcome: CallOutcome | None = None) -> StartCall:
        """The oldest call ends."""
        call = next(iter(self.calls.values()))
        outcome = outcome or Receipt("t-1")
        self.traces.call_finished(outcome, 0.25, call)
        return self.answer(call, outcome)

    def publish(self) -> None:
        """What is decided is committed."""
        for _ in range(10):
            if self.transaction is None:
                self.wait(TICK)
            else:
                for part in self.commit().partitions:
                    self.traces.published(part.outcomes)

    def of(self, kind: Kind) -> list[Span]:
        return [span for span in self.spans if span.kind is kind]

    def requests(self) -> dict[object, Span]:
        return {span.attributes["messaging.message.id"]: span for span in self.of(Kind.CONSUMER)}


def test_the_span_of_a_request_is_the_one_that_its_result_names() -> None:
    world = TracedWorld()
    world.ask("r")
    world.finish()
    world.publish()
    [span] = world.of(Kind.CONSUMER)
    context = span.context

    result = continued(f"00-{TRACE[:-2]}00-{PRODUCER}-01".encode(), 0, 0).decode()
    assert result == f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.flags:02x}"
    assert (PRODUCER, True, "a=1") == (f"{span.parent_id:016x}", span.remote_parent, span.trace_state)
    assert f"process {TOPIC}" == span.name
    assert span.failure is None
    assert {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": TOPIC,
        "messaging.destination.partition.id": "0",
        "messaging.kafka.offset": 0,
        "messaging.consumer.group.name": GROUP,
        "messaging.message.id": "r",
        "messaging.message.body.size": len(body("r")),
        "resync.status": "SYNCHRONIZED",
        "resync.products": 1,
        "resync.synchronized_products": 1,
        "resync.attempts": 1,
        "resync.tenant": "default",
        "resync.client_specification_id": FIRST,
    } == span.attributes


def test_a_call_for_one_request_is_its_child() -> None:
    world = TracedWorld()
    world.ask("r")
    world.finish()
    world.publish()
    [call], [request] = world.of(Kind.CLIENT), world.of(Kind.CONSUMER)

    assert (request.context.trace_id, request.context.span_id) == (call.context.trace_id, call.parent_id)
    assert ((), ()) == (call.links, request.links)
    assert 250_000_000 == call.period.end - call.period.begin
    assert {
        "http.request.method": "POST",
        "server.address": "mirakl.example",
        "server.port": 443,
        "url.full": "https://mirakl.example/api/mcm/products/synchronization",
        "resync.client_specification_id": FIRST,
        "resync.requests": 1,
        "resync.products": 1,
        "resync.tracking_id": "t-1",
    } == call.attributes


def test_a_call_for_several_is_a_trace_of_its_own_linked_both_ways() -> None:
    world = TracedWorld()
    world.ask("alone", sampled=False)
    world.ask("a", "b")
    world.ask("c", sampled=False)
    world.finish()
    world.finish()
    world.publish()
    [call], requests = world.of(Kind.CLIENT), world.requests()

    assert {"a", "b"} == set(requests)
    assert call.parent_id is None
    assert call.context.trace_id not in {span.context.trace_id for span in requests.values()}
    assert [requests["a"].context, requests["b"].context] == list(call.links)
    assert all((call.context,) == span.links for span in requests.values())
    assert 3 == call.attributes["resync.requests"]


def test_of_many_links_those_beyond_the_limit_are_counted() -> None:
    world = TracedWorld()
    world.ask("alone", sampled=False)
    world.ask(*"abcde")
    world.finish()
    world.finish()
    world.publish()
    [call] = world.of(Kind.CLIENT)

    assert (MAX_LINKS, 2) == (len(call.links), call.dropped_links)
    assert all((call.context,) == span.links for span in world.of(Kind.CONSUMER))


def test_a_large_request_has_all_its_calls_as_children() -> None:
    world = TracedWorld(calls=2)
    world.ask("large", products={f"id-{number}": "s" for number in range(150)})
    world.finish()
    world.finish(Refusal(404, "no such page"))
    world.publish()
    [request] = world.of(Kind.CONSUMER)

    assert [request.context.span_id] * 2 == [call.parent_id for call in world.of(Kind.CLIENT)]
    assert ("PARTIALLY_SYNCHRONIZED", "CM21_REFUSED", 2) == tuple(
        request.attributes[name] for name in ("resync.status", "error.type", "resync.attempts")
    )
    assert request.attributes["resync.synchronized_products"] in (50, 100)
    assert "CM21_REFUSED" == request.failure


def test_every_attempt_is_a_span_and_counts() -> None:
    world = TracedWorld()
    world.ask("r")
    world.finish(CallFailure("HTTP 503", may_have_reached=False, status=503))
    world.wait(3)
    world.finish()
    world.publish()
    [request] = world.of(Kind.CONSUMER)

    assert [("HTTP 503", 503, "503"), (None, None, None)] == [
        (call.failure, call.attributes.get("http.response.status_code"), call.attributes.get("error.type"))
        for call in world.of(Kind.CLIENT)
    ]
    assert (2, "SYNCHRONIZED") == (request.attributes["resync.attempts"], request.attributes["resync.status"])


@pytest.mark.parametrize(
    ("outcome", "code", "error", "told"),
    [
        (Refusal(401, "secret words"), "CM21_UNAUTHORIZED", "401", "HTTP 401"),
        (Refusal(422, "secret words"), "CM21_REFUSED", "422", "HTTP 422"),
        (
            Unacknowledged(200, "<html>"),
            "CM21_OUTCOME_UNKNOWN",
            "CM21_OUTCOME_UNKNOWN",
            "the answer has no usable tracking id",
        ),
    ],
)
def test_how_mirakl_answered_is_told_without_its_words(outcome: CallOutcome, code: str, error: str, told: str) -> None:
    world = TracedWorld()
    world.ask("r")
    world.finish(outcome)
    world.publish()
    [call], [request] = world.of(Kind.CLIENT), world.of(Kind.CONSUMER)

    assert (error, told) == (call.attributes["error.type"], call.failure)
    assert (code, "FAILED", 0) == (
        request.failure,
        request.attributes["resync.status"],
        request.attributes["resync.synchronized_products"],
    )
    assert "secret words" not in f"{call}{request}"


@pytest.mark.parametrize(
    ("reached", "error"), [(True, "CM21_OUTCOME_UNKNOWN"), (False, "CM21_UNAVAILABLE")], ids=["perhaps", "no"]
)
def test_a_call_without_an_answer_says_whether_mirakl_may_have_it(reached: bool, error: str) -> None:  # noqa: FBT001 - a parameter of pytest's
    world = TracedWorld()
    world.ask("r")
    world.finish(CallFailure("no answer within 60 s", may_have_reached=reached))

    assert [(error, "no answer within 60 s")] == [
        (call.attributes["error.type"], call.failure) for call in world.of(Kind.CLIENT)
    ]


def test_what_needs_no_call_has_a_span_that_says_so() -> None:
    world = TracedWorld()
    world.ask("invalid", products={"": "s"})
    world.publish()
    record = world.record(b"not a request")
    record.headers = [*(record.headers or ()), ("traceparent", f"00-{TRACE}-{PRODUCER}-01".encode())]
    world.fetch([record])
    world.publish()

    assert [] == world.of(Kind.CLIENT)
    assert [("FAILED", "VALIDATION_FAILED", 0), ("DEAD_LETTERED", "UNREADABLE", 0)] == [
        tuple(span.attributes[name] for name in ("resync.status", "error.type", "resync.attempts"))
        for span in world.of(Kind.CONSUMER)
    ]


def test_unsampled_requests_leave_nothing() -> None:
    world = TracedWorld()
    world.ask("a", "b", sampled=False)
    world.send("no trace at all")
    while world.calls:
        world.finish()
    world.publish()

    assert [] == world.spans
    assert {} == world.traces._calls


def test_requests_of_an_assignment_that_ended_are_forgotten() -> None:
    world = TracedWorld()
    world.ask("a")
    world.finish(CallFailure("HTTP 503", may_have_reached=False, status=503))
    world.end(0)
    world.assign(0)
    world.ask("b")
    world.wait(3)
    world.finish()
    world.publish()

    assert ["b"] == list(world.requests())
    assert [] == _noted(world.traces)


def _noted(traces: Traces) -> Sequence[object]:
    return [calls for calls in traces._calls.values() if calls]
