"""What an alert becomes: the same request for every repetition, or nothing with its reason."""

import hashlib
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer_tools.alerts.notification import Alert
from producer_tools.alerts.planning import PlannedRequest, Skipped, SkipReason, plan
from producer_tools.alerts.rules import Annotation, Label, PairOfLabels, ProductList, Rules
from producer_tools.products import Product
from tests.unit.producer_tools.alerts.builders import FINGERPRINT, NOW, STARTED, alert, notification, rule, rules

UUID = "0191a7c2-5d1e-7c3a-9f00-1b2c3d4e5f60"
OTHER_UUID = "0191a7c2-5d1e-7c3a-9f00-000000000000"
BODY = {"products": [{"miraklProductId": "MKL, 1", "productSku": "S:1"}]}


def planned(alert: Alert, rules: Rules, now: datetime = NOW, max_products: int = 10_000) -> PlannedRequest:
    result = plan(alert, rules, now, max_products)
    assert isinstance(result, PlannedRequest), result
    return result


def skipped(alert: Alert, rules: Rules, max_products: int = 10_000) -> Skipped:
    result = plan(alert, rules, NOW, max_products)
    assert isinstance(result, Skipped), result
    return result


def test_an_alert_becomes_the_request_that_the_rule_describes() -> None:
    event = planned(
        alert(labels={"alertname": "ProductStuck", "client": UUID.upper()}),
        rules(client_specification=Label("client"), reason=Annotation("summary")),
    ).event(NOW)
    assert {
        "requestId": event.request_id,
        "clientSpecificationId": UUID,
        "products": [
            {"miraklProductId": "MKL-001", "productSku": "SKU-42"},
            {"miraklProductId": "MKL-002", "productSku": "SKU-43"},
        ],
        "requestedAt": int(NOW.timestamp() * 1000),
        "requestedBy": "alert:stuck-products",
        "reason": "2 products are stuck",
    } == event.to_record()


def test_the_request_id_is_the_one_of_the_contract() -> None:
    array = json.dumps(["stuck-products", FINGERPRINT, STARTED, 0], separators=(",", ":"))
    assert "alert-" + hashlib.sha256(array.encode()).hexdigest()[:32] == planned(alert(), rules()).request_id


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": {"alertname": "ProductStuck", "instance": "another"}},
        {"annotations": {"mirakl_products": "M:S", "value": "17"}},
        {"endsAt": "2026-02-01T00:00:00Z"},
    ],
)
def test_what_changes_while_an_alert_fires_does_not_change_the_id(changes: dict[str, Any]) -> None:
    assert planned(alert(), rules()).request_id == planned(alert(**changes), rules()).request_id


@pytest.mark.parametrize(
    ("changes", "rule_changes"),
    [
        ({"fingerprint": "another"}, {}),
        ({"startsAt": "2026-01-31T08:00:00.123456788Z"}, {}),
        ({}, {"name": "another"}),
    ],
)
def test_another_alert_start_or_rule_has_another_id(changes: dict[str, Any], rule_changes: dict[str, Any]) -> None:
    assert planned(alert(), rules()).request_id != planned(alert(**changes), rules(**rule_changes)).request_id


@given(seconds=st.floats(-1e6, 1e8), again_after=st.floats(1, 1e7), later=st.floats(0, 1e7))
def test_an_id_is_kept_until_again_after_has_passed_and_then_changes(
    seconds: float, again_after: float, later: float
) -> None:
    again = rules(again_after=again_after)
    start = alert().started
    first, second = start + timedelta(seconds=seconds), start + timedelta(seconds=seconds + later)
    periods = [max(0, int((now - start).total_seconds() // again_after)) for now in (first, second)]
    ids = [planned(alert(), again, now).request_id for now in (first, second)]
    assert (periods[0] == periods[1]) == (ids[0] == ids[1])


def test_without_again_after_an_alert_asks_once_however_long_it_fires() -> None:
    years_later = NOW + timedelta(days=3000)
    assert planned(alert(), rules()).request_id == planned(alert(), rules(), years_later).request_id


@pytest.mark.parametrize("starts_at", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.999-14:00"])
def test_the_first_and_the_last_time_of_the_calendar_are_times(starts_at: str) -> None:
    assert planned(alert(startsAt=starts_at), rules(again_after=1.0)).products


@pytest.mark.parametrize(
    ("text", "products"),
    [
        ("MKL-001:SKU-42", [("MKL-001", "SKU-42")]),
        ("M1:S1,M2:S2\nM3:S3,\n\n", [("M1", "S1"), ("M2", "S2"), ("M3", "S3")]),
        ("  M1:S:1 ,  M1:S:1", [("M1", "S:1")]),
        (json.dumps(BODY), [("MKL, 1", "S:1")]),
        (json.dumps(BODY["products"]), [("MKL, 1", "S:1")]),
        (f"\n {json.dumps(BODY, indent=2)}\n", [("MKL, 1", "S:1")]),
    ],
)
def test_an_annotation_lists_products_in_either_form(text: str, products: list[tuple[str, str]]) -> None:
    assert tuple(products) == planned(alert(annotations={"mirakl_products": text}), rules()).products


@pytest.mark.parametrize(
    ("text", "reason", "named"),
    [
        ("", SkipReason.NO_PRODUCTS, 'annotations["mirakl_products"] is missing or blank'),
        (" \n", SkipReason.NO_PRODUCTS, "is missing or blank"),
        (",,", SkipReason.NO_PRODUCTS, "names no product"),
        ("[]", SkipReason.PRODUCTS_UNREADABLE, "holds no product"),
        ("rubbish", SkipReason.PRODUCTS_UNREADABLE, "item 1: 'rubbish' is not MIRAKL_ID:SKU"),
        ("M:S, rubbish", SkipReason.PRODUCTS_UNREADABLE, "item 2"),
        ("{", SkipReason.PRODUCTS_UNREADABLE, "line 1"),
        ("[1]", SkipReason.PRODUCTS_UNREADABLE, "line 1"),
        ('{"products": 1}', SkipReason.PRODUCTS_UNREADABLE, "'products' must be a list of objects, not a number"),
        ("[" * 100_000, SkipReason.PRODUCTS_UNREADABLE, "nested too deeply"),
        ("M:", SkipReason.INVALID, "productSku must not be blank"),
        (f"{'M' * 256}:S", SkipReason.INVALID, "has 256 characters"),
        ("M:S, M:T", SkipReason.INVALID, "keep one of the two"),
        ("M:S\u200b", SkipReason.INVALID, "format character"),
        (f'{{"clientSpecificationId": "x", {json.dumps(BODY)[1:]}', SkipReason.INVALID, "clientSpecificationId"),
    ],
)
def test_what_an_annotation_says_otherwise_is_named(text: str, reason: SkipReason, named: str) -> None:
    result = skipped(alert(annotations={"mirakl_products": text}), rules())
    assert (FINGERPRINT, "stuck-products", reason) == (result.fingerprint, result.rule, result.reason)
    assert named in result.message
    assert len(result.message) <= 500


def test_two_labels_are_one_product_and_must_both_be_there() -> None:
    pair = rules(products=PairOfLabels("id", "sku"))
    labels = {"alertname": "ProductStuck", "id": "M", "sku": "S"}
    assert (Product("M", "S"),) == planned(alert(labels=labels), pair).products
    result = skipped(alert(labels=labels | {"sku": ""}), pair)
    assert (SkipReason.NO_PRODUCTS, 'labels["sku"] is missing or blank.') == (result.reason, result.message)


def test_listed_products_are_used_as_they_are() -> None:
    products = (Product("M", "S"),)
    assert products is planned(alert(), rules(products=ProductList(products))).products


def test_more_products_than_the_rule_or_the_service_allows_are_too_many() -> None:
    assert SkipReason.TOO_MANY_PRODUCTS is skipped(alert(), rules(max_products=1)).reason
    assert SkipReason.TOO_MANY_PRODUCTS is skipped(alert(), rules(), max_products=1).reason
    assert planned(alert(), rules(max_products=2), max_products=2).products


def test_resolved_alerts_ask_nothing() -> None:
    result = skipped(alert(status="resolved"), rules())
    assert (SkipReason.RESOLVED, None) == (result.reason, result.rule)


def test_an_alert_that_no_rule_matches_asks_nothing() -> None:
    result = skipped(alert(labels={"alertname": "ProductStuck2"}), rules())
    assert (SkipReason.NO_RULE, None) == (result.reason, result.rule)


def test_all_labels_of_a_rule_must_match_exactly_any_of_its_values() -> None:
    match = {"alertname": frozenset({"ProductStuck"}), "severity": frozenset({"warning", "critical"})}
    assert planned(alert(), rules(match=match)).products
    for labels in (
        {"severity": "warning"},
        {"alertname": "ProductStuck"},
        {"alertname": "ProductStuck", "severity": "warn"},
    ):
        assert SkipReason.NO_RULE is skipped(alert(labels=labels), rules(match=match)).reason


def test_the_first_rule_that_matches_applies() -> None:
    both = Rules((rule(name="first", dry_run=True), rule(name="second")))
    assert ("first", SkipReason.DRY_RUN) == ((result := skipped(alert(), both)).rule, result.reason)


def test_alerts_about_this_service_need_a_rule_that_says_so() -> None:
    own = alert(labels={"alertname": "ProductStuck", "service": "mirakl-resync"})
    assert SkipReason.OWN_ALERT is skipped(own, rules()).reason
    assert planned(own, rules(own=True)).products
    assert SkipReason.NO_RULE is skipped(own, rules(match={"alertname": frozenset({"Other"})})).reason


def test_a_dry_run_says_what_it_would_do_and_shows_what_is_wrong_first() -> None:
    assert "2 products" in skipped(alert(), rules(dry_run=True)).message
    assert SkipReason.NO_PRODUCTS is skipped(alert(annotations={}), rules(dry_run=True)).reason


def test_a_client_specification_comes_from_the_rule_a_label_or_the_products() -> None:
    body = {"mirakl_products": json.dumps(BODY | {"clientSpecificationId": UUID.upper()})}
    assert planned(alert(), rules()).client_specification_id is None
    assert UUID == planned(alert(), rules(client_specification=UUID)).client_specification_id
    assert UUID == planned(alert(annotations=body), rules()).client_specification_id
    assert UUID == planned(alert(annotations=body), rules(client_specification=UUID)).client_specification_id


def test_a_client_specification_is_never_guessed() -> None:
    body = {"mirakl_products": json.dumps(BODY | {"clientSpecificationId": OTHER_UUID})}
    for contradiction in (
        skipped(alert(annotations=body), rules(client_specification=UUID)),
        skipped(alert(), rules(client_specification=Label("client"))),
        skipped(
            alert(labels={"alertname": "ProductStuck", "client": "shop"}), rules(client_specification=Label("client"))
        ),
    ):
        assert SkipReason.INVALID is contradiction.reason


def test_the_reason_is_a_text_an_annotation_or_the_name_of_the_alert() -> None:
    assert "ProductStuck" == planned(alert(), rules()).reason
    assert "as agreed" == planned(alert(), rules(reason="as agreed")).reason
    assert "2 products are stuck" == planned(alert(), rules(reason=Annotation("summary"))).reason
    assert "ProductStuck" == planned(alert(), rules(reason=Annotation("missing"))).reason
    long = alert(annotations={"mirakl_products": "M:S", "summary": "x" * 10_000})
    assert 500 == len(planned(long, rules(reason=Annotation("summary"))).reason)


def test_an_invalid_alert_is_left_out_with_its_fingerprint() -> None:
    (read,) = notification({"fingerprint": "f", "status": "firing"}).alerts
    result = plan(read, rules(), NOW, 10_000)
    assert isinstance(result, Skipped)
    assert ("f", SkipReason.INVALID) == (result.fingerprint, result.reason)


@given(st.text(max_size=60) | st.text('[]{}:," MS\\u0d8n1\n', max_size=60))
def test_whatever_an_annotation_says_each_pair_is_whole_or_nothing_is_asked(text: str) -> None:
    result = plan(alert(annotations={"mirakl_products": text}), rules(), datetime.now(UTC), 10_000)
    if isinstance(result, PlannedRequest):
        assert result.event(NOW).to_record()["products"]
        assert all(each and each == each.strip() for pair in result.products for each in pair)
    else:
        assert result.reason in (SkipReason.NO_PRODUCTS, SkipReason.PRODUCTS_UNREADABLE, SkipReason.INVALID)


@pytest.mark.cost
def test_ten_thousand_listed_pairs_are_read_in_a_fraction_of_a_second() -> None:
    text = ",".join(f"MKL-{number}:SKU-{number}" for number in range(10_000))
    started = time.process_time()
    assert 10_000 == len(planned(alert(annotations={"mirakl_products": text}), rules(max_products=10_000)).products)
    assert time.process_time() - started < 1


@pytest.mark.cost
def test_an_object_with_a_hundred_thousand_names_costs_no_more_than_its_length() -> None:
    text = "[{" + ",".join(f'"{number}":0' for number in range(100_000)) + "}]"
    started = time.process_time()
    assert SkipReason.PRODUCTS_UNREADABLE is skipped(alert(annotations={"mirakl_products": text}), rules()).reason
    assert time.process_time() - started < 2
