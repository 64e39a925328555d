"""Bodies and schemas come from other people: reading them never raises, hangs or takes memory without end."""

import json
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.avro.codec import RequestDecoder, RequestEncoder, ResultDecoder, ResultEncoder, write_long
from schemas.avro.framing import SchemaRef
from schemas.avro.learnt import Unreadable
from schemas.avro.released import requests
from tests.unit.schemas.values import REQUEST, RESULT

pytestmark = pytest.mark.cost

REF = SchemaRef.from_id(7)
REQUESTED = json.loads(requests()[-1].text)
HUGE = write_long(2**40)

REQUEST_DECODER = RequestDecoder(registry=True, max_bytes=1 << 20)
REQUEST_VALUE = RequestEncoder().encode(REQUEST)
RESULT_VALUE = ResultEncoder().encode(RESULT)


@contextmanager
def bounded(*, seconds: float = 2, megabytes: float = 16) -> Iterator[None]:
    """What the body claims is not done, and not allocated."""
    tracemalloc.start()
    began = time.process_time()
    try:
        yield
        assert time.process_time() - began < seconds
        assert tracemalloc.get_traced_memory()[1] < megabytes * 2**20
    finally:
        tracemalloc.stop()


def mutations(value: bytes) -> st.SearchStrategy[bytes]:
    """The value with a piece of it replaced."""
    places = st.integers(0, len(value))
    return st.builds(
        lambda at, cut, put: value[:at] + put + value[at + cut :], places, st.integers(0, 8), st.binary(max_size=12)
    )


@given(value=st.binary() | mutations(REQUEST_VALUE), header=st.none() | st.binary(max_size=20))
def test_no_bytes_raise_as_a_request(value: bytes, header: bytes | None) -> None:
    REQUEST_DECODER.decode(value, header)


@given(mutations(RESULT_VALUE))
def test_no_bytes_raise_as_a_result(value: bytes) -> None:
    ResultDecoder(registry=False).decode(value)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from(["null", "int", "string", "array"]),
    lambda node: (
        st.lists(node, max_size=4)
        | st.dictionaries(st.sampled_from(["type", "name", "fields", "items", "values", "symbols", "size"]), node)
    ),
    max_leaves=20,
)


@given(schema=JSON, field=JSON, body=st.binary(max_size=40))
def test_no_schema_raises(schema: object, field: object, body: bytes) -> None:
    for text in (json.dumps(schema), json.dumps(with_field(field)), json.dumps(schema)[:-1]):
        decoder = RequestDecoder(registry=True, max_bytes=1 << 20)
        decoder.learn(REF, text)
        decoder.decode(REF.wire + body)


def test_what_people_are_told_of_a_schema_is_printable_and_short() -> None:
    decoder = RequestDecoder(registry=True, max_bytes=1 << 20)
    decoder.learn(REF, json.dumps({"type": "\ud800\x1b[2J" + "x" * 10_000}))

    answer = decoder.decode(REF.wire)

    assert isinstance(answer, Unreadable)
    assert answer.message.isascii()
    assert answer.message.isprintable()
    assert len(answer.message) <= 500


def with_field(kind: object) -> dict[str, Any]:
    """Our schema with a field of that type in front, which only the writer knows."""
    return {**REQUESTED, "fields": [{"name": "added", "type": kind}, *REQUESTED["fields"]]}


def record(name: str, *kinds: object) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": [{"name": f"f{n}", "type": kind} for n, kind in enumerate(kinds)]}


def doubled(leaf: dict[str, Any], times: int) -> dict[str, Any]:
    """Records within records, each twice: 2**times leaves in a few lines of schema."""
    for n in range(times):
        leaf = record(f"R{n}", leaf, leaf["name"])
    return leaf


EMPTY = record("Empty")
TREE = record("Tree", ["null", "Tree"])
ENDLESS = record("Endless", "Endless")


CLAIMS: dict[str, tuple[object, bytes]] = {
    "2**40 nulls": ({"type": "array", "items": "null"}, HUGE * 8),
    "2**40 empty records": ({"type": "array", "items": EMPTY}, HUGE + b"\x00"),
    "arrays of 2**40 nulls": ({"type": "array", "items": {"type": "array", "items": "null"}}, HUGE * 9),
    "more doubles than bytes": ({"type": "array", "items": "double"}, HUGE * 3),
    "blocks of negative counts": ({"type": "array", "items": "string"}, write_long(-(2**40)) * 3),
    "more strings than bytes": ({"type": "array", "items": "string"}, HUGE + b"\x00" * 1000),
    "more entries than bytes": ({"type": "map", "values": "null"}, HUGE + b"\x00" * 1000),
    "a fixed of 2**70 bytes": ({"type": "fixed", "name": "Fixed", "size": 2**70}, b""),
    "a fixed of -1 bytes": ({"type": "fixed", "name": "Fixed", "size": -1}, b"\x00" * 1000),
    "a string of 2**62 bytes": ("string", write_long(2**62)),
    "a string of -2**62 bytes": ("string", write_long(-(2**62))),
    "a length without end": ("bytes", b"\xff" * 1000),
    "a number without end": ("long", b"\x80" * 1_000_000),
    "a tree a million deep": (TREE, b"\x02" * 1_000_000),
    "a record that contains itself": (ENDLESS, b"\x02" * 1000),
    "2**60 empty records, nested": (doubled(EMPTY, 60), b"\x00" * 1000),
    "2**60 booleans, nested": (doubled(record("Leaf", "boolean"), 60), b"\x00" * 1000),
    "2**60 numbers, nested": (doubled(record("Leaf", "long"), 60), b"\x00" * 1000),
    "2**40 items of 2**30 numbers": (
        {"type": "array", "items": doubled(record("Leaf", "null", "long"), 30)},
        HUGE + b"\x00" * 100_000,
    ),
}


@pytest.mark.parametrize(("kind", "body"), CLAIMS.values(), ids=CLAIMS.keys())
def test_what_a_field_claims_is_not_done(kind: object, body: bytes) -> None:
    decoder = RequestDecoder(registry=True, max_bytes=2 << 20)
    decoder.learn(REF, json.dumps(with_field(kind)))

    with bounded():
        answer = decoder.decode(REF.wire + body)

    assert isinstance(answer, Unreadable)


def test_a_value_nested_as_deep_as_people_nest_is_passed_over() -> None:
    decoder = RequestDecoder(registry=True, max_bytes=1 << 20)
    decoder.learn(REF, json.dumps(with_field(TREE)))

    assert REQUEST == decoder.decode(REF.wire + b"\x02" * 100 + b"\x00" + REQUEST_VALUE[10:])


@pytest.mark.parametrize("count", [2**40, -(2**40), 2**63 - 1, -(2**63)])
def test_a_list_of_products_longer_than_the_body_is_unreadable(count: int) -> None:
    identity, _, rest = REQUEST_VALUE.partition(b"\x04\x0eMKL-001")
    value = identity + write_long(count) + rest * 3

    with bounded():
        assert isinstance(REQUEST_DECODER.decode(value), Unreadable)


def test_a_schema_nested_too_deep_to_parse_is_no_schema() -> None:
    decoder = RequestDecoder(registry=True, max_bytes=1 << 20)
    decoder.learn(REF, '{"type":"array","items":' * 100_000)

    assert isinstance(decoder.decode(REF.wire), Unreadable)


def test_a_megabyte_of_the_smallest_products_is_read_in_a_bounded_time() -> None:
    """Too many products is an answer, so they are read: the bound on bytes is what keeps this small."""
    count = 500_000
    value = RequestEncoder().encode(REQUEST | {"products": []})
    at = value.index(b"\x00", 10 + 74)
    value = value[:at] + write_long(count) + b"\x00\x00" * count + value[at:]

    began = time.process_time()
    answer = REQUEST_DECODER.decode(value)

    assert isinstance(answer, dict)
    assert len(answer["products"]) == count
    assert time.process_time() - began < 5


@pytest.mark.parametrize("kind", ["string", "double", "int", ["null", "string"]])
def test_neighbours_that_only_the_writer_knows_are_passed_over_however_many(kind: object) -> None:
    """More than Python calls functions within functions."""
    added = [{"name": f"added{n}", "type": kind if n % 2 else "string"} for n in range(5000)]
    value = b"".join((b"\x00" * 8 if kind == "double" else b"\x00") if n % 2 else b"\x02a" for n in range(5000))
    decoder = RequestDecoder(registry=True, max_bytes=1 << 20)
    decoder.learn(REF, json.dumps({**REQUESTED, "fields": [*added, *REQUESTED["fields"]]}))

    assert REQUEST == decoder.decode(REF.wire + value + REQUEST_VALUE[10:])


PRODUCT = next(field["type"]["items"] for field in REQUESTED["fields"] if field["name"] == "products")


def with_products(*items: object) -> dict[str, Any]:
    """Our schema, whose products are a union."""
    fields = [
        {**field, "type": {"type": "array", "items": items}} if field["name"] == "products" else field
        for field in REQUESTED["fields"]
    ]
    return {**REQUESTED, "fields": fields}


REPETITIONS: dict[str, dict[str, Any]] = {
    "a field": {**REQUESTED, "fields": REQUESTED["fields"] + [{"name": "reason", "type": "string"}] * 50_000},
    "a branch": with_products(PRODUCT, *["ProductReference"] * 100_000),
    "a type in many namespaces": with_products(*({**PRODUCT, "namespace": f"n{n}"} for n in range(15_000))),
}


@pytest.mark.parametrize("schema", REPETITIONS.values(), ids=REPETITIONS.keys())
def test_a_schema_that_says_the_same_again_and_again_costs_its_length(schema: dict[str, Any]) -> None:
    """The engine's loop waits for it: these took seconds each, and a few megabytes longer than its watchdog waits."""
    text = json.dumps(schema)
    decoder = RequestDecoder(registry=True, max_bytes=1 << 20)

    began = time.process_time()
    decoder.learn(REF, text)

    assert time.process_time() - began < 2
    assert isinstance(decoder.decode(REF.wire), Unreadable)
