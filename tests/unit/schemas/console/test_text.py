"""Text of strangers, shown to people and to scripts."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.console.text import decimal, json_text, moment, printable

HOSTILE = "\x1b]0;owned\x07 \x9b31m \u202e\u2066 \u2028\u200b \U000e0041 \x7f"


@given(st.text())
def test_nothing_that_is_shown_steers_a_terminal(text: str) -> None:
    assert printable(text).isprintable()


@given(st.recursive(st.none() | st.integers() | st.text(), lambda of: st.lists(of) | st.dictionaries(st.text(), of)))
def test_json_says_the_same_and_steers_no_terminal(value: object) -> None:
    assert json_text(value).isprintable()
    assert value == json.loads(json_text(value))
    assert value == json.loads(json_text(value, indent=2))


def test_json_holds_only_what_the_encoding_has() -> None:
    value = {"name": "Zoë 東京\x7f"}
    assert json_text(value, encoding="latin-1").isascii()
    assert value == json.loads(json_text(value, encoding="latin-1"))
    assert "Zoë" in json_text({"name": "Zoë"}, encoding="latin-1")


def test_what_people_can_read_is_left_as_it_is() -> None:
    assert printable("Zoë 東京 🎉") == "Zoë 東京 🎉"
    assert json_text({"name": "Zoë 東京 🎉"}) == '{"name": "Zoë 東京 🎉"}'
    assert "\\x1b" in printable(HOSTILE)
    assert "\\u202e" in json_text(HOSTILE)


@pytest.mark.parametrize(
    "text", [None, "", "-1", "+1", " 1", "1_0", "¹", "٣", "1.0", "9" * 5_000, "9" * 20, str(2**63)]
)
def test_what_is_no_number_of_kafka_is_none(text: str | None) -> None:
    assert decimal(text) is None


def test_numbers_are_read_up_to_the_highest() -> None:
    assert decimal("0") == 0
    assert decimal(str(2**63 - 1)) == 2**63 - 1
    assert decimal("7", highest=7) == 7
    assert decimal("8", highest=7) is None


@given(st.integers(-(2**63), 2**63 - 1))
def test_every_timestamp_is_some_moment(milliseconds: int) -> None:
    assert moment(milliseconds).tzinfo is UTC


def test_a_timestamp_is_the_milliseconds_since_1970() -> None:
    assert moment(1_790_000_000_123) == datetime(2026, 9, 21, 14, 13, 20, 123_000, UTC)
