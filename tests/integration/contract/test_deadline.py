"""What a request is answered when Mirakl does not come to an end with it: at the deadline, or before it is hopeless."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from producer_tools.sandbox.mirakl import Effect, Fault
from producer_tools.sandbox.mirakl.faults import Body
from tests.integration.contract.deployment import Coordinates, Deployment, record
from tests.integration.contract.wire import Event, pairs, request
from tests.support.parts import free_port

DEADLINE_SECONDS = 8.0


def status(number: int, **conditions: object) -> Fault:
    return Fault(effect=Effect.STATUS, status=number, **conditions)  # type: ignore[arg-type] # the model checks them


def effect(name: Effect, **conditions: object) -> Fault:
    return Fault(effect=name, **conditions)  # type: ignore[arg-type] # the model checks them


SECOND_PART = frozenset({"MKL-11"})

UNAVAILABLE = (503, "CM21_UNAVAILABLE", True)
UNKNOWN = (502, "CM21_OUTCOME_UNKNOWN", True)

NEVER_REACHED: dict[str, list[Fault]] = {
    **{str(number): [status(number, body=Body.HTML)] for number in (408, 425, 429, 500, 502, 503, 599)},
    "says now, always": [status(503, retry_after="0")],
    "says garbage": [status(429, retry_after="soon")],
}
MAY_HAVE_REACHED: dict[str, list[Fault]] = {
    "504": [status(504)],
    "504, then 503": [status(504, count=1), status(503)],
    "hangs": [effect(Effect.HANG)],
    "resets": [effect(Effect.RESET)],
    "closes": [effect(Effect.CLOSE)],
    "breaks off": [effect(Effect.TRUNCATED_BODY)],
    "speaks no HTTP": [effect(Effect.NOT_HTTP)],
}
HOPELESS: dict[str, list[Fault]] = {
    "says in a day": [status(429, retry_after="100000")],
    "says on a date": [status(503, retry_after="date+7200")],
}
RECOVERS: dict[str, list[Fault]] = {
    "503 twice": [status(503, count=2)],
    "says in a second": [status(429, retry_after="1", count=1)],
    "resets once": [effect(Effect.RESET, count=1)],
    "slow": [effect(Effect.DELAY, delay=2.0)],
}
IN_PART: dict[str, list[Fault]] = {
    "part of it: 503": [status(503, mirakl_product_ids=SECOND_PART)],
    "part of it: hangs": [effect(Effect.HANG, mirakl_product_ids=SECOND_PART)],
}
ADDRESSES = {
    "nobody listens": f"http://127.0.0.1:{free_port()}",
    "no such host": "https://does-not-exist.invalid",
    "no TLS there": "",
}


@dataclass(frozen=True)
class Answer:
    """A result, and how long after sending it was published."""

    result: Event
    seconds: float

    @property
    def code(self) -> tuple[int, str, bool]:
        error = self.result["error"]
        return error["httpStatus"], error["code"], error["retryable"]


@pytest.fixture(scope="module")
def answers(deployment: Deployment, key: str) -> Iterator[dict[str, Answer]]:
    """All stories at once, each with a client specification of its own."""
    sent: dict[str, Event] = {}
    for name, faults in {**NEVER_REACHED, **MAY_HAVE_REACHED, **HOPELESS, **RECOVERS, **IN_PART}.items():
        instance = f"instance-{len(sent)}"
        deployment.mirakl.script(instance, *faults)
        options = ("--products-per-call", "10") if name in IN_PART else ()
        products = pairs(25 if name in IN_PART else 2)
        sent[name] = request(products, deployment.specification(instance, "--inactive", *options))
    for name, address in ADDRESSES.items():
        instance = f"instance-{len(sent)}"
        specification = deployment.specification(instance, "--inactive")
        url = address or deployment.mirakl.simulator.url(instance).replace("http:", "https:")
        deployment.administer("clients", "set", specification, "--url", url)
        sent[name] = request(None, specification)
    with deployment.service(RESYNC_REQUEST_DEADLINE=f"{DEADLINE_SECONDS:g}s") as replica:
        began = time.time()
        coordinates = deployment.send(*(record(key, event) for event in sent.values()))
        yield {name: _answer(deployment, each, began) for name, each in zip(sent, coordinates, strict=True)}
        assert 0 == replica.terminate()


def _answer(deployment: Deployment, coordinates: Coordinates, began: float) -> Answer:
    found = deployment.result_record(coordinates, timeout=2 * DEADLINE_SECONDS)
    return Answer(deployment.result(coordinates), found.timestamp / 1000 - began)


@pytest.mark.parametrize("story", [*NEVER_REACHED, *ADDRESSES])
def test_what_never_reached_mirakl_is_unavailable(answers: dict[str, Answer], story: str) -> None:
    answer = answers[story]

    assert ("FAILED", UNAVAILABLE) == (answer.result["status"], answer.code)
    assert answer.seconds < DEADLINE_SECONDS + 1


@pytest.mark.parametrize("story", MAY_HAVE_REACHED)
def test_what_may_have_reached_mirakl_is_unknown(answers: dict[str, Answer], story: str) -> None:
    answer = answers[story]

    assert ("FAILED", UNKNOWN) == (answer.result["status"], answer.code)
    assert answer.seconds < DEADLINE_SECONDS + 1


@pytest.mark.parametrize("story", HOPELESS)
def test_what_can_no_longer_be_in_time_is_answered_at_once(answers: dict[str, Answer], story: str) -> None:
    assert UNAVAILABLE == answers[story].code
    assert answers[story].seconds < DEADLINE_SECONDS / 2


@pytest.mark.parametrize("story", RECOVERS)
def test_what_heals_in_time_is_synchronized(answers: dict[str, Answer], story: str) -> None:
    assert ("SYNCHRONIZED", None) == (answers[story].result["status"], answers[story].result["error"])


@pytest.mark.parametrize("story", IN_PART)
def test_of_a_large_request_what_was_taken_in_counts(answers: dict[str, Answer], story: str) -> None:
    answer, result = answers[story], answers[story].result
    handed_back = [each["miraklProductId"] for each in result["unsynchronizedProducts"]]

    assert "PARTIALLY_SYNCHRONIZED" == result["status"]
    assert (UNAVAILABLE if "503" in story else UNKNOWN) == answer.code
    assert {f"MKL-{number}" for number in range(10, 20)} <= set(handed_back)
    assert 25 - len(handed_back) == result["synchronizedProducts"] > 0
    assert result["trackingIds"]
