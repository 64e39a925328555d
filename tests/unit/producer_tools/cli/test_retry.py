"""``retry`` from its options to its exit code, over topics in memory."""

from pathlib import Path

import pytest

from producer_tools.retries.history import retry_reason
from tests.support.builders import SPECIFICATION_ID
from tests.unit.producer_tools.cli.retry_scene import OTHER_SPECIFICATION, REFUSED, UNAVAILABLE, Scene, error, retry


def test_a_retry_repeats_the_request_where_it_stands_under_a_new_id(scene: Scene) -> None:
    scene.failed("r0", partition=1)
    place = scene.failed("r1", "M1", "M2", "M1", partition=1, reason="stale")

    assert 0 == retry("--request-id", "r1")

    (sent,) = scene.retries()
    assert "r1" != sent["requestId"]
    assert (f"retry of r1 (1:{place[1]}): stale", ["M1", "M2"], None) == (
        sent["reason"],
        [each["miraklProductId"] for each in sent["products"]],
        sent["clientSpecificationId"],
    )
    record = scene.broker.topics["requests"][1][-1]
    assert [("dj-client", b"OPERATOR"), ("dj-api-key", b"key"), ("correlation-id", b"c-r1")] == record.headers()


def test_a_code_is_repeated_instead_of_what_is_retryable(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    scene.failed("r1")
    scene.result("r2", scene.request("r2"), **REFUSED)
    scene.result("r3", scene.request("r3"))

    assert 0 == retry("--code", "CM21_REFUSED")
    assert ["retry of r2 (0:1)"] == [request["reason"] for request in scene.retries()]
    assert 0 == retry("--code", "CM21_UNAVAILBLE")
    assert "did you mean CM21_UNAVAILABLE?" in capsys.readouterr().err


def test_a_time_and_a_client_narrow_the_choice(scene: Scene) -> None:
    scene.failed("early")
    place = scene.request("other")
    scene.result("other", place, clientSpecificationId=OTHER_SPECIFICATION, **UNAVAILABLE)
    scene.failed("late")

    window = ("--since", "2023-11-14T22:13:22Z", "--until", "2023-11-14T22:13:23Z")
    assert 0 == retry(*window)
    assert 0 == retry("--client-specification", SPECIFICATION_ID.upper())

    reasons = [request["reason"] for request in scene.retries()]
    assert ["retry of other (0:1)", "retry of early (0:0)", "retry of late (0:2)"] == reasons


def test_a_request_of_another_key_names_the_specification_that_was_used(scene: Scene) -> None:
    """Without one, it would be resolved among those of the caller's tenant."""
    scene.failed("theirs", key=b"theirs")
    scene.failed("ours")

    assert 0 == retry()

    assert [SPECIFICATION_ID, None] == [request["clientSpecificationId"] for request in scene.retries()]


def test_with_signatures_no_retry_has_a_key_and_own_requests_stay_as_they_are(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RESYNC_REQUEST_AUTH", "signature")
    scene.failed("r1")
    scene.verdict = UNAVAILABLE
    assert 0 == retry()
    scene.verdict = None

    assert 0 == retry()

    assert [None, None] == [request["clientSpecificationId"] for request in scene.retries()]
    records = scene.broker.topics["requests"][0][-2:]
    assert [["dj-client", "correlation-id", "dj-signature"]] * 2 == [
        [name for name, _ in record.headers() or ()] for record in records
    ]
    (tmp_path / "key").write_text("another")
    assert 0 == retry("--again", "--api-key-file", str(tmp_path / "key"))
    assert SPECIFICATION_ID == scene.retries()[-1]["clientSpecificationId"]


def test_what_results_claim_is_believed_within_bounds(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    good = scene.failed("good")
    scene.result("not-good", good, **UNAVAILABLE)
    scene.result("elsewhere", good, topic="other", **UNAVAILABLE)
    scene.result("future", (0, 99), **UNAVAILABLE)
    scene.result("no-partition", (7, 0), **UNAVAILABLE)
    scene.result("huge", (0, 2**64), **UNAVAILABLE)
    rubbish = scene.broker.add("requests", 0, value_=b"rubbish")
    scene.result("rubbish", (0, rubbish.offset_), **UNAVAILABLE)
    partial = scene.request("partial", "M1", "M2")
    foreign = [{"miraklProductId": "X", "productSku": "X"}]
    scene.result(
        "partial", partial, **{**UNAVAILABLE, "status": "PARTIALLY_SYNCHRONIZED", "unsynchronizedProducts": foreign}
    )
    named = scene.request("named", clientSpecificationId=OTHER_SPECIFICATION)
    scene.result("named", named, **UNAVAILABLE)

    assert 3 == retry()

    assert ["retry of good (0:0)"] == [request["reason"] for request in scene.retries()]
    told = capsys.readouterr().err
    assert "2 from elsewhere: the results name no place on requests." in told
    assert "5 not the request of the result: " in told
    assert "1 unreadable: " in told


def test_what_has_expired_is_counted_and_decides_about_the_exit_code(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    scene.failed("r1")
    scene.broker.first_offsets["requests"] = 1

    assert 4 == retry()
    assert (
        "1 expired: the requests, or their results, are no longer on their topics. Ask for their products"
        in capsys.readouterr().err
    )
    scene.failed("r2")
    assert 3 == retry()
    assert ["retry of r2 (0:1)"] == [request["reason"] for request in scene.retries()]


def test_a_request_that_would_be_refused_is_not_sent(scene: Scene) -> None:
    place = scene.request("r1", " M1")
    scene.result("r1", place, status="FAILED", error=error("VALIDATION_FAILED", retryable=False))

    assert 4 == retry("--code", "VALIDATION_FAILED")
    assert [] == scene.retries()


@pytest.mark.parametrize(
    ("request_id", "code", "told"),
    [
        ("unknown", 2, "--request-id unknown: there is no result"),
        ("refused", 2, "--request-id refused: its result is CM21_REFUSED"),
        ("done", 0, "done is synchronized"),
    ],
)
def test_an_id_without_a_result_to_retry_says_why(
    scene: Scene, request_id: str, code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    scene.failed("r1")
    scene.result("refused", scene.request("refused"), **REFUSED)
    scene.result("done", scene.request("done"))

    assert code == retry("--request-id", request_id)
    assert told in capsys.readouterr().err
    assert [] == scene.retries()


def test_the_reason_names_the_latest_request_and_the_original_reason_only() -> None:
    chained = retry_reason("r2", (0, 7), retry_reason("r (1)", (3, 2**62), "price\nwas stale"))

    assert "retry of r2 (0:7): price\nwas stale" == chained
    assert "retry of r1 (0:0)" == retry_reason("r1", (0, 0), "")
    assert 600 > len(retry_reason("r1", (0, 0), "x" * 10_000))
