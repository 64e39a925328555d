"""Which requests may be acted upon: the contract's row VALIDATION_FAILED, rule by rule."""

import unicodedata
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.domain.outcome import ResyncError
from consumer.domain.validation import ProductReference, validate
from schemas.contract import MAX_ERROR_ROWS, MAX_ERROR_TEXT_CHARACTERS, ErrorCode, canonical_uuid

UUID = "0f8fad5b-d9cb-469f-a165-70867728950e"
MOST = 10_000


def reference(mirakl_id: str, sku: str = "sku") -> ProductReference:
    return {"miraklProductId": mirakl_id, "productSku": sku}


def refused(references: Sequence[ProductReference], given_id: str | None = None, most: int = MOST) -> Mapping[str, str]:
    """The rows of the error that comes back, by field."""
    problem = validate(references, given_id, most)
    assert isinstance(problem, ResyncError)
    assert ErrorCode.VALIDATION_FAILED == problem.code
    return {row.field: row.message for row in problem.field_errors}


FORMAT = "\u200b\u00ad\ufeff\u200e\u2066\U000e0001"
CONTROL = "\x00\x1f\x7f\x85\t\n"


@pytest.mark.parametrize(
    "bad",
    ["", " ", "\u3000\u00a0", "x" * 256, " x", "x ", "\u00a0x", "x\u2003", "x\u2028"]
    + [f"a{character}b" for character in CONTROL + FORMAT],
)
def test_a_bad_id_is_named_by_its_place_wherever_it_stands(bad: str) -> None:
    assert ["products[1].miraklProductId"] == list(refused([reference("ok"), reference(bad)]))
    assert ["products[1].productSku"] == list(refused([reference("ok"), reference("good", bad)]))


@pytest.mark.parametrize(
    "good",
    ["x", "x" * 255, "a b", "a\u00a0b", "Größe-43", "品番", "\U0001f45f" * 255, "a\u2028b", "\ue000", "0", "null"],
)
def test_a_good_id_is_passed_on_as_it_is(good: str) -> None:
    assert {good: good} == validate([reference(good, good)], None, MOST)


@settings(max_examples=200, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_an_id_is_good_exactly_as_the_contract_words_it(text: str) -> None:
    good = (
        bool(text)
        and not text.isspace()
        and len(text) <= 255
        and not text[0].isspace()
        and not text[-1].isspace()
        and not any(unicodedata.category(character) in ("Cc", "Cf") for character in text)
    )

    assert good is isinstance(validate([reference(text)], None, MOST), dict)
    assert good is isinstance(validate([reference("id", text)], None, MOST), dict)


def test_no_product_at_all_is_a_mistake() -> None:
    assert ["products"] == list(refused([]))


def test_exact_repeats_are_one_product() -> None:
    assert {"a": "1", "b": "2"} == validate([reference("a", "1"), reference("b", "2"), reference("a", "1")], None, MOST)


def test_the_same_id_with_two_skus_names_each_later_one() -> None:
    rows = refused([reference("a", "1"), reference("b", "1"), reference("a", "2"), reference("a", "1"), reference("a")])

    assert ["products[2].productSku", "products[4].productSku"] == list(rows)
    assert "products[0]" in rows["products[2].productSku"]


def test_the_same_sku_for_two_ids_is_none_of_our_business() -> None:
    assert {"a": "1", "b": "1"} == validate([reference("a", "1"), reference("b", "1")], None, MOST)


def test_ids_that_differ_in_case_or_form_are_different_ids() -> None:
    """Ids are never altered, not even normalized."""
    composed, decomposed = "\u00e9", "e\u0301"
    products = validate([reference(name) for name in ("a", "A", composed, decomposed)], None, MOST)

    assert isinstance(products, dict)
    assert ["a", "A", composed, decomposed] == list(products)


def test_too_many_products_are_one_mistake_that_says_how_many() -> None:
    rows = refused([reference(str(n)) for n in range(12)], most=11)

    assert ["products"] == list(rows)
    assert "12" in rows["products"]
    assert "11" in rows["products"]
    assert isinstance(validate([reference(str(n)) for n in range(11)], None, 11), dict)


def test_exact_repeats_count_once_towards_the_most_products() -> None:
    assert {"a": "1", "b": "1"} == validate([reference(name, "1") for name in "abab"], None, 2)


def test_a_good_client_specification_id_is_not_blamed_beside_a_bad_product() -> None:
    assert ["products[0].productSku"] == list(refused([reference("ok", " ")], UUID))


@pytest.mark.parametrize("good", [UUID, UUID.upper(), "0F8fad5b-D9CB-469f-A165-70867728950e", "0" * 8 + UUID[8:]])
def test_a_uuid_in_its_36_characters_is_good_in_any_case(good: str) -> None:
    assert {"a": "sku"} == validate([reference("a")], good, MOST)
    assert good.lower() == canonical_uuid(good)


@pytest.mark.parametrize(
    "bad",
    [
        "",
        " ",
        "shop-1",
        UUID[:-1],
        UUID + "0",
        UUID + "\n",
        " " + UUID,
        UUID.replace("-", ""),
        "{" + UUID + "}",
        "urn:uuid:" + UUID,
        UUID.replace("f", "g"),
        UUID.replace("0", "\u0660"),
        UUID[:9] + "-" + UUID[10:],
        UUID.replace("-", "_"),
    ],
)
def test_anything_else_is_no_uuid(bad: str) -> None:
    assert ["clientSpecificationId"] == list(refused([reference("a")], bad))
    assert canonical_uuid(bad) is None


def test_every_mistake_gets_a_row_in_the_order_of_the_request() -> None:
    rows = refused([reference(""), reference("a", "1"), reference("a", " 2")], "none")

    assert ["clientSpecificationId", "products[0].miraklProductId", "products[2].productSku"] == list(rows)


def test_rows_are_bounded_and_the_message_gives_their_total() -> None:
    problem = validate([reference("x" * 300 + str(n), "\x00") for n in range(2000)], None, MOST)

    assert isinstance(problem, ResyncError)
    assert MAX_ERROR_ROWS == len(problem.field_errors)
    assert "4000" in problem.message
    assert MAX_ERROR_TEXT_CHARACTERS >= len(problem.message)
    assert all(MAX_ERROR_TEXT_CHARACTERS >= len(row.message) for row in problem.field_errors)


def test_no_value_of_the_request_shows_in_the_error() -> None:
    problem = validate([reference("private" * 100)], "private", MOST)

    assert "private" not in repr(problem)
