"""Which answers the demo accepts: the right ones, and no others."""

from dataclasses import replace

import pytest

from producer_tools.sandbox.demo.cases import (
    API_KEYS,
    CASES,
    SPECIFICATIONS,
    Case,
    Observation,
    complaints,
    queue_jams,
)

TITLES = [case.title for case in CASES]


def right(case: Case) -> Observation:
    return Observation(case.expected, seconds=case.least_seconds, calls=case.calls.start)


def with_answer(case: Case, **changes: object) -> Observation:
    answer = replace(case.expected, **changes)  # type: ignore[arg-type]  # replace() checks the names when the test runs
    return replace(right(case), answer=answer)


@pytest.mark.parametrize("case", CASES, ids=TITLES)
def test_the_right_answer_is_right(case: Case) -> None:
    assert [] == list(complaints(case, right(case)))


@pytest.mark.parametrize("case", CASES, ids=TITLES)
def test_another_answer_is_wrong(case: Case) -> None:
    another = "SYNCHRONIZED" if case.expected.outcome != "SYNCHRONIZED" else "503 CM21_UNAVAILABLE"
    assert [f"{another} instead of {case.expected.outcome}"] == list(
        complaints(case, with_answer(case, outcome=another))
    )


@pytest.mark.parametrize("case", CASES, ids=TITLES)
def test_each_detail_of_an_answer_is_looked_at(case: Case) -> None:
    wrong = [
        with_answer(case, products=case.expected.products + 1),
        with_answer(case, specification_id="another"),
        with_answer(case, available=frozenset({"another"})),
        with_answer(case, retryable=not case.expected.retryable),
        replace(right(case), calls=case.calls.stop),
        replace(right(case), seconds=case.least_seconds - 0.1),
        replace(right(case), missing=1),
        replace(right(case), answers=2),
    ]
    assert [1] * len(wrong) == [len(list(complaints(case, each))) for each in wrong]


def test_no_answer_is_wrong() -> None:
    nothing = Observation(None, seconds=20.0, answers=0)
    assert ["no answer within 20 s"] == list(complaints(CASES[0], nothing))


def test_who_waits_for_somebody_elses_mirakl_is_named() -> None:
    quick, slow = (next(case for case in CASES if bool(case.least_seconds) is slow) for slow in (False, True))
    waited = [(quick, replace(right(quick), seconds=2.6)), (slow, replace(right(slow), seconds=2.5))]
    assert [True] == [quick.title in complaint for complaint in queue_jams(waited)]
    assert [] == list(queue_jams([(quick, right(quick)), (slow, right(slow))]))


def test_nobody_shares_a_title_a_product_or_a_mirakl_whose_calls_are_counted() -> None:
    called = [case.called for case in CASES if case.called is not None]
    products = [product.mirakl_product_id for case in CASES for product in case.products]
    for values in (TITLES, called, products):
        assert len(set(values)) == len(values)


def test_what_a_case_needs_is_set_up() -> None:
    assert {case.called for case in CASES if case.called} == set(SPECIFICATIONS)
    assert {case.api_key for case in CASES if case.api_key and case.api_key.issued} == set(API_KEYS)


def test_every_kind_of_answer_is_shown() -> None:
    codes = {case.expected.outcome.split()[-1] for case in CASES}
    assert {
        "SYNCHRONIZED",
        "API_KEY_MISSING",
        "API_KEY_INVALID",
        "OPERATOR_REQUIRED",
        "VALIDATION_FAILED",
        "CLIENT_SPECIFICATION_NOT_FOUND",
        "NO_ACTIVE_CLIENT_SPECIFICATION",
        "MULTIPLE_ACTIVE_CLIENT_SPECIFICATIONS",
        "CM21_REFUSED",
        "CM21_UNAUTHORIZED",
        "CM21_OUTCOME_UNKNOWN",
        "CM21_UNAVAILABLE",
        "UNREADABLE",
    } == codes
