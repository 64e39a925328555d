"""No way to write a secret that servers are known for gets through."""

import base64
import html
import json
import time
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.adapters.mirakl.redaction import MASK, redacted

SECRET = 'sk/live+9f"8e 7d<6c>&5b'  # noqa: S105 - what the tests look for
PLAIN_SECRET = "9fK2mQ7xZ4bV1cN8"  # noqa: S105 - as above
WRITTEN = {
    "plain": SECRET,
    "JSON": json.dumps(SECRET),
    "JSON with optional escapes": json.dumps(SECRET).replace("/", "\\/").replace("+", "\\u002b"),
    "JSON, all escaped": "".join(f"\\u{ord(each):04X}" for each in SECRET),
    "a source text": "".join(f"\\x{ord(each):02x}" for each in SECRET),
    "JSON in JSON": json.dumps(json.dumps({"key": SECRET})),
    "percent": quote(SECRET, safe=""),
    "percent, lower case": quote(SECRET, safe="").lower(),
    "a form": quote_plus(SECRET),
    "percent twice": quote(quote(SECRET, safe=""), safe=""),
    "HTML": html.escape(SECRET),
    "HTML, all numbers": "".join(f"&#{ord(each)};" for each in SECRET),
    "HTML twice": html.escape("".join(f"&#x{ord(each):x};" for each in SECRET)),
    "upper case": SECRET.upper(),
    "hexadecimal": SECRET.encode().hex(),
    "the beginning": f"{SECRET[:12]}...",
    "the end": f"...{SECRET[6:]}",
}


def remains(shown: str) -> list[str]:
    """Eight characters in a row of the secret that are in a text, decoded in every way."""
    for _ in range(3):
        shown += json.dumps(shown) + html.unescape(shown.replace("\\/", "/").replace("\\u002b", "+"))
    return [piece for at in range(len(SECRET) - 7) if (piece := SECRET[at : at + 8]).lower() in shown.lower()]


@pytest.mark.parametrize("way", WRITTEN)
def test_a_secret_is_found_however_it_is_written(way: str) -> None:
    shown = redacted(f"The key <{WRITTEN[way]}> is unknown.", SECRET)
    assert MASK in shown
    assert not remains(shown)
    assert shown.startswith("The key <")
    assert shown.endswith("> is unknown.")


@pytest.mark.parametrize("before", ["", "u:", "me:", "you:"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_a_secret_in_base64_is_found(before: str, encode: Callable[[bytes], bytes]) -> None:
    shown = redacted(f"Basic {encode(f'{before}{SECRET}'.encode()).decode()}", SECRET)
    assert MASK in shown
    assert len(shown) < len("Basic ") + len(MASK) + 8


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=8, max_size=60), st.data())
def test_no_eight_characters_in_a_row_remain(secret: str, data: st.DataObject) -> None:
    begin = data.draw(st.integers(0, len(secret) - 8))
    end = data.draw(st.integers(begin + 8, len(secret)))
    assert redacted(f"\u2026{secret[begin:end]}\u2026", secret) == f"\u2026{MASK}\u2026"


@given(st.text(st.characters(exclude_characters="\x1f\\%&")))
def test_a_text_without_the_secret_is_left_alone(text: str) -> None:
    assert redacted(text, "\x1f" * 8) == text


@pytest.mark.parametrize("cut", range(3, len(SECRET)))
def test_a_secret_that_is_cut_off_at_the_end_is_hidden(cut: int) -> None:
    assert redacted(f"unknown key {SECRET[:cut]}", SECRET) == f"unknown key {MASK}"


@pytest.mark.parametrize("separator", ["-", " ", "\n", ", ", "</><>", "\u2011", '", "'])
@pytest.mark.parametrize("size", [1, 4, 7])
def test_a_secret_in_groups_with_separators_between_them_is_found(separator: str, size: int) -> None:
    groups = separator.join(PLAIN_SECRET[at : at + size] for at in range(0, len(PLAIN_SECRET), size))

    assert f"The key {MASK} is unknown." == redacted(f"The key {groups} is unknown.", PLAIN_SECRET)


def test_groups_with_separators_are_found_within_encodings() -> None:
    assert MASK == redacted("%39fK2-mQ7x%2DZ4bV-1cN%38", PLAIN_SECRET)
    assert f"({MASK})" == redacted(f"({PLAIN_SECRET.encode().hex(':')})", PLAIN_SECRET)


def test_seven_characters_of_a_secret_are_left_since_they_occur_by_chance() -> None:
    assert "begins with 9fK2mQ7" == redacted("begins with 9fK2mQ7", "x9fK2mQ7xZ4bV1cN8")


def test_a_short_secret_is_hidden_as_a_whole() -> None:
    assert redacted("no abcd here, no abc", "abcde") == "no abcd here, no [credential]"
    assert redacted("no abcd here", "abcd") == "no [credential] here"
    assert redacted("anything", "") == "anything"


@pytest.mark.cost
def test_the_longest_text_and_secret_cost_little() -> None:
    secret = "".join(f"{number:04x}" for number in range(1024))
    begin = time.process_time()
    redacted("\\u0061%25" * 450, secret)
    assert time.process_time() - begin < 1


@pytest.mark.cost
def test_masking_costs_no_more_with_many_clients() -> None:
    """Each client has a secret of its own: what is made of it once is kept for all of them."""
    secrets = [f"0f3c1d5e-2a53-4f0e-9d3c-0a4c5b1f{number:04d}" for number in range(640)]
    one, many = (min(_seconds_of_masking(each) for _ in range(3)) for each in (secrets[:1] * 640, secrets))

    assert 6 > many / one  # 27 where the pieces of only 64 secrets were kept


def _seconds_of_masking(secrets: list[str]) -> float:
    started = time.process_time()
    for secret in secrets:
        redacted("01234567-89ab-cdef-0123-456789abcdef", secret)
    return time.process_time() - started
