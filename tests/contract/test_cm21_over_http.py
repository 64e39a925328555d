"""The CM21 call against a simulated Mirakl, over sockets: every misbehaviour that CM21.md lists."""

import asyncio
import logging
import time

import pytest

from consumer.adapters.mirakl.client import Cm21
from consumer.domain.calls import CallFailure, CallOutcome, Receipt, Refusal, Unacknowledged
from consumer.domain.model import AuthScheme
from producer_tools.sandbox.mirakl import Body, Effect, Fault, Latency, MiraklSimulator, Rules
from tests.support.mirakl import PRODUCTS, specification, with_mirakl

BROKE_OFF = "the connection was lost before the answer was complete"
INCOMPLETE = "the answer is not a complete HTTP/1.1 message"


def outcome_of(fault: Fault, call_timeout: float = 10.0) -> tuple[CallOutcome, int]:
    """Make one call that meets a fault; also say how often Mirakl took it in."""

    async def story(mirakl: MiraklSimulator, cm21: Cm21) -> tuple[CallOutcome, int]:
        mirakl.add_fault(fault)
        outcome = await cm21.synchronize(specification(mirakl.url("acme")), PRODUCTS)
        return outcome, mirakl.counters("acme").taken_in_calls

    return with_mirakl(story, call_timeout=call_timeout)


# What goes well


def test_a_batch_is_taken_in_whole_under_the_tracking_id_of_its_receipt() -> None:
    async def story(mirakl: MiraklSimulator, cm21: Cm21) -> None:
        receipt = await cm21.synchronize(specification(mirakl.url("acme")), PRODUCTS)
        assert isinstance(receipt, Receipt)
        assert mirakl.journal.missing([receipt.tracking_id], PRODUCTS) == {}

    with_mirakl(story)


@pytest.mark.parametrize("suffix", ["", "/", "/api", "/api/"])
def test_the_base_url_may_end_as_operators_paste_it(suffix: str) -> None:
    async def story(mirakl: MiraklSimulator, cm21: Cm21) -> CallOutcome:
        return await cm21.synchronize(specification(mirakl.url("acme") + suffix), PRODUCTS)

    assert isinstance(with_mirakl(story), Receipt)


@pytest.mark.parametrize("status", [201, 202])
def test_any_2xx_with_a_tracking_id_is_a_receipt(status: int) -> None:
    async def story(mirakl: MiraklSimulator, cm21: Cm21) -> CallOutcome:
        mirakl.set_rules(Rules.model_validate({"status": status, "unknown_fields": 3}))
        return await cm21.synchronize(specification(mirakl.url("acme")), PRODUCTS)

    assert isinstance(with_mirakl(story), Receipt)


def test_calls_one_after_another_share_a_connection_and_concurrent_ones_do_not() -> None:
    async def story(mirakl: MiraklSimulator, cm21: Cm21) -> None:
        for _ in range(5):
            assert isinstance(await cm21.synchronize(specification(mirakl.url("acme")), PRODUCTS), Receipt)
        assert mirakl.accepted_connections == 1
        calls = (cm21.synchronize(specification(mirakl.url("acme")), PRODUCTS) for _ in range(8))
        assert all(isinstance(outcome, Receipt) for outcome in await asyncio.gather(*calls))
        assert mirakl.accepted_connections == 8

    with_mirakl(story, Rules(latency=Latency(seconds=0.02)))


def test_no_more_calls_are_out_than_there_may_be_connections() -> None:
    async def story(mirakl: MiraklSimulator, cm21: Cm21) -> None:
        calls = (cm21.synchronize(specification(mirakl.url("acme")), PRODUCTS) for _ in range(9))
        assert all(isinstance(outcome, Receipt) for outcome in await asyncio.gather(*calls))
        assert mirakl.counters("acme").most_concurrent_calls == 3

    with_mirakl(story, Rules(latency=Latency(seconds=0.02)), connections=3)


def test_a_call_that_finds_no_free_connection_in_time_did_not_reach_mirakl() -> None:
    async def story(mirakl: MiraklSimulator, cm21: Cm21) -> CallOutcome:
        mirakl.add_fault(Fault(effect=Effect.HANG))
        calls = (cm21.synchronize(specification(mirakl.url("acme")), PRODUCTS) for _ in range(2))
        _, second = await asyncio.gather(*calls)
        return second

    outcome = with_mirakl(story, call_timeout=0.2, connections=1)
    assert isinstance(outcome, CallFailure)
    assert not outcome.may_have_reached


# Credentials


@pytest.mark.parametrize("scheme", list(AuthScheme))
def test_each_auth_scheme_is_accepted_where_it_belongs_and_refused_where_not(scheme: AuthScheme) -> None:
    async def story(mirakl: MiraklSimulator, cm21: Cm21) -> tuple[CallOutcome, CallOutcome]:
        mirakl.set_rules(Rules(authorization=("Bearer s3cret",)), "modern")
        mirakl.set_rules(Rules(authorization=("s3cret",)), "legacy")
        modern = await cm21.synchronize(specification(mirakl.url("modern"), auth_scheme=scheme), PRODUCTS)
        legacy = await cm21.synchronize(specification(mirakl.url("legacy"), auth_scheme=scheme), PRODUCTS)
        return modern, legacy

    modern, legacy = with_mirakl(story)
    accepted, refused = (modern, legacy) if scheme is AuthScheme.BEARER else (legacy, modern)
    assert isinstance(accepted, Receipt)
    assert Refusal(401, "Unauthorized") == refused


def test_a_credential_counts_from_the_call_on_that_brings_it() -> None:
    async def story(mirakl: MiraklSimulator, cm21: Cm21) -> None:
        url = mirakl.url("acme")
        mirakl.set_rules(Rules(authorization=("Bearer s3cret",)), "acme")
        assert isinstance(await cm21.synchronize(specification(url), PRODUCTS), Receipt)
        mirakl.set_rules(Rules(authorization=("Bearer rotated",)), "acme")
        assert Refusal(401, "Unauthorized") == await cm21.synchronize(specification(url), PRODUCTS)
        rotated = specification(url, credential="rotated")
        assert isinstance(await cm21.synchronize(rotated, PRODUCTS), Receipt)

    with_mirakl(story)


@pytest.mark.parametrize("credential", ["two\r\nlines", "nul\0", "front-tökén-日本"])
def test_a_credential_of_any_characters_neither_splits_the_request_nor_shows_up(
    credential: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(mirakl: MiraklSimulator, cm21: Cm21) -> CallOutcome:
        return await cm21.synchronize(specification(mirakl.url("acme"), credential=credential), PRODUCTS)

    with caplog.at_level(logging.DEBUG):
        outcome = with_mirakl(story)
    if credential.isprintable():
        assert isinstance(outcome, Receipt)
    else:
        assert CallFailure("the credential cannot travel in an HTTP header", may_have_reached=False) == outcome
    assert credential not in caplog.text
    assert repr(credential.encode())[2:-1] not in caplog.text


# Refusals and redirects


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 406, 409, 410, 413, 415, 422])
@pytest.mark.parametrize("body", list(Body))
def test_a_final_status_is_a_refusal_whatever_its_body(status: int, body: Body) -> None:
    outcome, taken_in = outcome_of(Fault(effect=Effect.STATUS, status=status, body=body, message="No way"))
    assert isinstance(outcome, Refusal)
    assert (status, 0) == (outcome.status, taken_in)
    assert body is Body.EMPTY or "No way" in outcome.excerpt


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_refused_and_the_credential_does_not_follow_it(status: int) -> None:
    async def story(mirakl: MiraklSimulator, cm21: Cm21) -> CallOutcome:
        location = mirakl.url("elsewhere") + "/api/mcm/products/synchronization"
        mirakl.add_fault(Fault(effect=Effect.STATUS, status=status, location=location), "acme")
        outcome = await cm21.synchronize(specification(mirakl.url("acme")), PRODUCTS)
        assert mirakl.counters("elsewhere").calls == 0
        return outcome

    outcome = with_mirakl(story)
    assert isinstance(outcome, Refusal)
    assert outcome.status == status


def test_one_poisoned_entry_refuses_the_whole_call() -> None:
    async def story(mirakl: MiraklSimulator, cm21: Cm21) -> None:
        mirakl.add_fault(Fault(effect=Effect.STATUS, status=422, mirakl_product_ids=frozenset({"MKL-7"})))
        acme = specification(mirakl.url("acme"))
        refusal = await cm21.synchronize(acme, PRODUCTS)
        assert isinstance(refusal, Refusal)
        assert refusal.blames_entries
        healthy = {each: sku for each, sku in PRODUCTS.items() if each != "MKL-7"}
        assert isinstance(await cm21.synchronize(acme, healthy), Receipt)

    with_mirakl(story)


@pytest.mark.parametrize("rules", [Rules(max_entries=49), Rules(max_body_bytes=1000)])
def test_a_call_beyond_mirakls_limits_is_worth_splitting(rules: Rules) -> None:
    async def story(mirakl: MiraklSimulator, cm21: Cm21) -> CallOutcome:
        return await cm21.synchronize(specification(mirakl.url("acme")), PRODUCTS)

    outcome = with_mirakl(story, rules)
    assert isinstance(outcome, Refusal)
    assert (413, True) == (outcome.status, outcome.blames_entries)


# What time may heal


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("body", [Body.JSON, Body.HTML, Body.EMPTY])
def test_a_passing_trouble_is_a_failure_that_only_a_504_may_have_outlived(status: int, body: Body) -> None:
    outcome, _ = outcome_of(Fault(effect=Effect.STATUS, status=status, body=body, retry_after="120"))
    assert isinstance(outcome, CallFailure)
    assert (status, status == 504, 120.0) == (outcome.status, outcome.may_have_reached, outcome.retry_after)


def test_a_gateway_may_give_up_on_a_call_that_was_taken_in() -> None:
    outcome, taken_in = outcome_of(Fault(effect=Effect.STATUS, status=504, taken_in=True))
    assert isinstance(outcome, CallFailure)
    assert (True, 1) == (outcome.may_have_reached, taken_in)


def test_retry_after_may_be_a_date() -> None:
    outcome, _ = outcome_of(Fault(effect=Effect.STATUS, status=429, retry_after="date+60"))
    assert isinstance(outcome, CallFailure)
    assert outcome.retry_after is not None
    assert 55 < outcome.retry_after <= 60


def test_a_spent_quota_says_when_the_next_call_may_come() -> None:
    async def story(mirakl: MiraklSimulator, cm21: Cm21) -> None:
        acme = specification(mirakl.url("acme"))
        assert isinstance(await cm21.synchronize(acme, PRODUCTS), Receipt)
        outcome = await cm21.synchronize(acme, PRODUCTS)
        assert isinstance(outcome, CallFailure)
        assert (429, 60.0) == (outcome.status, outcome.retry_after)

    with_mirakl(story, Rules(calls_per_hour=60, burst=1))


# Answers that are none


@pytest.mark.parametrize(
    "effect",
    [
        Effect.NO_TRACKING_ID,
        Effect.BLANK_TRACKING_ID,
        Effect.NUMERIC_TRACKING_ID,
        Effect.EMPTY_BODY,
        Effect.LOGIN_PAGE,
        Effect.GZIP_BOMB,
        Effect.HUGE_BODY,
    ],
)
def test_a_200_without_a_tracking_id_is_no_success_and_final(effect: Effect) -> None:
    outcome, taken_in = outcome_of(Fault(effect=effect))
    assert isinstance(outcome, Unacknowledged)
    assert (200, 1) == (outcome.status, taken_in)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault(effect=Effect.RESET), BROKE_OFF),
        (Fault(effect=Effect.RESET, taken_in=True), BROKE_OFF),
        (Fault(effect=Effect.CLOSE, taken_in=True), INCOMPLETE),
        (Fault(effect=Effect.NOT_HTTP), INCOMPLETE),
        (Fault(effect=Effect.TRUNCATED_BODY), "the answer broke off"),
    ],
)
def test_a_call_without_a_complete_answer_may_have_reached_mirakl(fault: Fault, reason: str) -> None:
    outcome, _ = outcome_of(fault)
    assert isinstance(outcome, CallFailure)
    assert (reason, True) == (outcome.reason, outcome.may_have_reached)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(effect=Effect.HANG),
        Fault(effect=Effect.HANG, taken_in=True),
        Fault(effect=Effect.DELAY, delay=5),
        Fault(effect=Effect.DRIP, byte_interval=0.02),
    ],
)
def test_a_call_ends_at_its_time_out_however_alive_the_connection_looks(fault: Fault) -> None:
    started = time.monotonic()
    outcome, _ = outcome_of(fault, call_timeout=0.3)
    assert isinstance(outcome, CallFailure)
    assert outcome.may_have_reached
    assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    "fault",
    [
        Fault(effect=Effect.RESET, count=1),
        Fault(effect=Effect.HANG, count=1),
        Fault(effect=Effect.NOT_HTTP, count=1),
        Fault(effect=Effect.TRUNCATED_BODY, count=1),
        Fault(effect=Effect.HUGE_BODY, count=1),
        Fault(effect=Effect.DRIP, byte_interval=0.05, count=1),
    ],
)
def test_what_went_wrong_with_one_call_does_not_reach_the_next(fault: Fault) -> None:
    async def story(mirakl: MiraklSimulator, cm21: Cm21) -> CallOutcome:
        acme = specification(mirakl.url("acme"))
        assert isinstance(await cm21.synchronize(acme, PRODUCTS), Receipt)
        mirakl.add_fault(fault)
        assert not isinstance(await cm21.synchronize(acme, PRODUCTS), Receipt)
        return await cm21.synchronize(acme, PRODUCTS)

    assert isinstance(with_mirakl(story, call_timeout=1, connections=1), Receipt)
