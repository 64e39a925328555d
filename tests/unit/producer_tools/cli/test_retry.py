"""``retry`` from its options to its exit code, over topics in memory."""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from producer_tools.cli import main
from producer_tools.publisher import ResyncPublisher
from producer_tools.retries.history import retry_reason
from producer_tools.retries.plan import RetryLimits
from producer_tools.sender import OutgoingRecord
from schemas.avro.codec import RequestDecoder, RequestEncoder, ResultEncoder
from schemas.events import ProductResyncRequested
from tests.support.builders import SPECIFICATION_ID, result_fields
from tests.support.policies import adjust
from tests.unit.producer_tools.fake_kafka import ENVIRON, FakeBroker, FakeMessage, fake_broker

Place = tuple[int, int]
OTHER_SPECIFICATION = "99999999-2222-3333-4444-555555555555"
DECODER = RequestDecoder(registry=False, max_bytes=1 << 20)
ANSWERED_AT = 1_700_000_000_000


def error(code: str, *, retryable: bool) -> dict[str, Any]:
    more: dict[str, Any] = {"availableClientSpecificationIds": [], "fieldErrors": []}
    return {"httpStatus": 503, "code": code, "message": "Ask later.", "retryable": retryable, **more}


UNAVAILABLE: dict[str, Any] = {"status": "FAILED", "error": error("CM21_UNAVAILABLE", retryable=True)}
REFUSED: dict[str, Any] = {"status": "FAILED", "error": error("CM21_REFUSED", retryable=False)}
SYNCHRONIZED: dict[str, Any] = {}


class Scene:
    """Requests and their results, as producers and the service write them."""

    def __init__(self, broker: FakeBroker) -> None:
        self.broker = broker
        self.verdict: dict[str, Any] | None = None
        """What is answered to each request that is sent from now on; ``None``: nothing."""
        broker.answer = self._answer
        self._sent: list[FakeMessage] = []
        self._now = ANSWERED_AT

    def request(
        self, request_id: str, *products: str, partition: int = 0, key: bytes = b"key", **changes: object
    ) -> Place:
        fields = {
            "requestId": request_id,
            "clientSpecificationId": None,
            "products": [{"miraklProductId": name, "productSku": f"S-{name}"} for name in products or ("M1", "M2")],
            "requestedAt": ANSWERED_AT,
            "requestedBy": "somebody",
            "reason": None,
            **changes,
        }
        headers = [("dj-client", b"OPERATOR"), ("dj-api-key", key), ("correlation-id", b"c-" + request_id.encode())]
        message = self.broker.add("requests", partition, value_=RequestEncoder().encode(fields), headers_=headers)
        return message.partition_, message.offset_

    def result(
        self,
        request_id: str,
        place: Place,
        topic: str = "requests",
        tenant: str | None = "acme",
        **changes: Any,  # noqa: ANN401 - of any field
    ) -> None:
        self._now += 1000
        headers = [
            *([("resync-tenant", tenant.encode())] if tenant else []),
            ("resync-request-topic", topic.encode()),
            ("resync-request-partition", str(place[0]).encode()),
            ("resync-request-offset", str(place[1]).encode()),
        ]
        value = ResultEncoder().encode(result_fields(request_id, **changes))
        self.broker.add("results", 0, value_=value, key_=request_id.encode(), headers_=headers, timestamp_=self._now)

    def wait(self, hours: int) -> None:
        """Let time pass until the next result."""
        self._now += hours * 3_600_000

    def failed(self, request_id: str, *products: str, **changes: Any) -> Place:  # noqa: ANN401 - of any field
        """A request that was answered ``CM21_UNAVAILABLE``."""
        place = self.request(request_id, *products, **changes)
        self.result(request_id, place, **UNAVAILABLE)
        return place

    def retries(self) -> list[dict[str, Any]]:
        """What was sent, in order."""
        requests = [DECODER.decode(message.value_) for message in self._sent]
        return [request for request in requests if isinstance(request, dict)]

    def _answer(self, message: FakeMessage) -> None:
        self._sent.append(message)
        request = DECODER.decode(message.value_)
        assert isinstance(request, dict)
        if self.verdict is not None:
            self.result(request["requestId"], (message.partition_, message.offset_), **self.verdict)


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    adjust(monkeypatch, "producer_tools.sender", "TOOLS", sender_poll_seconds=0.005)
    adjust(monkeypatch, "producer_tools.cli.dispatch", "TOOLS", poll_seconds=0.02)
    with fake_broker(monkeypatch, [("requests", 2), ("results", 1)]) as broker:
        yield Scene(broker)


@pytest.fixture
def registry(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A registry that has our schema of requests under 7, and does not have GUIDs: the paths that were asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self, status: int, body: object) -> None:
            asked.append(self.path)
            self.rfile.read(int(self.headers.get("content-length", 0)))
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def do_POST(self) -> None:
            self.answer(200, {"id": 7})

        def do_GET(self) -> None:
            self.answer(404, {"message": "no such page"})

        def log_message(self, format: str, *_: object) -> None:  # noqa: A002 - the library's name
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("RESYNC_SCHEMA_REGISTRY__URL", f"http://127.0.0.1:{server.server_port}")
        scene.broker.answer = None
        yield asked
        server.shutdown()


def retry(*arguments: str) -> int:
    return main(["retry", "--yes", *arguments])


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
    assert "earlier retries or later successes were found. Those beyond do not count" in capsys.readouterr().err


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
    assert "1 expired: the requests are no longer on requests. Ask for their products" in capsys.readouterr().err
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


def test_the_reason_names_the_latest_request_and_the_original_reason_only() -> None:
    chained = retry_reason("r2", (0, 7), retry_reason("r (1)", (3, 2**62), "price\nwas stale"))

    assert "retry of r2 (0:7): price\nwas stale" == chained
    assert "retry of r1 (0:0)" == retry_reason("r1", (0, 0), "")
    assert 600 > len(retry_reason("r1", (0, 0), "x" * 10_000))
