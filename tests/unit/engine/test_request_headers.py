"""What the headers of a request say, and when they make it no request at all."""

import pytest

from consumer.engine.request_headers import HeaderReader, is_secret, read_headers
from schemas.contract import MAX_HEADERS, MAX_HEADERS_BYTES

TRACE = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_names_are_matched_without_regard_to_case_and_the_last_value_counts() -> None:
    facts = read_headers(
        [("DJ-Client", b"SUPPLIER"), ("dj-client", b"OPERATOR"), ("Dj-Api-Key", b"1"), ("DJ-API-KEY", b"2")]
    )

    assert b"OPERATOR" == facts.caller
    assert b"2" == facts.api_key


def test_a_last_value_of_null_means_that_there_is_none() -> None:
    assert read_headers([("dj-api-key", b"1"), ("dj-api-key", None)]).api_key is None


def test_correlation_headers_are_kept_byte_for_byte_by_the_name_that_was_sent() -> None:
    facts = read_headers(
        [("Correlation-ID", b"old"), ("kafka_correlationId", b"\x00\xff"), ("correlation-id", b"\xfe"), ("other", b"x")]
    )

    assert {("kafka_correlationId", b"\x00\xff"), ("correlation-id", b"\xfe")} == set(facts.correlation)


def test_a_correlation_header_of_null_is_repeated_as_null() -> None:
    assert (("correlation-id", None),) == read_headers([("correlation-id", None)]).correlation


@pytest.mark.parametrize(
    "good", [TRACE, TRACE[:-2] + b"00", b"cc" + TRACE[2:], b"01" + TRACE[2:] + b"-what the future brings"]
)
def test_a_trace_is_continued(good: bytes) -> None:
    assert good == read_headers([("traceparent", good)]).traceparent


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"ff" + TRACE[2:],
        TRACE.upper(),
        TRACE[:-1],
        TRACE + b"-more",
        TRACE + b"\n",
        b"00-" + b"0" * 32 + TRACE[35:],
        TRACE[:36] + b"0" * 16 + TRACE[52:],
        b"\xff" * 55,
    ],
)
def test_what_is_no_trace_is_not_continued(bad: bytes) -> None:
    """W3C Trace Context: version 00 has nothing behind its flags; ids of zeros are none."""
    facts = read_headers([("traceparent", bad)])

    assert facts.traceparent is None
    assert facts.unreadable is None


def test_as_many_headers_as_the_contract_allows_can_be_read() -> None:
    full = [(f"h{n}", b"") for n in range(MAX_HEADERS - 1)]
    size = sum(len(name) for name, _ in full)
    full.append(("x", b"y" * (MAX_HEADERS_BYTES - size - 1)))

    assert read_headers(full).unreadable is None
    assert 64 == len(full)
    assert 32 * 1024 == sum(len(name) + len(value) for name, value in full)


@pytest.mark.parametrize(
    "headers",
    [
        [("h", b"")] * 65,
        [("h", b"x" * 32 * 1024)],
        [("h" * 32 * 1024, b"x")],
        [("\u00e9" * 16 * 1024, b"x")],
    ],
    ids=["too many", "a value", "a name", "a name of two bytes a character"],
)
def test_headers_beyond_the_bounds_are_unreadable_and_the_key_is_known_all_the_same(
    headers: list[tuple[str, bytes | None]],
) -> None:
    facts = read_headers([("dj-api-key", b"key"), *headers])

    assert facts.unreadable is not None
    assert 500 >= len(facts.unreadable)
    assert b"key" == facts.api_key


def test_names_that_are_no_text_are_unreadable() -> None:
    assert read_headers(None).unreadable is not None


def test_no_headers_are_no_trouble() -> None:
    assert read_headers([]).unreadable is None


def test_a_key_shows_in_no_representation() -> None:
    assert "secret" not in repr(read_headers([("dj-api-key", b"secret"), ("correlation-id", b"secret")]))


@pytest.mark.parametrize(("name", "secret"), [("dj-api-key", True), ("DJ-API-Key", True), ("dj-client", False)])
def test_the_header_that_is_never_repeated(name: str, *, secret: bool) -> None:
    assert secret is is_secret(name)


def test_records_that_share_their_headers_share_what_they_say() -> None:
    reader = HeaderReader()
    first, second = [("dj-api-key", b"one")], [("dj-api-key", b"two")]

    found = [reader.read(each) for each in (first, first, second, None, first)]

    assert [b"one", b"one", b"two", None, b"one"] == [each.api_key for each in found]
    assert found[0] is found[1]
    assert found[3].unreadable is not None
