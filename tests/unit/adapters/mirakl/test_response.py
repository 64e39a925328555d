"""What each answer to CM21 means."""

import base64
import gzip
import json
import zlib
from email.utils import formatdate
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.adapters.mirakl.policy import MIRAKL
from consumer.adapters.mirakl.response import (
    read_answer,
    retry_after,
)
from consumer.domain.calls import CallFailure, CallOutcome, Receipt, Refusal, Unacknowledged

NOW = 1_790_000_000.0
CREDENTIAL = "front-s3cret-token"


def read(status: int, body: bytes = b"", **headers: str) -> CallOutcome:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return read_answer(status, named, body, credential=CREDENTIAL, wall_time=NOW)


def excerpt(body: bytes) -> str:
    refusal = read(400, body)
    assert isinstance(refusal, Refusal)
    return refusal.excerpt


@pytest.mark.parametrize("status", [200, 201, 202, 203, 206, 299])
def test_a_2xx_with_a_tracking_id_is_a_receipt(status: int) -> None:
    assert Receipt("t-1") == read(status, b'{"new": [1], "tracking_id": "t-1", "later": null}')


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'"t-1"',
        b'["tracking_id"]',
        b'{"tracking_id": null}',
        b'{"tracking_id": ""}',
        b'{"tracking_id": " \\t"}',
        b'{"tracking_id": 4711}',
        b'{"tracking_id": ["t-1"]}',
        b'{"trackingId": "t-1"}',
        b'{"tracking_id": "t-1',
        b'{"tracking_id": "line\\nbreak"}',
        b'{"tracking_id": "\\ud800"}',
        b'{"tracking_id": "\xff"}',
        b"<html><title>Sign in</title></html>",
        b"[" * 60_000,
        b'{"tracking_id": "' + b"x" * (MIRAKL.tracking_id_characters + 1) + b'"}',
        b'{"tracking_id": ' + b"9" * 10_000 + b"}",
    ],
)
@pytest.mark.parametrize("status", [200, 202, 204])
def test_a_2xx_without_a_usable_tracking_id_is_no_success(status: int, body: bytes) -> None:
    outcome = read(status, body)
    assert isinstance(outcome, Unacknowledged)
    assert outcome.status == status


def test_a_tracking_id_of_the_greatest_length_is_kept_whole() -> None:
    tracking_id = "x" * MIRAKL.tracking_id_characters
    assert Receipt(tracking_id) == read(200, json.dumps({"tracking_id": tracking_id}).encode())


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 406, 409, 410, 413, 415, 418, 422, 451, 499])
def test_a_4xx_that_no_repetition_heals_is_a_refusal(status: int) -> None:
    assert Refusal(status, "no") == read(status, b'{"message": "no"}')


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308, 399])
def test_a_redirect_is_a_refusal(status: int) -> None:
    assert Refusal(status, "moved") == read(status, b"moved")
    destination = "https://elsewhere.example/login"
    assert Refusal(status, f"redirect to {destination}") == read(status, b"moved", location=f"{destination}?s=1#x")


@pytest.mark.parametrize("status", [408, 425, 429, 500, 501, 502, 503, 505, 507, 599, 600, 999])
def test_what_time_may_heal_did_not_reach_mirakls_acceptance(status: int) -> None:
    assert CallFailure(f"HTTP {status}", may_have_reached=False, status=status) == read(status)


def test_a_gateway_that_gave_up_may_have_passed_the_call_on() -> None:
    assert CallFailure("HTTP 504: late", may_have_reached=True, status=504) == read(504, b"late")


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503, 504])
def test_retry_after_counts_for_every_status_that_is_tried_again(status: int) -> None:
    outcome = read(status, retry_after="120")
    assert isinstance(outcome, CallFailure)
    assert outcome.retry_after == 120.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("0", 0.0),
        (" 7 ", 7.0),
        ("1.5", 1.5),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("1e9", None),
        ("soon", None),
        ("٣", None),
        ("3600", 3600.0),
        ("99999999999", MIRAKL.longest_retry_after),
        ("9" * 300, MIRAKL.longest_retry_after),
        ("9" * 5000, None),
        (formatdate(NOW + 90, usegmt=True), 90.0),
        (formatdate(NOW - 90, usegmt=True), 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", MIRAKL.longest_retry_after),
        ("Fri, 99 Dec 2026 23:59:59 GMT", None),
        ("Sat, 01 Jan 2000 00:00:00 -0000", 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_never_longer_than_a_day(value: str | None, seconds: float | None) -> None:
    assert seconds == retry_after(value, NOW)


@given(st.text())
def test_no_retry_after_breaks_the_reading(value: str) -> None:
    seconds = retry_after(value, NOW)
    assert seconds is None or 0 <= seconds <= MIRAKL.longest_retry_after


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"message": "Bad entry", "status": 400}', "Bad entry"),
        (
            b'{"code": "E1", "message": "Invalid", "errors": [{"field": "[0].x", "message": "unknown"}, 7]}',
            "E1 Invalid [0].x: unknown",
        ),
        (b'{"error": "invalid_token"}', "invalid_token"),
        (b'{"unheard": "of"}', '{"unheard": "of"}'),
        (b"plain\r\n  words\x00\x1b[31m", "plain words [31m"),
        (b"caf\xe9", "caf\ufffd"),
        (
            b"<html><head><title>403 Forbidden</title></head><script>alert(1)</script><h1>No &amp; never</h1></html>",
            "403 Forbidden No & never",
        ),
        (b"", ""),
    ],
)
def test_an_excerpt_is_what_mirakl_says_to_people(body: bytes, words: str) -> None:
    assert words == excerpt(body)


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("https://user:pa55@other.example/login", "https://other.example/login"),
        ("HTTPS://user@other.example:8443?s=1", "HTTPS://other.example:8443"),
        ("//user:p@55@other.example/", "//other.example/"),
        ("https:\\\\user:pa55@other.example\\x", "https:\\\\other.example\\x"),
        ("https://user:pa?55#x@other.example/", "https://other.example/"),
        ("https://user:pa/55@other.example/x", "https://other.example/x"),
        ("user:pa55@other.example/x", "other.example/x"),
        ("https://other.example:443/@me/x", "https://other.example:443/@me/x"),
        ("https://[2001:db8::1]:443/@me", "https://[2001:db8::1]:443/@me"),
        ("/@me?next=a", "/@me"),
    ],
)
def test_a_redirect_shows_neither_user_nor_password_of_anybody(location: str, shown: str) -> None:
    assert Refusal(302, f"redirect to {shown}") == read(302, location=location)


def test_a_redirect_with_the_credential_in_it_does_not_show_it() -> None:
    assert Refusal(302, "redirect to /[credential]/x") == read(302, location=f"/{CREDENTIAL}/x")


@pytest.mark.parametrize(
    "body",
    [
        f"unknown key {CREDENTIAL}".encode(),
        json.dumps({"message": f"unknown key {CREDENTIAL}"}).encode(),
        f"<p>unknown key <b>{CREDENTIAL}</b></p>".encode(),
        b"<p>unknown key front&#45;s3cret&#45;token</p>",
        f"{'<br>' * 1020}{CREDENTIAL}".encode(),
        f"{'x' * (MIRAKL.excerpt_characters - 5)}{CREDENTIAL}".encode(),
        f"{'x ' * 2044}{CREDENTIAL}".encode(),
        json.dumps({"unheard": CREDENTIAL}).replace("-", "\\u002D").encode(),
        json.dumps({"unheard": quote(CREDENTIAL.replace("-", "%2D"))}).encode(),
        f"unknown key {base64.b64encode(f'user:{CREDENTIAL}'.encode()).decode()}".encode(),
        f"unknown key {CREDENTIAL[:12]}... refused".encode(),
        f"unknown key ...{CREDENTIAL[5:]}".encode(),
        f"unknown key {CREDENTIAL.upper()}".encode(),
    ],
)
def test_an_excerpt_never_repeats_the_credential(body: bytes) -> None:
    shown = excerpt(body).lower()
    assert CREDENTIAL[:8] not in shown
    assert "s3cret" not in shown
    assert base64.b64encode(CREDENTIAL.encode()).decode()[4:12].lower() not in shown


def test_a_tracking_id_that_repeats_the_credential_does_not_show_it() -> None:
    assert Receipt("t-[credential]") == read(202, json.dumps({"tracking_id": f"t-{CREDENTIAL}"}).encode())


@given(st.binary(max_size=5000))
def test_an_excerpt_is_bounded_printable_and_on_one_line(body: bytes) -> None:
    words = excerpt(body)
    assert len(words) <= MIRAKL.excerpt_characters
    assert words.isprintable()


@pytest.mark.parametrize("page", [b"<" * 60_000, b"<script>" * 8_000, b"<a " * 20_000, b"<title>" * 9_000])
def test_hostile_markup_costs_no_more_than_honest_one(page: bytes) -> None:
    assert len(excerpt(page)) <= MIRAKL.excerpt_characters  # the time limit of the suite is the judge


def test_a_compressed_answer_is_read_though_nobody_asked_for_it() -> None:
    body = b'{"tracking_id": "t-1"}'
    assert Receipt("t-1") == read(200, gzip.compress(body), content_encoding="gzip")
    assert Receipt("t-1") == read(200, zlib.compress(body), content_encoding="deflate")


def test_a_compressed_answer_never_grows_beyond_the_bound() -> None:
    bomb = gzip.compress(b" " * (64 * MIRAKL.body_bytes) + b'{"tracking_id": "t-1"}')
    assert isinstance(read(200, bomb, content_encoding="gzip"), Unacknowledged)


def test_a_broken_compression_is_no_success() -> None:
    assert isinstance(read(200, b"not gzip", content_encoding="gzip"), Unacknowledged)


@pytest.mark.parametrize(
    "content",
    [b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4, bytes(range(128, 256)), b"\x1f\x8bbroken" + bytes(range(200, 250))],
)
def test_binary_content_is_only_named(content: bytes) -> None:
    assert f"(binary content, {len(content)} bytes)" == excerpt(content)


@pytest.mark.parametrize("text", ["Un problème est survenu".encode("latin-1"), "Störung\tüberall\r\n".encode()])
def test_a_text_with_some_unreadable_characters_is_shown(text: bytes) -> None:
    assert "(binary" not in excerpt(text)


def test_an_answer_that_was_compressed_unasked_is_read_though_no_header_says_so() -> None:
    answer = b'{"tracking_id": "t-1"}'
    assert Receipt("t-1") == read(200, gzip.compress(answer))
    assert Receipt("t-1") == read(200, gzip.compress(gzip.compress(answer)), content_encoding="gzip, gzip")
    assert Receipt("t-1") == read(200, answer, content_encoding="gzip")
