"""The codec behind the engine's port: what is no request is a value, and schemas can be taught."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.adapters.request_reader import RequestReader, string_encodings
from consumer.engine.ports import NotARequest, SchemaNeeded
from schemas.avro.codec import RequestEncoder, write_long
from schemas.avro.framing import SchemaRef
from schemas.avro.released import requests
from schemas.contract import DeadLetterReason
from tests.unit.schemas.values import REQUEST

NEWEST = requests()[-1]


def reader(*, registry: bool = True, max_bytes: int = 1 << 20) -> RequestReader:
    return RequestReader(registry=registry, max_bytes=max_bytes)


def test_a_request_is_read_whichever_way_it_is_framed() -> None:
    plain, framed = RequestEncoder().encode(REQUEST), RequestEncoder(schema_id=7).encode(REQUEST)
    taught = reader()
    taught.learn(SchemaRef.from_id(7), NEWEST.text)

    assert REQUEST == taught.decode(plain, None)
    assert REQUEST == taught.decode(framed, None)
    assert REQUEST == taught.decode(framed[5:], b"\x00\x00\x00\x00\x07")


def test_an_id_that_is_not_known_yet_has_to_be_asked_for() -> None:
    framed = RequestEncoder(schema_id=7).encode(REQUEST)

    assert SchemaNeeded(SchemaRef.from_id(7)) == reader().decode(framed, None)


def test_without_a_registry_an_id_is_unknown_for_good() -> None:
    answer = reader(registry=False).decode(RequestEncoder(schema_id=7).encode(REQUEST), None)

    assert isinstance(answer, NotARequest)
    assert DeadLetterReason.UNKNOWN_SCHEMA == answer.reason


@pytest.mark.parametrize(
    ("value", "header"),
    [
        (None, None),
        (b"", None),
        (b"{}", None),
        (RequestEncoder().encode(REQUEST)[:-1], None),
        (RequestEncoder().encode(REQUEST) + b"\x00", None),
        (RequestEncoder().encode(REQUEST), b""),
        (RequestEncoder().encode(REQUEST), b"\x05junk"),
        (RequestEncoder().encode({**REQUEST, "requestId": " "}), None),
        (RequestEncoder().encode({**REQUEST, "requestId": "x" * 256}), None),
        (RequestEncoder().encode({**REQUEST, "requestedAt": 253_402_300_800_000}), None),
        (b"\xc3\x01" + bytes(8), None),
    ],
)
def test_what_is_no_request_is_said_in_bounded_words(value: bytes | None, header: bytes | None) -> None:
    answer = reader().decode(value, header)

    assert isinstance(answer, NotARequest)
    assert 0 < len(answer.message) <= 500


def test_a_request_over_the_bound_is_unreadable() -> None:
    value = RequestEncoder().encode(REQUEST)
    answer = reader(max_bytes=len(value) - 1).decode(value, None)

    assert isinstance(answer, NotARequest)
    assert DeadLetterReason.UNREADABLE == answer.reason
    assert REQUEST == reader(max_bytes=len(value)).decode(value, None)


def test_a_schema_of_something_else_makes_no_request_and_is_not_asked_for_again() -> None:
    taught = reader()
    taught.learn(SchemaRef.from_id(7), '"string"')
    answer = taught.decode(RequestEncoder(schema_id=7).encode(REQUEST), None)

    assert isinstance(answer, NotARequest)
    assert DeadLetterReason.UNREADABLE == answer.reason


def test_only_references_of_ours_can_be_taught() -> None:
    with pytest.raises(TypeError):
        reader().learn("7", NEWEST.text)


@given(st.text(min_size=1, max_size=255), st.binary(max_size=20), st.integers(0, 3))
def test_an_encoding_of_a_string_occurs_in_every_value_that_contains_it(id_: str, before: bytes, longer: int) -> None:
    """Readers accept lengths that are written with more bytes than it takes."""
    size = write_long(len(id_.encode()))
    if longer:
        size = size[:-1] + bytes((size[-1] | 0x80,)) + b"\x80" * (longer - 1) + b"\x00"
    body = RequestEncoder().encode({**REQUEST, "products": [{"miraklProductId": id_, "productSku": "s"}]})
    value = before + size + id_.encode() + b"\x02s"

    assert any(encoding in value for encoding in string_encodings(id_))
    assert any(encoding in body for encoding in string_encodings(id_))
