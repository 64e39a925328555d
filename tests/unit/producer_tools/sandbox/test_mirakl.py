"""The simulated Mirakl: as strict as the real one, and a witness that can be believed."""

import asyncio
import io
import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer_tools.sandbox.mirakl import Body, Effect, Fault, Latency, MiraklSimulator, Processing, Rules
from producer_tools.sandbox.mirakl.rules import EntryError
from producer_tools.sandbox.mirakl.wire import Delivery, Request, Then

CM21 = "/api/mcm/products/synchronization"
JSON = {"authorization": "Bearer s3cret", "content-type": "application/json"}


def silent(_: str) -> None: ...


def simulator(rules: Rules | None = None, seed: int | None = 1) -> MiraklSimulator:
    return MiraklSimulator(seed=seed, rules=rules, shout=silent)


def entries(products: Mapping[str, str]) -> bytes:
    return json.dumps([{"mirakl_product_id": each, "product_sku": sku} for each, sku in products.items()]).encode()


def post(
    mirakl: MiraklSimulator, body: bytes = entries({"MKL": "SKU"}), path: str = CM21, headers: Mapping[str, str] = JSON
) -> Delivery:
    return mirakl.answer(Request("POST", path, headers, body))


def get(mirakl: MiraklSimulator, path: str, headers: Mapping[str, str] = JSON) -> tuple[int, dict[str, object]]:
    return answered(mirakl.answer(Request("GET", path, headers, b"")))


def answered(delivery: Delivery) -> tuple[int, dict[str, object]]:
    """Read an answer, and end its exchange."""
    if delivery.ended is not None:
        delivery.ended()
    head, _, body = delivery.data.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), json.loads(body)


def status(delivery: Delivery) -> int:
    return answered(delivery)[0]


def taken_in(mirakl: MiraklSimulator, products: Mapping[str, str], path: str = CM21) -> str:
    code, answer = answered(post(mirakl, entries(products), path))
    assert code == 200
    return str(answer["tracking_id"])


# Strictness


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"null",
        b"{}",
        b"[]",
        b'{"mirakl_product_id": "A", "product_sku": "a"}',
        b'{"products": [{"mirakl_product_id": "A", "product_sku": "a"}]}',
        b'["A"]',
        b'["ab"]',
        b'[["A", "a"]]',
        b'[{"mirakl_product_id": "A"}]',
        b'[{"product_sku": "a"}]',
        b'[{"mirakl_product_id": "A", "product_sku": "a", "operation": null}]',
        b'[{"mirakl_product_id": "A", "product_sku": "a", "integration_errors": []}]',
        b'[{"mirakl_product_id": "A", "productSku": "a"}]',
        b'[{"mirakl_product_id": "", "product_sku": "a"}]',
        b'[{"mirakl_product_id": " ", "product_sku": "a"}]',
        b'[{"mirakl_product_id": null, "product_sku": "a"}]',
        b'[{"mirakl_product_id": 7, "product_sku": "a"}]',
        b'[{"mirakl_product_id": "A", "product_sku": ""}]',
        b'[{"mirakl_product_id": ["A"], "product_sku": "a"}]',
        b'[{"mirakl_product_id": "A", "product_sku": "a"}, {"mirakl_product_id": "A", "product_sku": "b"}]',
        b'[{"mirakl_product_id": "A", "product_sku": "a"}, {"mirakl_product_id": "A", "product_sku": "a"}]',
        b'[{"mirakl_product_id": "A", "product_sku": "a"}, {}]',
        b"[" * 100_000,
    ],
)
def test_a_body_that_could_mean_more_than_confirming_pairs_is_refused_and_shouted_about(body: bytes) -> None:
    shouted: list[str] = []
    mirakl = MiraklSimulator(shout=shouted.append)
    code, answer = answered(post(mirakl, body))
    assert code == 400
    assert answer["status"] == 400
    assert list(mirakl.violations) == shouted
    assert len(shouted) == mirakl.violation_count == 1
    assert len(mirakl.journal) == 0


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded"])
def test_another_content_type_is_a_violation(content_type: str) -> None:
    mirakl = simulator()
    assert status(post(mirakl, headers=JSON | {"content-type": content_type})) == 415
    assert mirakl.violation_count == 1


def test_a_charset_beside_the_content_type_is_none() -> None:
    assert status(post(simulator(), headers=JSON | {"content-type": "Application/JSON; charset=utf-8"})) == 200


def test_an_id_in_a_concurrent_call_with_another_sku_is_a_violation_until_that_call_ended() -> None:
    mirakl = simulator()
    first = post(mirakl, entries({"A": "a", "B": "b"}))
    assert status(post(mirakl, entries({"B": "other"}))) == 400
    assert mirakl.violation_count == 1
    assert status(post(mirakl, entries({"B": "b"}))) == 200
    assert status(post(mirakl, entries({"B": "other"}), f"/c/somebody{CM21}")) == 200
    assert status(first) == 200
    assert status(post(mirakl, entries({"B": "other"}))) == 200


pairs = st.dictionaries(st.sampled_from("ABCD"), st.sampled_from("xy"), min_size=1)


@given(st.lists(st.one_of(pairs, st.integers(0, 5)), max_size=40))
def test_concurrent_conflicts_are_found_exactly(steps: list[dict[str, str] | int]) -> None:
    mirakl = simulator()
    out: list[tuple[dict[str, str], Delivery]] = []
    for step in steps:
        if isinstance(step, int):
            if step < len(out):
                assert status(out.pop(step)[1]) == 200
            continue
        conflict = any(products.get(each, sku) != sku for products, _ in out for each, sku in step.items())
        delivery = post(mirakl, entries(step))
        assert delivery.data.startswith(b"HTTP/1.1 400" if conflict else b"HTTP/1.1 200")
        if not conflict:
            out.append((step, delivery))


# Who is asked


def test_each_instance_is_reached_by_its_path() -> None:
    mirakl = simulator()
    taken_in(mirakl, {"A": "a"}, f"/c/acme%20inc{CM21}")
    taken_in(mirakl, {"B": "b"})
    assert [("acme inc", {"A": "a"}), ("default", {"B": "b"})] == [
        (submission.instance, submission.products) for submission in mirakl.journal
    ]


def test_an_instance_is_also_reached_by_its_credential_alone() -> None:
    mirakl = simulator()
    mirakl.set_rules(Rules(authorization=("Bearer one", "raw-key")), "acme")
    for authorization in ("Bearer one", "raw-key"):
        assert status(post(mirakl, headers=JSON | {"authorization": authorization})) == 200
    assert mirakl.counters("acme").taken_in_calls == 2


@pytest.mark.parametrize("authorization", ["", "s3cret", "bearer s3cret", "Bearer other"])
def test_a_wrong_credential_is_refused(authorization: str) -> None:
    mirakl = simulator(Rules(authorization=("Bearer s3cret",)))
    assert status(post(mirakl, headers=JSON | {"authorization": authorization})) == 401
    assert mirakl.violation_count == 0, "an operator's mistake, none of the caller's"


def test_a_revoked_credential_is_refused() -> None:
    assert status(post(simulator(Rules(revoked=True)))) == 401


@pytest.mark.parametrize("path", ["/", "/mcm/products/synchronization", f"/api{CM21}", f"{CM21}/", f"{CM21}/x/y"])
def test_another_path_is_not_found_and_is_a_web_page(path: str) -> None:
    answer = post(simulator(), path=path).data
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert b"Content-Type: text/html" in answer


def test_another_method_is_refused() -> None:
    assert get(simulator(), CM21)[0] == 405
    assert status(post(simulator(), path=f"{CM21}/tracking-id")) == 405


# Limits


def test_calls_beyond_the_quota_are_throttled_and_not_taken_in() -> None:
    mirakl = simulator(Rules(calls_per_hour=2))
    answers = [post(mirakl) for _ in range(3)]
    assert b"Retry-After: 1800\r\n" in answers[2].data
    assert [200, 200, 429] == [status(answer) for answer in answers]
    assert mirakl.counters().taken_in_calls == 2


def test_calls_beyond_the_concurrent_ones_are_throttled() -> None:
    mirakl = simulator(Rules(concurrent_calls=1))
    first = post(mirakl)
    assert status(post(mirakl)) == 429
    assert status(first) == 200
    assert status(post(mirakl)) == 200


@pytest.mark.parametrize("rules", [Rules(max_entries=2), Rules(max_body_bytes=120)])
def test_a_call_that_is_too_large_is_refused(rules: Rules) -> None:
    mirakl = simulator(rules)
    assert status(post(mirakl, entries({"A": "a", "B": "b"}))) == 200
    assert status(post(mirakl, entries({"A": "a", "B": "b", "C": "c"}))) == 413


def test_latency_is_what_was_asked_for() -> None:
    rules = Rules(latency=Latency(seconds=1, jitter=0.5, tail_share=0.1, tail_seconds=10))
    mirakl = simulator(rules)
    delays = [post(mirakl).delay for _ in range(1000)]
    quick = [delay for delay in delays if delay <= 1.5]
    assert 850 < len(quick) < 950
    assert min(quick) < 1.1
    assert max(quick) > 1.4
    assert all(11 <= delay <= 11.5 for delay in delays if delay > 1.5)
    assert delays == [post(again).delay for again in [simulator(rules)] for _ in range(1000)], "by its seed"


# Faults


def statuses(mirakl: MiraklSimulator, calls: int, path: str = CM21) -> list[int]:
    return [status(post(mirakl, path=path)) for _ in range(calls)]


def test_a_fault_with_a_count_meets_that_many_calls_and_the_next_one_its_turn() -> None:
    mirakl = simulator()
    mirakl.add_fault(Fault(effect=Effect.STATUS, status=503, count=2))
    mirakl.add_fault(Fault(effect=Effect.STATUS, status=429, count=1))
    assert [503, 503, 429, 200] == statuses(mirakl, 4)
    assert len(mirakl.journal) == 1


def test_a_fault_without_a_count_lasts_until_it_is_cleared() -> None:
    mirakl = simulator()
    mirakl.add_fault(Fault(effect=Effect.STATUS, status=503))
    assert [503] * 5 == statuses(mirakl, 5)
    mirakl.clear_faults()
    assert [200] == statuses(mirakl, 1)


def test_a_probable_fault_repeats_with_its_seed() -> None:
    def story(seed: int) -> list[int]:
        mirakl = simulator(seed=seed)
        mirakl.add_fault(Fault(effect=Effect.STATUS, status=503, probability=0.5))
        return statuses(mirakl, 100)

    assert 30 < story(1).count(503) < 70
    assert story(1) == story(1)
    assert story(1) != story(2)


def test_the_faults_of_an_instance_are_its_own_and_come_first() -> None:
    mirakl = simulator()
    mirakl.add_fault(Fault(effect=Effect.STATUS, status=503))
    mirakl.add_fault(Fault(effect=Effect.STATUS, status=401), "acme")
    assert [401] == statuses(mirakl, 1, f"/c/acme{CM21}")
    assert [503] == statuses(mirakl, 1)
    mirakl.clear_faults("acme")
    assert [503] == statuses(mirakl, 1, f"/c/acme{CM21}")


@pytest.mark.parametrize(
    "fault",
    [
        Fault(effect=Effect.STATUS, status=422, mirakl_product_ids=frozenset({"BAD-1", "x"})),
        Fault(effect=Effect.STATUS, status=422, mirakl_product_id_prefix="BAD"),
        Fault(effect=Effect.STATUS, status=422, min_entries=2),
    ],
)
def test_a_conditional_fault_meets_only_the_calls_it_is_about(fault: Fault) -> None:
    mirakl = simulator()
    mirakl.add_fault(fault)
    assert status(post(mirakl, entries({"GOOD": "g", "BAD-1": "b"}))) == 422
    assert status(post(mirakl, entries({"GOOD": "g"}))) == 200


@pytest.mark.parametrize("effect", [Effect.HANG, Effect.RESET, Effect.CLOSE])
@pytest.mark.parametrize("taken_in", [True, False])
def test_a_call_may_be_taken_in_or_not_before_it_is_lost(effect: Effect, *, taken_in: bool) -> None:
    mirakl = simulator()
    mirakl.add_fault(Fault(effect=effect, taken_in=taken_in))
    delivery = post(mirakl)
    assert delivery.then is Then[effect.name]
    assert delivery.data == b""
    assert len(mirakl.journal) == taken_in


@pytest.mark.parametrize(
    "fault",
    [
        {"effect": "status"},
        {"effect": "reset", "status": 500},
        {"effect": "drip"},
        {"effect": "hang", "byte_interval": 1},
        {"effect": "status", "status": 42},
        {"effect": "status", "status": 500, "probability": 2},
        {"effect": "status", "status": 500, "counts": 2},
        {"effect": "magic"},
    ],
)
def test_a_fault_that_makes_no_sense_is_refused_when_it_is_scripted(fault: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"effect|status|byte_interval|probability|counts"):
        Fault.model_validate(fault)


@pytest.mark.parametrize("body", list(Body))
def test_an_error_has_the_body_that_was_asked_for(body: Body) -> None:
    mirakl = simulator()
    mirakl.add_fault(Fault(effect=Effect.STATUS, status=500, body=body, message="Sorry", retry_after="3"))
    data = post(mirakl).data
    assert b"Retry-After: 3\r\n" in data
    assert (b"Sorry" in data) is (body is not Body.EMPTY)
    assert (b"<html>" in data) is (body is Body.HTML)


# CM22 and CM23


def test_a_submission_is_processed_and_reported_entry_by_entry() -> None:
    mirakl = simulator(
        Rules(processing=Processing(failed_products={"B": EntryError(code="E7", message="unknown product")}))
    )
    tracking_id = taken_in(mirakl, {"A": "a", "B": "b"})
    code, state = get(mirakl, f"{CM21}/{tracking_id}")
    assert (200, "COMPLETE", 2, 1, 1, True) == (
        code,
        *(state[name] for name in ("status", "processed", "succeeded", "failed", "has_report")),
    )
    code, report = get(mirakl, f"{CM21}/{tracking_id}/report")
    assert code == 200
    items = report["processed_items"]
    assert isinstance(items, list)
    assert {("A", "SUCCESS", 0), ("B", "FAILURE", 1)} == {
        (item["mirakl_product_id"], item["status"], len(item["synchronization_errors"])) for item in items
    }


def test_a_submission_that_is_not_final_has_no_report() -> None:
    mirakl = simulator(Rules(processing=Processing(seconds=60)))
    tracking_id = taken_in(mirakl, {"A": "a"})
    assert get(mirakl, f"{CM21}/{tracking_id}")[1]["status"] == "WAITING"
    assert get(mirakl, f"{CM21}/{tracking_id}/report")[0] == 404


@pytest.mark.parametrize("final_status", ["FAILED", "CANCELLED", "RUNNING", "NEVER_HEARD_OF"])
def test_any_status_can_be_played(final_status: str) -> None:
    mirakl = simulator(Rules(processing=Processing(final_status=final_status, has_report=False, bare=True)))
    tracking_id = taken_in(mirakl, {"A": "a"})
    assert (200, {"tracking_id": tracking_id, "status": final_status}) == get(mirakl, f"{CM21}/{tracking_id}")
    assert get(mirakl, f"{CM21}/{tracking_id}/report")[0] == 404


def test_nobody_sees_the_submissions_of_others() -> None:
    mirakl = simulator()
    tracking_id = taken_in(mirakl, {"A": "a"}, f"/c/acme{CM21}")
    assert get(mirakl, f"/c/acme{CM21}/{tracking_id}")[0] == 200
    assert get(mirakl, f"{CM21}/{tracking_id}")[0] == 404
    assert get(mirakl, f"/c/acme{CM21}/{tracking_id}", {})[0] == 401


def test_a_fault_may_concern_the_state_alone() -> None:
    mirakl = simulator()
    tracking_id = taken_in(mirakl, {"A": "a"})
    mirakl.add_fault(Fault(effect=Effect.STATUS, status=503, operation="CM22"))
    assert get(mirakl, f"{CM21}/{tracking_id}")[0] == 503
    assert get(mirakl, f"{CM21}/{tracking_id}/report")[0] == 200


# The witness


def test_the_journal_names_what_was_not_taken_in_under_the_given_tracking_ids() -> None:
    mirakl = simulator()
    first, second = taken_in(mirakl, {"A": "a", "B": "b"}), taken_in(mirakl, {"C": "c"})
    missing = mirakl.journal.missing
    assert missing([first, second], {"A": "a", "C": "c"}) == {}
    assert missing([first], {"A": "a", "C": "c"}) == {"C": "c"}
    assert missing([first], {"A": "other"}) == {"A": "other"}
    assert missing(["unknown"], {"A": "a"}) == {"A": "a"}


def test_the_journal_is_searched_by_product_instance_and_time() -> None:
    mirakl = simulator()
    before = time.time()
    first = taken_in(mirakl, {"A": "a", "B": "b"})
    second = taken_in(mirakl, {"A": "a"}, f"/c/acme{CM21}")
    assert [first, second] == [each.tracking_id for each in mirakl.journal.search(mirakl_product_id="A", after=before)]
    assert [second] == [each.tracking_id for each in mirakl.journal.search(instance="acme", mirakl_product_id="A")]
    assert [] == list(mirakl.journal.search(mirakl_product_id="C"))
    assert [] == list(mirakl.journal.search(after=time.time()))


def test_the_journal_forgets_the_oldest_beyond_its_bound_and_says_so() -> None:
    mirakl = MiraklSimulator(journal_bytes=3 * len(entries({"A": "a"})))
    tracking_ids = [taken_in(mirakl, {letter: "x"}) for letter in "ABCDE"]
    assert (3, 2) == (len(mirakl.journal), mirakl.journal.forgotten)
    assert mirakl.journal.find(tracking_ids[0]) is None
    assert mirakl.journal.find(tracking_ids[4]) is not None


def test_a_journal_file_forgets_nothing() -> None:
    file = io.StringIO()
    mirakl = MiraklSimulator(journal_bytes=1, journal_file=file)
    tracking_ids = [taken_in(mirakl, {letter: "x"}) for letter in "ABC"]
    assert tracking_ids == [json.loads(line)["tracking_id"] for line in file.getvalue().splitlines()]


def test_counters_tell_calls_entries_and_answers() -> None:
    mirakl = simulator()
    mirakl.add_fault(Fault(effect=Effect.STATUS, status=503, count=1))
    mirakl.add_fault(Fault(effect=Effect.RESET, count=1, taken_in=True))
    for products in ({"A": "a"}, {"A": "a", "B": "b"}, {"C": "c"}):
        delivery = post(mirakl, entries(products))
        assert delivery.ended is not None
        delivery.ended()
    counters = mirakl.counters()
    assert (3, 4, 2, 3, 2) == (
        counters.calls,
        counters.entries,
        counters.taken_in_calls,
        counters.taken_in_entries,
        counters.largest_call,
    )
    assert {"503": 1, "reset": 1, "200": 1} == counters.answers
    assert (0, 1) == (counters.concurrent_calls, counters.most_concurrent_calls)


# The remote control


def control(mirakl: MiraklSimulator, command: str, body: object = None) -> tuple[int, object]:
    method, path = command.split(" ")
    content = b"" if body is None else json.dumps(body).encode()
    return answered(mirakl.answer(Request(method, f"/_control/{path}", {}, content)))


def test_faults_are_scripted_listed_and_cleared_from_afar() -> None:
    mirakl = simulator()
    fault = {"effect": "status", "status": 503, "count": 2}
    assert (200, [{"instance": "acme", "left": 2, "fault": fault}]) == control(
        mirakl, "POST faults?instance=acme", fault
    )
    assert [503] == statuses(mirakl, 1, f"/c/acme{CM21}")
    assert (200, []) == control(mirakl, "DELETE faults")
    assert control(mirakl, "POST faults", [fault, {"effect": "hang"}])[0] == 200
    assert len(mirakl.scripted_faults) == 2


def test_rules_are_set_from_afar_and_shown_without_credentials() -> None:
    mirakl = simulator()
    rules = {"authorization": ["Bearer t0ken"], "max_entries": 5}
    assert (200, {"max_entries": 5}) == control(mirakl, "PUT rules?instance=acme", rules)
    assert status(post(mirakl, path=f"/c/acme{CM21}")) == 401
    assert "t0ken" not in json.dumps(control(mirakl, "GET state"))


@pytest.mark.parametrize(
    ("command", "body", "code"),
    [
        ("POST faults", {"effect": "magic"}, 400),
        ("POST faults", [{"effect": "hang"}, {"effect": "magic"}], 400),
        ("PUT rules", {"max_entry": 5}, 400),
        ("GET journal?limit=many", None, 400),
        ("GET nothing", None, 404),
        ("PUT faults", None, 404),
    ],
)
def test_a_command_that_cannot_be_read_changes_nothing(command: str, body: object, code: int) -> None:
    mirakl = simulator()
    assert control(mirakl, command, body)[0] == code
    assert mirakl.scripted_faults == []
    assert mirakl.rules == Rules()


def test_the_journal_is_read_from_afar() -> None:
    mirakl = simulator()
    tracking_ids = [taken_in(mirakl, {letter: "x"}) for letter in "ABC"]

    def listed(query: str) -> list[str]:
        code, answer = control(mirakl, f"GET journal{query}")
        assert code == 200
        assert isinstance(answer, dict)
        assert answer["forgotten"] == 0
        return [submission["tracking_id"] for submission in answer["submissions"]]

    assert tracking_ids == listed("")
    assert tracking_ids[:2] == listed("?limit=2")
    assert [tracking_ids[1]] == listed(f"?tracking_id={tracking_ids[1]}")
    assert [tracking_ids[2]] == listed("?mirakl_product_id=C&instance=default")
    assert [] == listed("?tracking_id=unknown")


def test_forgetting_leaves_the_rules_alone() -> None:
    mirakl = simulator(Rules(max_entries=7))
    mirakl.add_fault(Fault(effect=Effect.HANG, count=1))
    post(mirakl)
    post(mirakl, b"{}")
    assert (200, {}) == control(mirakl, "POST forget")
    assert (0, 0, [], 0) == (
        len(mirakl.journal),
        mirakl.violation_count,
        mirakl.scripted_faults,
        mirakl.counters().calls,
    )
    assert mirakl.rules.max_entries == 7


# HTTP


def conversation(*sent: bytes, rules: Rules | None = None) -> bytes:
    """Send pieces to a served simulator and read until it closes, or is silent for a while."""

    async def story() -> bytes:
        async with simulator(rules).serving() as mirakl:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(mirakl.base_url.rpartition(":")[2]))
            for piece in sent:
                writer.write(piece)
                await asyncio.sleep(0.02)
            received = b""
            try:
                async with asyncio.timeout(0.3):
                    while piece := await reader.read(65536):
                        received += piece
            except TimeoutError:
                received += b"(still open)"
            writer.close()
            return received

    return asyncio.run(story())


HTTP_CALL = (
    b"POST /api/mcm/products/synchronization HTTP/1.1\r\nHost: x\r\nAUTHORIZATION: Bearer x\r\n"
    b"Content-Type: application/json\r\nContent-Length: 47\r\n\r\n"
    b'[{"mirakl_product_id":"MKL","product_sku":"S"}]'
)


def test_a_request_may_come_in_pieces_and_two_may_come_at_once() -> None:
    pieces = [HTTP_CALL[:30], HTTP_CALL[30:150], HTTP_CALL[150:-5], HTTP_CALL[-5:] + HTTP_CALL]
    answer = conversation(*pieces)
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert answer.endswith(b"(still open)")


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"\x16\x03\x01\x02\x00", b"400"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\n\r\n", b"411"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"411"),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", b"413"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000, b"431"),
    ],
)
def test_what_is_no_request_is_refused_and_the_connection_closed(sent: bytes, code: bytes) -> None:
    answer = conversation(sent)
    assert answer.startswith(b"HTTP/1.1 " + code)
    assert not answer.endswith(b"(still open)")


def test_a_caller_that_waits_for_a_go_ahead_gets_it() -> None:
    head, body = HTTP_CALL.split(b"\r\n\r\n")
    answer = conversation(head + b"\r\nExpect: 100-continue\r\n\r\n", body)
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")


def test_a_connection_that_is_lost_ends_its_call() -> None:
    async def story() -> None:
        async with simulator(Rules(latency=Latency(seconds=60))).serving() as mirakl:
            _, writer = await asyncio.open_connection("127.0.0.1", int(mirakl.base_url.rpartition(":")[2]))
            writer.write(HTTP_CALL)
            await asyncio.sleep(0.05)
            assert mirakl.counters().concurrent_calls == 1
            writer.close()
            await asyncio.sleep(0.05)
            assert mirakl.counters().concurrent_calls == 0

    asyncio.run(story())


# The program


def test_the_program_prints_its_url_serves_and_stops_when_told(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    command = [sys.executable, "-m", "producer_tools.sandbox.mirakl", "--journal", str(journal), "--latency", "10ms"]
    command += ["--credential", "acme:Bearer x", "--dead", "gone", "--seed", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        base_url = program.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", base_url)
        request = urllib.request.Request(  # noqa: S310 - our own URL
            base_url + CM21, entries({"A": "a"}), {"Authorization": "Bearer x", "Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 - our own URL
            tracking_id = json.load(answer)["tracking_id"]
        with urllib.request.urlopen(f"{base_url}/_control/state", timeout=5) as answer:  # noqa: S310 - our own URL
            assert json.load(answer)["faults"] == [{"instance": "gone", "left": None, "fault": {"effect": "hang"}}]
        program.send_signal(signal.SIGTERM)
        assert program.wait(5) == 0
    (line,) = journal.read_text().splitlines()
    assert ("acme", tracking_id) == (json.loads(line)["instance"], json.loads(line)["tracking_id"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--latency", "50"], "50ms"),
        (["--tail", "often:2s"], "0.03:2s"),
        (["--credential", "acme"], "NAME:AUTHORIZATION"),
        (["--faults", "/nowhere.json"], "No such file"),
        (["--key", __file__], "--certificate and --key belong together"),
        (["--host", "192.0.2.1"], "Cannot listen on 192.0.2.1:0"),
    ],
)
def test_the_program_says_what_is_wrong_with_its_options(options: list[str], message: str) -> None:
    command = [sys.executable, "-m", "producer_tools.sandbox.mirakl", *options]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode in (1, 2)
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr
