"""The published call, from request to response, without Kafka."""

import asyncio
import json
import re
import time

import pytest

from producer_tools.errors import NotAcknowledgedError
from producer_tools.gateway.calls import PATH
from producer_tools.gateway.policy import GatewayPolicy
from producer_tools.gateway.problems import Problem
from producer_tools.gateway.request_ids import new_request_id, time_of
from schemas.contract import ErrorCode, GatewayCode
from tests.unit.producer_tools.gateway.world import (
    BODY,
    KEY,
    SPECIFICATION,
    World,
    error,
    run,
)

UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def test_a_good_answer_has_the_two_published_fields_and_nothing_else() -> None:
    async def story() -> None:
        world = World()
        response = await world.answered_call()

        assert 200 == response.status_code
        assert json.dumps({"synchronizedProducts": 1, "clientSpecificationId": SPECIFICATION}) == response.text
        assert "application/json" == response.headers["content-type"]
        assert UUID7.fullmatch(response.headers["resync-request-id"])
        assert world.request()["requestId"] == response.headers["resync-request-id"]

    run(story)


def test_the_request_says_what_the_caller_said() -> None:
    async def story() -> None:
        world = World()
        body = {**BODY, "clientSpecificationId": SPECIFICATION, "reason": "stale", "requestedBy": "me", "more": [{}]}
        headers = {"traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01", "correlation-id": "c 1", "cookie": "x"}
        await world.answered_call(body=body, headers={**headers, "user-agent": "curl/8"})

        request = world.request()
        assert (SPECIFICATION, "stale", "me") == tuple(
            request[name] for name in ("clientSpecificationId", "reason", "requestedBy")
        )
        assert BODY["products"] == request["products"]
        assert SPECIFICATION.encode() == world.sender.records[0].key
        assert {"dj-client": b"OPERATOR", "dj-api-key": KEY.encode()} | {
            name: value.encode() for name, value in headers.items() if name != "cookie"
        } == dict(world.sender.records[0].headers)
        assert abs(request["requestedAt"] / 1000 - time.time()) < 5

    run(story)


@pytest.mark.parametrize(("user_agent", "requester"), [("curl/8.1", "curl/8.1"), ("x" * 300, "x" * 255), ("", "http")])
def test_the_requester_is_the_user_agent_unless_the_body_names_one(user_agent: str, requester: str) -> None:
    async def story() -> None:
        world = World()
        await world.answered_call(headers={"user-agent": user_agent})

        assert requester == world.request()["requestedBy"]

    run(story)


def test_a_partial_result_is_200_and_says_what_is_missing() -> None:
    async def story() -> None:
        world = World()
        missing = [{"miraklProductId": "M2", "productSku": "S2"}]
        partial = {
            **error("CM21_REFUSED", 502),
            "status": "PARTIALLY_SYNCHRONIZED",
            "synchronizedProducts": 7,
            "clientSpecificationId": SPECIFICATION,
            "unsynchronizedProducts": missing,
        }
        response = await world.answered_call(partial)

        assert 200 == response.status_code
        assert {
            "synchronizedProducts": 7,
            "clientSpecificationId": SPECIFICATION,
            "status": "PARTIALLY_SYNCHRONIZED",
            "unsynchronizedProducts": missing,
            "error": {"code": "CM21_REFUSED", "message": "CM21_REFUSED happened.", "retryable": False},
        } == response.json()

    run(story)


@pytest.mark.parametrize("code", ErrorCode)
def test_each_error_of_the_contract_is_a_problem_with_its_status(code: ErrorCode) -> None:
    async def story() -> None:
        world = World()
        rows = [{"field": "products", "message": "must not be empty"}]
        result = error(code, code.http_status, retryable=code.retryable, fieldErrors=rows)
        result["error"]["availableClientSpecificationIds"] = [SPECIFICATION]
        response = await world.answered_call(result)

        request_id = world.request()["requestId"]
        assert code.http_status == response.status_code
        assert "application/problem+json" == response.headers["content-type"]
        assert request_id == response.headers["resync-request-id"]
        assert (code.http_status == 503) == ("retry-after" in response.headers)
        title = response.json().pop("title")
        assert title
        assert {
            "type": f"urn:mirakl-resync:problem:{code}",
            "title": title,
            "status": code.http_status,
            "detail": f"{code} happened.",
            "code": code,
            "retryable": code.retryable,
            "requestId": request_id,
            "availableClientSpecificationIds": [SPECIFICATION],
            "fieldErrors": rows,
        } == response.json()

    run(story)


def test_a_call_without_a_key_never_becomes_a_record() -> None:
    async def story() -> None:
        world = World()
        for key in ("", "  "):
            response = await world.call(headers={"dj-api-key": key})
            assert (401, "API_KEY_MISSING") == (response.status_code, response.json()["code"])
        assert [] == world.sender.records

    run(story)


def test_a_key_that_the_service_called_invalid_is_refused_for_a_while() -> None:
    async def story() -> None:
        world = World(GatewayPolicy(invalid_key_seconds=0.2))
        invalid = error("API_KEY_INVALID", 401)
        assert 401 == (await world.answered_call(invalid)).status_code
        again = await world.call()
        other = await world.answered_call(headers={"dj-api-key": "another"})
        await asyncio.sleep(0.25)
        later = await world.answered_call()

        assert (401, "API_KEY_INVALID") == (again.status_code, again.json()["code"])
        assert [200, 200] == [other.status_code, later.status_code]
        assert 3 == len(world.sender.records)

    run(story)


def test_keys_that_were_never_valid_share_the_places_of_one_key() -> None:
    async def story() -> None:
        world = World(calls_per_key=2)
        await world.answered_call(headers={"dj-api-key": "proven"})
        waiting = [asyncio.create_task(world.call(headers={"dj-api-key": f"key-{number}"})) for number in range(2)]
        await world.written(3)
        refused = await world.call(headers={"dj-api-key": "key-3"})
        proven = await world.answered_call(headers={"dj-api-key": "proven"})
        for index in (1, 2):
            world.give_result(world.request(index)["requestId"])

        assert (429, "TOO_MANY_CALLS") == (refused.status_code, refused.json()["code"])
        assert refused.headers["retry-after"]
        assert 200 == proven.status_code
        assert [200, 200] == [response.status_code for response in await asyncio.gather(*waiting)]
        assert 200 == (await world.answered_call(headers={"dj-api-key": "key-3"})).status_code

    run(story)


def test_requests_with_unproven_keys_are_bounded_also_if_nobody_waits_for_them() -> None:
    async def story() -> None:
        world = World(calls_per_key=3)
        responses = [
            await world.call(headers={"dj-api-key": f"guess-{number}", "prefer": "respond-async"})
            for number in range(5)
        ]

        assert [202, 202, 202, 429, 429] == [response.status_code for response in responses]
        assert 3 == len(world.sender.records)

    run(story)


def test_nobody_waits_longer_than_wanted_and_the_request_goes_on() -> None:
    async def story() -> None:
        world = World(longest_wait=1.0)
        began = time.monotonic()
        late = await world.call(headers={"prefer": "wait=0"})
        request_id = late.headers["resync-request-id"]

        assert (504, "RESULT_PENDING") == (late.status_code, late.json()["code"])
        assert (f"{PATH}/{request_id}", "wait=0") == (late.headers["location"], late.headers["preference-applied"])
        assert request_id == late.json()["requestId"]
        assert time.monotonic() - began < 0.5
        pending = await world.http.get(late.headers["location"])
        assert (202, {"requestId": request_id, "status": "PENDING"}) == (pending.status_code, pending.json())
        assert pending.headers["retry-after"]
        world.give_result(request_id)
        assert 200 == (await world.http.get(late.headers["location"])).status_code

    run(story)


def test_an_asynchronous_call_is_answered_once_the_request_is_on_the_topic() -> None:
    async def story() -> None:
        world = World()
        world.sender.acknowledges = False
        calling = asyncio.create_task(world.call(headers={"prefer": "respond-async"}))
        await world.written(1)
        await asyncio.sleep(0.05)
        assert not calling.done()
        world.sender.futures[0].set_result(None)  # type: ignore[arg-type]  # nobody looks at it
        response = await calling

        assert 202 == response.status_code
        assert "respond-async" == response.headers["preference-applied"]
        assert f"{PATH}/{response.json()['requestId']}" == response.headers["location"]

    run(story)


def test_an_asynchronous_call_may_wait_first() -> None:
    async def story() -> None:
        world = World()
        response = await world.call(headers={"prefer": "respond-async, wait=0"})
        answered = await world.answered_call(headers={"prefer": "respond-async, wait=20"})

        assert (202, "respond-async, wait=0") == (response.status_code, response.headers["preference-applied"])
        assert 200 == answered.status_code

    run(story)


def test_a_request_that_was_handed_over_is_never_refused(caplog: pytest.LogCaptureFixture) -> None:
    """The log says why; the caller can only wait."""

    async def story() -> None:
        world = World()
        world.sender.acknowledges = False
        calling = asyncio.create_task(world.call(headers={"prefer": "respond-async"}))
        await world.written(1)
        world.sender.futures[0].set_exception(NotAcknowledgedError("no word from Kafka"))
        response = await calling

        assert (504, "RESULT_PENDING") == (response.status_code, response.json()["code"])
        assert response.headers["location"].endswith(world.request()["requestId"])

    run(story)
    assert ["a request was not acknowledged: no word from Kafka."] == caplog.messages


@pytest.mark.parametrize("trouble", ["unavailable", "full", "refused"])
def test_503_is_given_only_where_nothing_was_handed_over(trouble: str) -> None:
    async def story() -> None:
        world = World()
        if trouble == "unavailable":
            world.problem = Problem.of_gateway(GatewayCode.KAFKA_UNAVAILABLE)
        elif trouble == "full":
            world.sender.has_room = False
        else:
            world.sender.refusal = NotAcknowledgedError("the library refuses")
        response = await world.call()

        assert (503, "KAFKA_UNAVAILABLE") == (response.status_code, response.json()["code"])
        assert response.headers["retry-after"]
        assert [] == world.sender.records

    run(story)


def test_no_more_calls_wait_than_are_allowed() -> None:
    async def story() -> None:
        world = World(calls=1)
        waiting = asyncio.create_task(world.call())
        await world.written(1)
        busy = await world.call()
        world.give_result(world.request()["requestId"])

        assert (503, "GATEWAY_BUSY") == (busy.status_code, busy.json()["code"])
        assert 200 == (await waiting).status_code
        assert 1 == len(world.sender.records)

    run(story)


def test_a_gateway_that_stops_lets_nobody_in_and_ends_every_wait() -> None:
    async def story() -> None:
        world = World()
        waiting = asyncio.create_task(world.call())
        await world.written(1)
        world.calls.room.stopping = True
        refused = await world.call()
        world.calls.room.end_all()

        assert (503, "GATEWAY_BUSY") == (refused.status_code, refused.json()["code"])
        assert (504, "RESULT_PENDING") == ((await waiting).status_code, (await waiting).json()["code"])

    run(story)


@pytest.mark.parametrize(
    ("method", "path", "status", "code", "allowed"),
    [
        ("GET", "/", 404, "NOT_FOUND", None),
        ("POST", PATH + "/", 404, "NOT_FOUND", None),
        ("POST", "/v1/alerts", 404, "NOT_FOUND", None),
        ("GET", PATH, 405, "METHOD_NOT_ALLOWED", "POST"),
        ("DELETE", PATH + "/x", 405, "METHOD_NOT_ALLOWED", "GET, HEAD"),
    ],
)
def test_other_paths_and_methods_are_problems(
    method: str, path: str, status: int, code: str, allowed: str | None
) -> None:
    async def story() -> None:
        response = await World().http.request(method, path)

        assert (status, code) == (response.status_code, response.json()["code"])
        assert allowed == (response.headers.get("allow") and ", ".join(sorted(response.headers["allow"].split(", "))))

    run(story)


def test_each_call_is_reported_without_its_key_or_body() -> None:
    async def story() -> None:
        world = World()
        trace = "1" * 32
        response = await world.answered_call(headers={"traceparent": f"00-{trace}-{'2' * 16}-01"})
        await world.http.get("/nothing")
        good, bad = world.answered

        assert ("POST", PATH, 200, None, response.headers["resync-request-id"], trace) == (
            *good[:5],
            good.trace_id,
        )
        assert ("GET", "/nothing", 404, "NOT_FOUND", None) == bad[:5]
        assert KEY not in repr(world.answered)

    run(story)


def test_the_library_of_ids_reads_its_own_times() -> None:
    made_at = time_of(new_request_id())

    assert made_at is not None
    assert abs(made_at - time.time()) < 1
    assert time_of("0190a0a0-0000-4000-8000-000000000000") is None


def test_a_defect_is_a_problem_too(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        world = World()

        def broken(*_: object) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(world.writer, "hand_over", broken)
        response = await world.call()

        assert (500, "INTERNAL_ERROR") == (response.status_code, response.json()["code"])

    run(story)
