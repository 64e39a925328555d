"""After an outage: what was answered with a retryable code is asked for again, once, where it stands."""

import json
import uuid
from collections.abc import Callable
from typing import TypeAlias

from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from producer_tools.sandbox.mirakl import Effect, Fault
from tests.integration.contract import wire
from tests.integration.contract.deployment import Deployment, operator, record
from tests.integration.contract.wire import Event, pairs, request
from tests.support.parts import wait_until
from tests.support.records import RawRecord, read_topic

Client: TypeAlias = Callable[..., tuple[str, str]]

SECOND_PART = frozenset({"MKL-11"})


def down(**conditions: object) -> Fault:
    """Answers 503 and asks to come again tomorrow, so that requests are answered at once."""
    return Fault(effect=Effect.STATUS, status=503, retry_after="100000", **conditions)  # type: ignore[arg-type] # the model checks them


def mended(deployment: Deployment, key: str, specification: str, instance: str) -> None:
    """Mirakl is well again, and the service has noticed: a change of the row ends the pause."""
    deployment.mirakl.script(instance)
    deployment.administer("clients", "set", specification, "--calls-per-hour", "360000")
    probe = request(pairs(1, "PROBE"), specification)

    def synchronized() -> bool:
        return bool(deployment.ask(key, probe)[0]["status"] == "SYNCHRONIZED")

    wait_until(synchronized, timeout=10, what="a synchronized request")


def retry(deployment: Deployment, key: str, specification: str, *arguments: str) -> tuple[int, list[Event], str]:
    """Exit code, data, messages."""
    chosen = ("--client-specification", specification, "--output", "jsonl")
    code, out, err = deployment.tool(key, "retry", *chosen, *arguments)
    return code, [json.loads(line) for line in out.splitlines()], err


def test_what_an_outage_failed_is_synchronized_by_one_retry(deployment: Deployment, client: Client, key: str) -> None:
    specification, instance = client(down())
    asked = [request(pairs(2, f"OUTAGE-{number}"), specification) for number in range(3)]
    assert {"CM21_UNAVAILABLE"} == {result["error"]["code"] for result in deployment.ask(key, *asked)}
    mended(deployment, key, specification, instance)

    code, planned, told = retry(deployment, key, specification, "--dry-run")
    assert 0 == code
    assert {event["requestId"] for event in asked} == {each["retryOf"] for each in planned}
    assert "dry run: would send 6 products in 3 requests" in told
    assert 2 == retry(deployment, key, specification)[0]

    code, answers, _ = retry(deployment, key, specification, "--yes", "--wait", "--rate", "50/s")
    assert 0 == code
    assert [("SYNCHRONIZED", 2)] * 3 == [(each["status"], each["synchronizedProducts"]) for each in answers]

    assert (0, []) == retry(deployment, key, specification, "--yes")[:2]
    ids = [argument for event in asked for argument in ("--request-id", event["requestId"])]
    code, again, _ = retry(deployment, key, specification, "--yes", "--again", "--wait", *ids)
    assert (0, 3) == (code, len(again))
    pushed = [product for call in deployment.mirakl.submissions(instance) for product in call]
    assert {2} == {pushed.count(product["miraklProductId"]) for event in asked for product in event["products"]}


def test_of_a_partial_result_the_rest_is_pushed(deployment: Deployment, client: Client, key: str) -> None:
    options = ("--products-per-call", "10", "--concurrent-calls", "1")
    specification, instance = client(down(mirakl_product_ids=SECOND_PART), options=options)
    (result,) = deployment.ask(key, request(pairs(25), specification))
    missing = [each["miraklProductId"] for each in result["unsynchronizedProducts"]]
    assert ("PARTIALLY_SYNCHRONIZED", True) == (result["status"], 0 < len(missing) < 25)
    mended(deployment, key, specification, instance)
    before = len(deployment.mirakl.submissions(instance))

    code, (answer,), _ = retry(deployment, key, specification, "--yes", "--wait")

    assert (0, len(missing)) == (code, answer["synchronizedProducts"])
    calls = deployment.mirakl.submissions(instance)[before:]
    assert sorted(missing) == sorted(product for call in calls for product in call)


def test_a_code_of_a_final_refusal_is_retried_on_demand(deployment: Deployment, client: Client, key: str) -> None:
    specification, instance = client(Fault(effect=Effect.STATUS, status=401))
    deployment.ask(key, request(None, specification))
    mended(deployment, key, specification, instance)

    assert (0, []) == retry(deployment, key, specification, "--yes")[:2]
    code, (answer,), _ = retry(deployment, key, specification, "--yes", "--code", "CM21_UNAUTHORIZED", "--wait")

    assert (0, "SYNCHRONIZED") == (code, answer["status"])


def test_what_has_expired_is_told_and_the_rest_sent(deployment: Deployment, client: Client, key: str) -> None:
    specification, _ = client(down())
    events = [request(None, specification), request(None, specification)]
    first, second = deployment.send(*(record(key, event, partition=0) for event in events))
    deployment.outcomes.wait([first, second])
    admin = AdminClient({"bootstrap.servers": deployment.bootstrap})
    for deleted in admin.delete_records([TopicPartition(deployment.topics.requests, 0, second[1])]).values():
        deleted.result(10)

    code, (sent,), told = retry(deployment, key, specification, "--yes")

    assert (3, events[1]["requestId"], 0) == (code, sent["retryOf"], sent["partition"])
    assert "1 expired: " in told
    assert 4 == retry(deployment, key, specification, "--yes", "--request-id", events[0]["requestId"])[0]


def test_a_result_of_an_aborted_transaction_is_not_believed(deployment: Deployment, client: Client, key: str) -> None:
    specification, _ = client()
    event = request(None, specification)
    (place,) = deployment.send(RawRecord(wire.single_object(event), None, operator(key), 1))
    assert "SYNCHRONIZED" == deployment.result(place)["status"]
    answered = deployment.result_record(place)
    error = {
        "httpStatus": 503,
        "code": "CM21_UNAVAILABLE",
        "message": "Later.",
        "retryable": True,
        "availableClientSpecificationIds": [],
        "fieldErrors": [],
    }
    failed = {**wire.read_result(answered.value), "status": "FAILED", "error": error}
    producer = Producer({"bootstrap.servers": deployment.bootstrap, "transactional.id": uuid.uuid4().hex})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(
        deployment.topics.results,
        wire.single_object(failed, wire.RESULT),
        answered.key,
        headers=list(answered.headers),
    )
    producer.flush(30)
    producer.abort_transaction(30)

    assert (0, []) == retry(deployment, key, specification, "--yes", "--since", "1m")[:2]
    records = read_topic(deployment.bootstrap, deployment.topics.requests)
    assert not any(
        specification.encode() in (each.value or b"") and b"retry of " in (each.value or b"") for each in records
    )
