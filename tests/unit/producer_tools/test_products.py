"""Product pairs: what may be sent, and that the service thinks so too."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.domain.validation import ProductReference, validate
from producer_tools import InvalidRequestError, new_request
from producer_tools.products import LocatedProduct, Product, distinct_products

IDS = st.text(st.sampled_from([*string.ascii_letters[:3], " ", "\t", "\u00a0", "\u200b", "\u2028", "é"]), max_size=4)


def mistakes(*pairs: tuple[str, str]) -> list[str]:
    _, found = distinct_products(LocatedProduct(f"line {n}", Product(*pair)) for n, pair in enumerate(pairs, 1))
    return [str(mistake) for mistake in found]


def test_exact_repeats_are_merged_in_order() -> None:
    located = [LocatedProduct("", Product(*pair)) for pair in (("b", "1"), ("a", "2"), ("b", "1"))]

    assert ([("b", "1"), ("a", "2")], []) == distinct_products(located)


def test_one_id_with_two_skus_names_both_lines() -> None:
    assert ["line 3: miraklProductId 'a' has SKU '2' here, but '1' in line 1; keep one of the two"] == mistakes(
        ("a", "1"), ("b", "1"), ("a", "2")
    )


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "must not be blank"),
        (" \t", "must not be blank"),
        (" a", "must not begin or end with white space: ' a'"),
        ("a" * 256, "has 256 characters; at most 255 are allowed"),
        ("a\x00b", "must not contain control characters: 'a\\x00b'"),
        ("a\u200bb", "must not contain format characters, such as a zero-width space: 'a\\u200bb'"),
        ("a\udc80", "is not valid Unicode text: 'a\\udc80'"),
    ],
)
def test_an_id_that_is_unfit_says_why(text: str, fault: str) -> None:
    assert [f"line 1: productSku {fault}"] == mistakes(("a", text))


@given(st.lists(st.tuples(IDS, IDS), max_size=4), st.sampled_from([None, "x", "0B6FF0DD-6E62-4F9F-8C6B-0F2E5A4E9D11"]))
def test_what_we_let_through_the_service_takes_and_what_we_refuse_it_refuses(
    pairs: list[tuple[str, str]], specification: str | None
) -> None:
    references = [ProductReference(miraklProductId=mirakl_id, productSku=sku) for mirakl_id, sku in pairs]
    taken = isinstance(validate(references, specification, 10_000), dict)

    try:
        new_request(pairs, requested_by="test", client_specification_id=specification)
    except InvalidRequestError:
        assert not taken
    else:
        assert taken
