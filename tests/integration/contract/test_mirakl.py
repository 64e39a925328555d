"""What becomes of a request that reaches Mirakl, for each thing that Mirakl may say at once."""

from collections.abc import Callable
from typing import TypeAlias

import pytest

from producer_tools.sandbox.mirakl import Effect, Fault, Rules
from producer_tools.sandbox.mirakl.faults import Body
from producer_tools.sandbox.mirakl.rules import Latency
from tests.integration.contract.deployment import CREDENTIAL, Deployment, record
from tests.integration.contract.wire import Event, pairs, request
from tests.support.parts import wait_until

Client: TypeAlias = Callable[..., tuple[str, str]]


def status(number: int, **conditions: object) -> Fault:
    return Fault(effect=Effect.STATUS, status=number, **conditions)  # type: ignore[arg-type] # the model checks them


def failed(deployment: Deployment, key: str, specification: str) -> Event:
    """The error of a request that must be answered long before its deadline."""
    [result] = deployment.ask(key, request(None, specification))
    error: Event = result["error"]
    assert ("FAILED", 0, [], [], specification) == (
        result["status"],
        result["synchronizedProducts"],
        result["trackingIds"],
        result["unsynchronizedProducts"],
        result["clientSpecificationId"],
    )
    assert ([], []) == (error["availableClientSpecificationIds"], error["fieldErrors"])
    assert 0 < len(error["message"]) <= 500
    assert CREDENTIAL not in error["message"]
    return error


def code(error: Event) -> tuple[int, str, bool]:
    return error["httpStatus"], error["code"], error["retryable"]


@pytest.mark.parametrize("answer", [400, 404, 405, 406, 409, 410, 413, 415, 418, 422, 499])
def test_a_final_refusal_is_told_with_its_status_and_words(
    deployment: Deployment, client: Client, key: str, answer: int
) -> None:
    specification, _ = client(status(answer, message=f"No, said Mirakl to {CREDENTIAL}. {'x' * 2000}"))
    error = failed(deployment, key, specification)

    assert (502, "CM21_REFUSED", False) == code(error)
    assert str(answer) in error["message"]
    assert "No, said Mirakl" in error["message"]


@pytest.mark.parametrize("answer", [301, 302, 303, 307, 308])
def test_a_redirect_is_refused_and_never_followed(
    deployment: Deployment, client: Client, key: str, answer: int
) -> None:
    _, elsewhere = client()
    specification, _ = client(status(answer, location=deployment.mirakl.simulator.url(elsewhere) + "/api"))
    error = failed(deployment, key, specification)

    assert (502, "CM21_REFUSED", False) == code(error)
    assert str(answer) in error["message"]
    assert 0 == deployment.mirakl.simulator.counters(elsewhere).calls


@pytest.mark.parametrize("answer", [401, 403])
def test_a_refused_credential_is_told_apart(deployment: Deployment, client: Client, key: str, answer: int) -> None:
    specification, _ = client(status(answer))

    assert (502, "CM21_UNAUTHORIZED", False) == code(failed(deployment, key, specification))


@pytest.mark.parametrize(
    "fault",
    [
        Fault(effect=Effect.NO_TRACKING_ID),
        Fault(effect=Effect.BLANK_TRACKING_ID),
        Fault(effect=Effect.NUMERIC_TRACKING_ID),
        Fault(effect=Effect.EMPTY_BODY),
        Fault(effect=Effect.LOGIN_PAGE),
        Fault(effect=Effect.GZIP_BOMB),
        Fault(effect=Effect.HUGE_BODY),
        status(201, body=Body.EMPTY),
        status(202),
        status(204, body=Body.EMPTY),
    ],
    ids=lambda fault: str(fault.status or fault.effect),
)
def test_success_without_a_tracking_id_is_final_and_unknown(
    deployment: Deployment, client: Client, key: str, fault: Fault
) -> None:
    specification, instance = client(fault)

    assert (502, "CM21_OUTCOME_UNKNOWN", True) == code(failed(deployment, key, specification))
    assert 1 == deployment.mirakl.simulator.counters(instance).calls


def test_either_form_of_credential_is_sent(deployment: Deployment, client: Client, key: str) -> None:
    for options, expected in ((), f"Bearer {CREDENTIAL}"), (("--auth", "api-key"), CREDENTIAL):
        specification, instance = client(options=options)
        deployment.mirakl.rules(instance, Rules(authorization=(expected,)))
        assert "SYNCHRONIZED" == deployment.ask(key, request(None, specification))[0]["status"]


@pytest.mark.parametrize("tail", ["/", "/api", "/api/"])
def test_a_base_url_may_be_pasted_with_or_without_its_tail(
    deployment: Deployment, client: Client, key: str, tail: str
) -> None:
    specification, instance = client()
    deployment.administer("clients", "set", specification, "--url", deployment.mirakl.simulator.url(instance) + tail)

    assert "SYNCHRONIZED" == deployment.ask(key, request(None, specification))[0]["status"]


def test_a_large_request_is_split_and_finishes_with_its_last_part(
    deployment: Deployment, client: Client, key: str
) -> None:
    specification, instance = client(options=("--products-per-call", "10"))
    [result] = deployment.ask(key, request([*pairs(35), *pairs(5)], specification))
    submissions = deployment.mirakl.submissions(instance)

    assert ("SYNCHRONIZED", 35, None) == (result["status"], result["synchronizedProducts"], result["error"])
    assert 4 == len(set(result["trackingIds"])) == len(submissions)
    assert max(map(len, submissions)) <= 10
    assert {each["miraklProductId"]: each["productSku"] for each in pairs(35)} == {
        id_: sku for submission in submissions for id_, sku in submission.items()
    }


def test_of_a_large_request_the_parts_that_failed_are_handed_back(
    deployment: Deployment, client: Client, key: str
) -> None:
    specification, _ = client(
        status(400, message="the later one", mirakl_product_ids=["MKL-31"]),
        status(422, message="the first one", mirakl_product_ids=["MKL-12"]),
        options=("--products-per-call", "10"),
    )
    [result] = deployment.ask(key, request(pairs(35), specification))

    assert ("PARTIALLY_SYNCHRONIZED", 20) == (result["status"], result["synchronizedProducts"])
    assert [*pairs(20)[10:], *pairs(35)[30:]] == result["unsynchronizedProducts"]
    assert 2 == len(result["trackingIds"])
    assert (502, "CM21_REFUSED", False) == code(result["error"])
    assert "the first one" in result["error"]["message"]


def test_a_large_request_all_of_whose_parts_are_refused_has_failed(
    deployment: Deployment, client: Client, key: str
) -> None:
    specification, _ = client(status(422), options=("--products-per-call", "10"))
    [result] = deployment.ask(key, request(pairs(35), specification))

    assert ("FAILED", 0, [], []) == (
        result["status"],
        result["synchronizedProducts"],
        result["trackingIds"],
        result["unsynchronizedProducts"],
    )
    assert (502, "CM21_REFUSED", False) == code(result["error"])


@pytest.mark.parametrize("answer", [400, 413, 422])
def test_one_bad_request_spoils_none_that_travelled_with_it(
    deployment: Deployment, client: Client, key: str, answer: int
) -> None:
    specification, instance = client(status(answer, mirakl_product_id_prefix="P7-"))
    deployment.mirakl.rules(instance, Rules(latency=Latency(seconds=0.3)))
    events = [request(pairs(3, f"P{number}"), specification) for number in range(30)]
    results = deployment.ask(key, *events)

    assert [7] == [number for number, result in enumerate(results) if result["status"] != "SYNCHRONIZED"]
    assert (502, "CM21_REFUSED", False) == code(results[7]["error"])
    assert deployment.mirakl.simulator.counters(instance).calls < 20, "they did not travel together"


def test_another_refusal_answers_all_that_travelled_together(deployment: Deployment, client: Client, key: str) -> None:
    specification, instance = client(status(404))
    deployment.mirakl.rules(instance, Rules(latency=Latency(seconds=0.3)))
    results = deployment.ask(key, *(request(pairs(1, f"P{number}"), specification) for number in range(30)))

    assert {"CM21_REFUSED"} == {result["error"]["code"] for result in results}
    assert deployment.mirakl.simulator.counters(instance).calls < 10


def test_one_product_with_two_skus_is_pushed_in_the_order_of_its_partition(
    deployment: Deployment, client: Client, key: str
) -> None:
    specification, instance = client()
    deployment.mirakl.rules(instance, Rules(latency=Latency(seconds=0.05)))
    skus = [f"SKU-{number}" for number in range(12)]
    sent = [request([{"miraklProductId": "SAME", "productSku": sku}], specification) for sku in skus]
    for coordinates in deployment.send(*(record(key, event, partition=1) for event in sent)):
        assert "SYNCHRONIZED" == deployment.result(coordinates)["status"]

    assert skus == [submission["SAME"] for submission in deployment.mirakl.submissions(instance)]


def test_a_change_of_the_address_counts_for_what_waits(deployment: Deployment, client: Client, key: str) -> None:
    specification, _ = client(status(503))
    _, other = client()
    coordinates = deployment.send(record(key, request(None, specification)))
    deployment.administer("clients", "set", specification, "--url", deployment.mirakl.simulator.url(other))

    assert "SYNCHRONIZED" == deployment.result(coordinates[0])["status"]


def test_what_waits_is_answered_when_its_specification_is_suspended(
    deployment: Deployment, client: Client, key: str
) -> None:
    specification, instance = client(status(503))
    coordinates = deployment.send(record(key, request(None, specification)))
    wait_until(lambda: deployment.mirakl.simulator.counters(instance).calls > 0, timeout=10, what="a call")
    deployment.administer("clients", "suspend", specification)

    assert deployment.result(coordinates[0])["error"]["code"] in ("CLIENT_SPECIFICATION_SUSPENDED", "CM21_UNAVAILABLE")


def test_nothing_was_sent_that_mirakl_must_not_be_sent(deployment: Deployment, client: Client, key: str) -> None:
    specification, _ = client()
    assert "SYNCHRONIZED" == deployment.ask(key, request(None, specification))[0]["status"]
    assert [] == deployment.mirakl.shouted
