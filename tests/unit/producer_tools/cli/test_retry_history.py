"""What has been retried, or synchronized since, is not sent again."""

import json
from dataclasses import replace
from typing import Any

import pytest

from producer_tools.retries.plan import RetryLimits
from tests.support.policies import adjust
from tests.unit.producer_tools.cli.retry_scene import ANSWERED_AT, SYNCHRONIZED, UNAVAILABLE, Scene, error, retry


def test_each_is_retried_once_unless_again_and_again_after_its_retry_failed(scene: Scene) -> None:
    scene.failed("r1")
    scene.verdict = UNAVAILABLE

    assert [0, 0, 0] == [retry(), retry(), retry()]

    reasons = [request["reason"] for request in scene.retries()]
    ids = ["r1", *(request["requestId"] for request in scene.retries())]
    assert 3 == len(reasons)
    assert [f"retry of {request_id} (0:{at})" for at, request_id in enumerate(ids[:3])] == reasons


def test_nothing_is_sent_once_a_retry_was_synchronized_except_again(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    scene.failed("r1")
    scene.verdict = SYNCHRONIZED

    assert 0 == retry("--wait", "--output", "jsonl")
    (answer,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert ("SYNCHRONIZED", "r1") == (answer["status"], answer["retryOf"])
    assert 0 == retry()
    assert "1 synchronized since: nothing is missing. Use --again" in capsys.readouterr().err
    assert 1 == len(scene.retries())
    assert 0 == retry("--again")
    assert ["retry of r1 (0:0)"] * 2 == [request["reason"] for request in scene.retries()]


def test_of_a_chain_only_the_latest_is_repeated_again(scene: Scene) -> None:
    scene.failed("r1")
    scene.verdict = UNAVAILABLE
    assert 0 == retry()
    (first,) = scene.retries()

    assert 0 == retry("--again")

    assert [f"retry of {first['requestId']} (0:1)"] == [request["reason"] for request in scene.retries()[1:]]


def test_one_that_was_asked_for_again_under_its_id_and_synchronized_is_left(scene: Scene) -> None:
    scene.result("r2", scene.request("r2"))
    scene.failed("r1")
    scene.failed("r2")
    scene.result("r1", scene.request("r1"))

    assert 0 == retry()

    assert ["retry of r2 (0:2)"] == [request["reason"] for request in scene.retries()]


@pytest.mark.parametrize("reason", ["retry of r1 (0:0)", "retry of r1 (0:0): by hand"])
def test_a_retry_that_somebody_else_wrote_counts_in_any_partition(scene: Scene, reason: str) -> None:
    scene.failed("r1")
    for _ in range(3):
        scene.request("x", partition=1)
    scene.request("by-hand", partition=1, reason=reason)
    scene.failed("r10")

    assert 0 == retry()

    assert ["retry of r10 (0:1)"] == [request["reason"] for request in scene.retries()]


@pytest.mark.parametrize("reason", ["retry of r1", "retry of r1: by hand", "retry of r1 (0:7)", "retry of r1 (1:0)"])
def test_a_reason_without_the_place_of_the_request_stops_no_retry(scene: Scene, reason: str) -> None:
    scene.failed("r1")
    scene.request("by-hand", partition=1, reason=reason)

    assert 0 == retry()

    assert ["retry of r1 (0:0)"] == [request["reason"] for request in scene.retries()]


@pytest.mark.parametrize(
    ("tenant", "verdict"),
    [
        (None, {"status": "FAILED", "error": {**error("API_KEY_INVALID", retryable=False), "httpStatus": 401}}),
        ("acme", {"status": "FAILED", "error": {**error("OPERATOR_REQUIRED", retryable=False), "httpStatus": 403}}),
        (
            "acme",
            {
                "status": "FAILED",
                "error": {**error("CLIENT_SPECIFICATION_NOT_FOUND", retryable=False), "httpStatus": 404},
            },
        ),
        ("other", UNAVAILABLE),
        ("other", SYNCHRONIZED),
    ],
)
def test_a_retry_that_was_refused_or_of_another_tenant_does_not_count(
    scene: Scene, tenant: str | None, verdict: dict[str, Any]
) -> None:
    place = scene.failed("r1")
    claimed = scene.request("claim", reason=f"retry of r1 (0:{place[1]})")
    scene.result("claim", claimed, tenant=tenant, **verdict)

    assert 0 == retry("--request-id", "r1")

    assert ["retry of r1 (0:0)"] == [request["reason"] for request in scene.retries()]


def test_a_refusal_from_before_the_original_was_answered_is_seen(scene: Scene) -> None:
    place = scene.request("r1", requestedAt=ANSWERED_AT)
    claimed = scene.request("claim", reason="retry of r1 (0:0)")
    refused = {**error("API_KEY_INVALID", retryable=False), "httpStatus": 401}
    scene.result("claim", claimed, tenant=None, status="FAILED", error=refused)
    scene.wait(hours=1)
    scene.result("r1", place, requestedAt=ANSWERED_AT, **UNAVAILABLE)

    assert 0 == retry()

    assert ["retry of r1 (0:0)"] == [request["reason"] for request in scene.retries()]


@pytest.mark.parametrize("answered", [True, False])
def test_a_retry_of_other_products_does_not_count(scene: Scene, answered: bool) -> None:  # noqa: FBT001 - a parameter
    scene.failed("r1", "M1", "M2")
    claimed = scene.request("claim", "X", reason="retry of r1 (0:0)")
    if answered:
        scene.result("claim", claimed)

    assert 0 == retry()

    assert ["retry of r1 (0:0)"] == [request["reason"] for request in scene.retries()]


def test_a_record_that_the_service_never_answers_is_no_retry(scene: Scene) -> None:
    scene.failed("r1")
    for headers in (None, [(f"h{number}", b"") for number in range(65)]):
        scene.request("claim", reason="retry of r1 (0:0)")
        records = scene.broker.topics["requests"][0]
        records[-1] = replace(records[-1], headers_=headers)

    assert 0 == retry()

    assert ["retry of r1 (0:0)"] == [request["reason"] for request in scene.retries()]


def test_a_retry_whose_original_has_expired_is_told_as_such(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    scene.failed("r1")
    scene.request("claim", reason="retry of r1 (0:0)")
    scene.broker.first_offsets["requests"] = 1

    assert 0 == retry()
    assert "1 retried before" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("tenant", "products"), [("other", ("M1", "M2")), ("acme", ("M1",)), ("acme", ("X", "M1", "M2"))]
)
def test_a_later_success_under_the_same_id_counts_for_the_same_tenant_and_products_only(
    scene: Scene, tenant: str, products: tuple[str, ...]
) -> None:
    scene.failed("job-1", "M1", "M2")
    scene.result("job-1", scene.request("job-1", *products, partition=1), tenant=tenant)

    assert 0 == retry()

    assert ["retry of job-1 (0:0)"] == [request["reason"] for request in scene.retries()]


def test_a_later_success_of_the_same_place_counts(scene: Scene) -> None:
    place = scene.failed("r1")
    scene.result("r1", place)

    assert 0 == retry()

    assert [] == scene.retries()


def test_a_retry_behind_an_open_transaction_is_seen_and_an_aborted_one_is_not_counted(scene: Scene) -> None:
    scene.failed("r1")
    scene.failed("r2")
    scene.request("theirs", reason="retry of r1 (0:0)")
    scene.broker.stable_ends["requests", 0] = 2

    assert 0 == retry()

    assert ["retry of r2 (0:1)"] == [request["reason"] for request in scene.retries()]


def test_schema_headers_are_read_whatever_their_case(scene: Scene, registry: list[str]) -> None:
    place = scene.failed("r1")
    records = scene.broker.topics["requests"][0]
    body = (records[0].value_ or b"")[10:]
    headers = [*(records[0].headers_ or ()), ("__VALUE_SCHEMA_ID", b"\x00\x00\x00\x00\x07")]
    records[place[1]] = replace(records[0], value_=body, headers_=headers)

    assert 0 == retry()

    assert 1 == len([path for path in registry if path == "/subjects/requests-value"][:1])
    assert "retry of r1 (0:0)" in str(scene.broker.topics["requests"][0][-1].value_)


def test_records_with_schemas_of_their_own_neither_stop_a_retry_nor_cost_a_lookup_each(
    scene: Scene, registry: list[str]
) -> None:
    scene.failed("r1")
    for number in range(20):
        guid = ("__value_schema_id", b"\x01" + bytes([number]) * 16)
        scene.broker.add("requests", 0, value_=b"retry of ", headers_=[guid])
    rubbish = scene.broker.add("requests", 0, value_=b"x", headers_=[("__value_schema_id", b"\x01" + b"g" * 16)])
    scene.result("rubbish", (0, rubbish.offset_), **UNAVAILABLE)

    assert 3 == retry()

    assert "retry of r1 (0:0)" in str(scene.broker.topics["requests"][0][-1].value_)
    assert 1 == sum("guids" in path for path in registry)
    assert 3 == retry()  # its own retry, with an id of the registry, is recognized
    assert 1 == sum(b"retry of r1" in (record.value_ or b"") for record in scene.broker.topics["requests"][0])


def test_requests_that_share_an_id_are_told_apart_by_their_places(scene: Scene) -> None:
    scene.failed("same", "M1")
    scene.failed("same", "M2")
    scene.request("first-retry", "M1", reason="retry of same (0:0)")

    assert 0 == retry()

    assert ["retry of same (0:1)"] == [request["reason"] for request in scene.retries()]


def test_of_a_partial_result_only_the_missing_products_are_sent(scene: Scene) -> None:
    place = scene.request("r1", "M1", "M2", "M3")
    missing = [{"miraklProductId": "M2", "productSku": "S-M2"}]
    partial = {"status": "PARTIALLY_SYNCHRONIZED", "unsynchronizedProducts": missing}
    scene.result("r1", place, **{**UNAVAILABLE, **partial})

    assert 0 == retry()

    assert [missing] == [request["products"] for request in scene.retries()]


@pytest.mark.parametrize("again", [(), ("--again",)], ids=["first", "again"])
def test_the_records_read_grow_with_the_partial_results_and_no_faster(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, again: tuple[str, ...]
) -> None:
    """However many products they name: what does not fit into memory together is read again, once, where it stands."""
    monkeypatch.setattr("producer_tools.retries.plan.RetryLimits", lambda: RetryLimits(products=4))
    reads, missing = [], [{"miraklProductId": f"M{number}", "productSku": f"S-M{number}"} for number in (1, 2, 3)]
    for _ in range(2):
        for number in range(40):
            place = scene.request(f"r{number}", "M0", "M1", "M2", "M3", partition=number % 2)
            scene.result(
                f"r{number}",
                place,
                status="PARTIALLY_SYNCHRONIZED",
                unsynchronizedProducts=missing,
                error=UNAVAILABLE["error"],
            )
        scene.broker.read.clear()
        assert 0 == retry("--dry-run", *again)
        reads.append(scene.broker.read.total())

    assert reads[0] <= 6 * (40 + 40)
    assert reads[1] <= 2.1 * reads[0]


def test_a_history_that_is_too_long_to_remember_is_told(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    adjust(monkeypatch, "producer_tools.retries.history", "TOOLS", retries=1)
    for number in range(2):
        scene.failed(f"r{number}")
    scene.verdict = UNAVAILABLE
    assert 0 == retry()
    capsys.readouterr()
    assert 0 == retry("--dry-run")
    assert "earlier retries or later successes were found. The others are not considered" in capsys.readouterr().err
