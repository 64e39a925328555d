"""How the requests of a plan are sent: after a question, at a rate, and within bounds."""

import json
import time
from itertools import pairwise
from typing import Any

import pytest

from producer_tools.cli import main
from producer_tools.publisher import ResyncPublisher
from producer_tools.retries.plan import RetryLimits
from producer_tools.sender import OutgoingRecord
from schemas.events import ProductResyncRequested
from tests.support.builders import SPECIFICATION_ID
from tests.support.policies import adjust
from tests.unit.producer_tools.cli.retry_scene import REFUSED, SYNCHRONIZED, UNAVAILABLE, Scene, retry
from tests.unit.producer_tools.fake_kafka import FakeMessage


def test_the_plan_is_shown_and_nothing_sent_in_a_dry_run_or_without_a_yes(
    scene: Scene, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.failed("r1")
    scene.failed("r2")

    assert 2 == main(["retry"])
    told = capsys.readouterr().err
    assert "add --yes" in told
    monkeypatch.delenv("RESYNC_API_KEY")
    assert 0 == main(["retry", "--dry-run"])
    shown = capsys.readouterr()
    assert ["CM21_UNAVAILABLE", SPECIFICATION_ID, "acme", "2", "2", "0", "0"] == shown.out.splitlines()[1].split()
    assert "dry run: would send 4 products in 2 requests" in shown.err
    assert 0 == main(["retry", "--dry-run", "--output", "json"])
    assert ["r1", "r2"] == [each["retryOf"] for each in json.loads(capsys.readouterr().out)]
    assert 2 == main(["retry"])
    assert "There is no API key" in capsys.readouterr().err
    assert [] == scene.retries()


def test_one_that_somebody_retries_while_the_question_waits_is_left_out(
    scene: Scene, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.failed("r1")
    scene.failed("r2")

    def somebody_else(_question: str, **_: object) -> None:
        scene.request("theirs", reason="retry of r1 (0:0)")

    monkeypatch.setattr("producer_tools.cli.retry.confirm", somebody_else)

    assert 0 == main(["retry"])
    assert ["retry of r2 (0:1)"] == [request["reason"] for request in scene.retries()]
    assert "1 request left out: somebody else has retried them meanwhile" in capsys.readouterr().err


def test_the_rate_bounds_the_sending(scene: Scene) -> None:
    for number in range(4):
        scene.failed(f"r{number}")
    began = time.monotonic()

    assert 0 == retry("--rate", "20/s")

    assert 4 == len(scene.retries())
    assert 0.15 <= time.monotonic() - began


def test_after_a_stall_the_rate_still_holds(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        scene.failed(f"r{number}")
    sent: list[float] = []
    prepare = ResyncPublisher.prepare

    def stalling(publisher: ResyncPublisher, request: ProductResyncRequested) -> OutgoingRecord:
        if not sent:
            time.sleep(0.3)
        sent.append(time.monotonic())
        return prepare(publisher, request)

    monkeypatch.setattr(ResyncPublisher, "prepare", stalling)

    assert 0 == retry("--rate", "20/s")

    assert 0.045 <= min(later - earlier for earlier, later in pairwise(sent))


def test_what_somebody_retries_while_the_rest_is_being_sent_is_left_out(
    scene: Scene, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        scene.failed(f"r{number}")
    adjust(monkeypatch, "producer_tools.cli.retry", "TOOLS", look_seconds=0.0)
    answer = scene.broker.answer

    def somebody_else(message: FakeMessage) -> None:
        assert answer is not None
        answer(message)
        if 1 == len(scene.retries()):
            scene.request("theirs", reason="retry of r1 (0:1)")

    scene.broker.answer = somebody_else

    assert 0 == retry("--rate", "50/s", "--output", "jsonl")

    assert ["retry of r0 (0:0)", "retry of r2 (0:2)"] == [request["reason"] for request in scene.retries()]
    told = capsys.readouterr()
    assert ["r0", "r2"] == [json.loads(line)["retryOf"] for line in told.out.splitlines()]
    assert "1 request left out: somebody else" in told.err


@pytest.mark.parametrize("rate", ["0/s", "fast", "10", "-1/s", "10/m"])
def test_a_rate_is_a_number_per_second(rate: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert 2 == retry("--rate", rate)
    assert "write it like 10/s" in capsys.readouterr().err


@pytest.mark.parametrize(("verdict", "code"), [(SYNCHRONIZED, 0), (REFUSED, 4), (None, 5)])
def test_waiting_ends_with_what_came_of_the_retries(scene: Scene, verdict: dict[str, Any] | None, code: int) -> None:
    scene.failed("r1")
    scene.verdict = verdict

    assert code == retry("--wait", "--timeout", "200ms")


def test_no_results_are_no_failure(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    scene.result("r1", scene.request("r1"))

    assert 0 == retry()
    assert "no results to retry" in capsys.readouterr().err


@pytest.mark.parametrize(
    "limits",
    [{"portion": 2}, {"requests": 3}, {"request_bytes": 400}, {"portion": 1, "requests": 2}, {"products": 1}],
    ids=" ".join,
)
def test_a_plan_is_bounded_and_repeated_runs_come_to_its_end(
    scene: Scene, limits: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(9):
        scene.failed(f"r{number}", partition=number % 2)
    monkeypatch.setattr("producer_tools.retries.plan.RetryLimits", lambda: RetryLimits(**limits))

    sent = []
    for _ in range(9):
        assert 0 == retry()
        sent.append(len(scene.retries()))

    assert sent[0] <= limits.get("requests", 9)
    assert 9 == sent[-1] == len({request["reason"] for request in scene.retries()})


def test_a_request_that_was_answered_twice_is_retried_once(scene: Scene) -> None:
    place = scene.failed("r1")
    scene.result("r1", place, **UNAVAILABLE)

    assert 0 == retry()
    assert 1 == len(scene.retries())
