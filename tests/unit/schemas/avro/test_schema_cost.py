"""A writer's schema costs no more than its length, however its types refer to each other; what is learnt is bounded."""

import json
import time
import tracemalloc
from typing import Any

import pytest

from schemas.avro import learnt
from schemas.avro.codec import RequestDecoder, RequestEncoder, ResultDecoder, UnknownSchema
from schemas.avro.framing import SchemaRef
from schemas.avro.learnt import Unreadable
from schemas.avro.policy import SCHEMAS
from schemas.avro.released import requests, results
from tests.support.policies import adjust
from tests.unit.schemas.values import REQUEST

pytestmark = pytest.mark.cost

REF = SchemaRef.from_id(7)
REQUESTED = json.loads(requests()[-1].text)


def decoder() -> RequestDecoder:
    return RequestDecoder(registry=True, max_bytes=1 << 20)


def with_field(kind: object) -> str:
    return json.dumps({**REQUESTED, "fields": [{"name": "added", "type": kind}, *REQUESTED["fields"]]})


def refused(schema: str) -> str:
    """Why records of this schema are unreadable."""
    learning = decoder()
    learning.learn(REF, schema)
    answer = learning.decode(REF.wire)
    assert isinstance(answer, Unreadable)
    assert answer.reason == "UNREADABLE"
    assert len(answer.message) <= 500
    return answer.message


def references(products: int, times: int) -> str:
    """A request whose products are a union of many types, named again and again in unions within unions."""
    fields = [{"name": name, "type": "string"} for name in ("miraklProductId", "productSku")]
    inner = [
        {"type": "record", "name": "ProductReference", "namespace": f"n{n}", "fields": fields} for n in range(products)
    ]
    types: dict[str, object] = {
        "requestId": "string",
        "products": {"type": "array", "items": inner},
        "requestedAt": "long",
    }
    outer: dict[str, Any] = {"type": "record", "name": "ProductResyncRequested", "namespace": "o"}
    outer["fields"] = [{"name": name, "type": kind} for name, kind in [*types.items(), ("requestedBy", "string")]]
    union: list[object] = ["o.ProductResyncRequested"]
    for _ in range(times):
        union = ["o.ProductResyncRequested", union]
    return json.dumps([outer, union])


def test_a_type_that_is_referred_to_again_and_again_is_resolved_once() -> None:
    text = references(products=1000, times=150)
    tracemalloc.start()
    began = time.process_time()

    decoder().learn(REF, text)

    took, memory = time.process_time() - began, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert took < 2
    assert memory < 32 << 20


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        (" " * (SCHEMAS.schema_characters + 1), "characters"),
        (
            with_field({"type": "enum", "name": "E", "symbols": ["s"] * SCHEMAS.schema_nodes}),
            "types, fields and symbols",
        ),
        ('{"type":"array","items":' * SCHEMAS.schema_depth + '"string"' + "}" * SCHEMAS.schema_depth, "levels deep"),
        (with_field({"type": "fixed", "name": "F" * (SCHEMAS.name_characters + 1), "size": 1}), "a name in the schema"),
        (with_field({"type": "fixed", "name": "F", "namespace": "n" * 10_000, "size": 1}), "a name in the schema"),
        (with_field({"type": "fixed", "name": "F", "size": 2**31}), "the size of mirakl.resync.v1.F"),
        (with_field({"type": "fixed", "name": "F", "size": 10**4299}), "the size of mirakl.resync.v1.F"),
    ],
    ids=["long", "wide", "deep", "long name", "long namespace", "large", "4,300 digits"],
)
def test_a_schema_beyond_the_bounds_is_unreadable_and_says_which(schema: str, why: str) -> None:
    assert why in refused(schema)


def test_sizes_that_add_up_to_thousands_of_digits_are_beyond_any_body() -> None:
    """Each record has the former one twice, so that its size doubles."""
    types: list[object] = [{"type": "fixed", "name": "R0", "size": 2**31 - 1}]
    for n in range(1, 3000):
        halves = [{"name": name, "type": f"mirakl.resync.v1.R{n - 1}"} for name in "ab"]
        types.append({"type": "record", "name": f"R{n}", "fields": halves})
    fields = [{"name": f"f{n}", "type": kind} for n, kind in enumerate(types)]
    learning = decoder()
    learning.learn(REF, with_field({"type": "record", "name": "All", "fields": fields}))

    assert isinstance(learning.decode(REF.wire + b"\x00" * 1000), Unreadable)


def test_whatever_a_schema_provokes_concerns_its_records_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise MemoryError

    learning = decoder()
    monkeypatch.setattr("schemas.avro.writer_schema.parse_schema", broken)
    learning.learn(REF, requests()[-1].text)

    answer = learning.decode(REF.wire)
    assert isinstance(answer, Unreadable)
    assert "MemoryError" in answer.message


def test_a_schema_that_fell_out_of_the_cache_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    adjust(monkeypatch, learnt, "SCHEMAS", schemas=2)
    learning = decoder()
    for number in (1, 2):
        learning.learn(SchemaRef.from_id(number), requests()[-1].text)
    value = {number: RequestEncoder(number).encode(REQUEST) for number in (1, 2, 3)}

    assert REQUEST == learning.decode(value[1])  # so that 2 is the one that was used least recently
    learning.learn(SchemaRef.from_id(3), requests()[-1].text)

    assert [REQUEST, UnknownSchema(SchemaRef.from_id(2)), REQUEST] == [learning.decode(value[n]) for n in (1, 2, 3)]
    assert REQUEST == learning.decode(RequestEncoder().encode(REQUEST))


def test_large_schemas_leave_room_for_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    large = with_field([{"type": "enum", "name": f"E{n}", "symbols": ["A"]} for n in range(100)])
    adjust(monkeypatch, learnt, "SCHEMAS", nodes=2000)
    learning = decoder()
    for number in range(20):
        learning.learn(SchemaRef.from_id(number), large)

    known = [n for n in range(20) if not isinstance(learning.decode(SchemaRef.from_id(n).wire), UnknownSchema)]
    assert 1 <= len(known) < 8
    assert known[-1] == 19


def test_refused_schemas_never_cost_one_that_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    adjust(monkeypatch, learnt, "SCHEMAS", refused=10)
    learning = decoder()
    learning.learn(REF, requests()[-1].text)
    for number in range(100, 150):
        learning.learn(SchemaRef.from_id(number), '"string"')

    assert REQUEST == learning.decode(RequestEncoder(7).encode(REQUEST))
    assert isinstance(learning.decode(SchemaRef.from_id(149).wire), Unreadable)
    assert UnknownSchema(SchemaRef.from_id(100)) == learning.decode(SchemaRef.from_id(100).wire)


def test_a_result_on_the_topic_of_requests_is_another_record_type() -> None:
    fingerprint = results()[-1].ref
    answer = RequestDecoder(registry=False, max_bytes=1 << 20).decode(fingerprint.wire + b"\x00" * 20)

    assert isinstance(answer, Unreadable)
    assert answer.reason == "UNREADABLE"
    assert "another record type: mirakl.resync.v1.ProductResyncResult" in answer.message


def test_a_request_on_the_topic_of_results_is_another_record_type() -> None:
    answer = ResultDecoder(registry=False).decode(RequestEncoder().encode(REQUEST))

    assert isinstance(answer, Unreadable)
    assert answer.reason == "UNREADABLE"
    assert "another record type" in answer.message


def test_an_id_that_the_registry_has_for_results_is_another_record_type() -> None:
    assert "another record type" in refused(results()[-1].text)


def test_a_size_of_thousands_of_digits_behind_a_request_does_not_end_the_process() -> None:
    """Python refuses to write numbers of more than 4,300 digits, and positions are part of messages."""
    last = {"name": "added", "type": {"type": "fixed", "name": "F", "size": 9 * 10**4299}}
    again = {"name": "again", "type": "mirakl.resync.v1.F"}
    learning = decoder()
    learning.learn(REF, json.dumps({**REQUESTED, "fields": [*REQUESTED["fields"], last, again]}))

    assert isinstance(learning.decode(RequestEncoder(7).encode(REQUEST)), Unreadable)
