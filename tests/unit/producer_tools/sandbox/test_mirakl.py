"""The simulated Mirakl: as strict as the real one, and a witness that can be believed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer_tools.sandbox.mirakl import Body, Effect, Fault, Latency, MiraklSimulator, Rules
from producer_tools.sandbox.mirakl.wire import Delivery, Then
from tests.unit.producer_tools.sandbox.mirakl_calls import (
    CM21,
    JSON,
    answered,
    entries,
    get,
    post,
    simulator,
    status,
    statuses,
    taken_in,
)

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
