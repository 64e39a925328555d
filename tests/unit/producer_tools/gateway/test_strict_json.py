"""Bodies: what is strict JSON is read as Python's parser reads it, anything else is refused with its place."""

import json
import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer_tools.gateway.strict_json import NotStrictJsonError, parse

NESTING = 16
VALUES = st.recursive(
    st.none() | st.booleans() | st.text() | st.just(0),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=5), children, max_size=4),
    max_leaves=30,
)


def nesting(value: object) -> int:
    """Levels of arrays and objects."""
    if isinstance(value, dict):
        return 1 + max(map(nesting, value.values()), default=0)
    return 1 + max(map(nesting, value), default=0) if isinstance(value, list) else 0


@given(VALUES, st.booleans(), st.sampled_from([None, 1]))
def test_json_is_read_as_python_reads_it(value: object, ascii_only: bool, indent: int | None) -> None:  # noqa: FBT001 - hypothesis passes it
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    try:
        body = text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return
    if nesting(value) > NESTING:
        with pytest.raises(NotStrictJsonError, match="nested deeper than 16 levels"):
            parse(body, NESTING)
    else:
        assert value == parse(body, NESTING)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    value: object = None
    with suppress(NotStrictJsonError):
        value = parse(body, NESTING)

    assert nesting(value) <= NESTING


@given(VALUES, st.data())
def test_a_truncated_body_is_never_read(value: object, data: st.DataObject) -> None:
    body = json.dumps({"products": value}).encode()
    cut = data.draw(st.integers(0, len(body) - 1))

    with pytest.raises(NotStrictJsonError):
        parse(body[:cut], NESTING)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"", "it is not JSON at line 1, column 1"),
        (b'{"a": 1,\n "b": }', "it is not JSON at line 2, column 7"),
        (b"{} {}", "Extra data"),
        (b'{"a": 1, "a": 2}', "the name 'a' stands twice in one object"),
        (b'{"p": [{"a": 1, "a": 1}]}', "the name 'a' stands twice"),
        (b'{"a": 1, "\\u0061": 2}', "the name 'a' stands twice"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b"[-Infinity]", "-Infinity is not JSON"),
        (b'{"a": "\xff"}', "it is not UTF-8 at byte 7"),
        (b"\xef\xbb\xbf{}", "it is not JSON at line 1"),
        (b'{"a": "\n"}', "Invalid control character"),
        (b"{'a': 1}", "it is not JSON at line 1, column 2"),
        (b"[01]", "it is not JSON"),
        (b"[" * 17 + b"]" * 17, "nested deeper than 16 levels"),
        (b"[" * 1_000_000, "nested deeper than 16 levels"),
        (b'{"a":' * 100_000, "nested deeper than 16 levels"),
    ],
)
def test_what_parsers_could_read_differently_is_refused_with_its_place(body: bytes, complaint: str) -> None:
    with pytest.raises(NotStrictJsonError, match=complaint.replace("(", r"\(")):
        parse(body, NESTING)


def test_brackets_in_strings_are_no_levels() -> None:
    value = {"a": "[" * 100, 'b"[': ["\\", '"{{' * 50]}

    assert value == parse(json.dumps(value).encode(), NESTING)


@pytest.mark.parametrize(
    "body",
    [b'["' + b'\\"' * 50_000, b'"' + b"\\" * 100_001, b'["a"' * 10_000, b'"a' * 50_000, b"[],".join([b""] * 50_000)],
    ids=["escaped quotes", "backslashes", "strings", "quotes", "brackets"],
)
def test_what_is_refused_costs_no_more_than_its_length(body: bytes) -> None:
    """A string that does not end must not be searched for its end again from every quote in it."""
    began = time.process_time()
    with pytest.raises(NotStrictJsonError):
        parse(body, NESTING)
    assert time.process_time() - began < 1


def test_numbers_of_a_million_digits_cost_nothing() -> None:
    began = time.process_time()
    assert {"a": 0} == parse(b'{"a": ' + b"9" * 1_000_000 + b"}", NESTING)
    assert time.process_time() - began < 1
