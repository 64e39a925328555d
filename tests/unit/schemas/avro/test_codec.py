import json
import struct
from io import BytesIO
from typing import Any
from uuid import UUID

import pytest
from fastavro import parse_schema, schemaless_writer
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.avro.binary import read_long
from schemas.avro.codec import RequestDecoder, RequestEncoder, ResultDecoder, ResultEncoder, UnknownSchema, write_long
from schemas.avro.framing import SchemaRef
from schemas.avro.learnt import Unreadable
from schemas.avro.released import crc64_avro, requests, results
from tests.unit.schemas.avro import spec_avro
from tests.unit.schemas.values import LONGS, REQUEST, REQUEST_IDS, REQUESTS, RESULT, RESULTS

MAX_BYTES = 1 << 20
REQUESTED = requests()[-1].text
ID_7 = SchemaRef.from_id(7)
GUID = SchemaRef.from_guid(UUID("0f8fad5b-d9cb-469f-a165-70867728950e"))


def decoder(*, registry: bool = True) -> RequestDecoder:
    return RequestDecoder(registry=registry, max_bytes=MAX_BYTES)


def evolved(**changes: object) -> str:
    """Our request schema with other attributes, such as ``fields`` or ``name``."""
    return json.dumps(json.loads(REQUESTED) | changes)


def fields(*more: dict[str, Any]) -> list[dict[str, Any]]:
    return [*json.loads(REQUESTED)["fields"], *more]


def reason(answer: object) -> str:
    assert isinstance(answer, Unreadable), answer
    return answer.reason


class TestFramings:
    def test_a_request_in_single_object_encoding_needs_no_registry(self) -> None:
        assert REQUEST == decoder(registry=False).decode(RequestEncoder().encode(REQUEST))

    def test_a_registry_id_in_front_of_the_body(self) -> None:
        requests_decoder = decoder()
        value = RequestEncoder(schema_id=7).encode(REQUEST)

        assert UnknownSchema(ID_7) == requests_decoder.decode(value)
        requests_decoder.learn(ID_7, REQUESTED)
        assert REQUEST == requests_decoder.decode(value)

    @pytest.mark.parametrize("ref", [ID_7, GUID], ids=str)
    def test_an_id_or_a_guid_in_the_header_leaves_the_whole_value_to_the_body(self, ref: SchemaRef) -> None:
        requests_decoder = decoder()
        body = RequestEncoder().encode(REQUEST)[10:]

        assert UnknownSchema(ref) == requests_decoder.decode(body, ref.wire)
        requests_decoder.learn(ref, REQUESTED)
        assert REQUEST == requests_decoder.decode(body, ref.wire)

    def test_the_header_comes_before_the_first_byte(self) -> None:
        framed = RequestEncoder().encode(REQUEST)

        assert UnknownSchema(ID_7) == decoder().decode(framed, ID_7.wire)

    @pytest.mark.parametrize("ref", [ID_7, GUID], ids=str)
    def test_without_a_registry_an_id_is_an_unknown_schema_at_once(self, ref: SchemaRef) -> None:
        assert reason(decoder(registry=False).decode(b"body", ref.wire)) == "UNKNOWN_SCHEMA"

    def test_a_fingerprint_that_is_not_bundled_is_an_unknown_schema_at_once(self) -> None:
        assert reason(decoder().decode(b"\xc3\x01" + bytes(8) + b"body")) == "UNKNOWN_SCHEMA"

    @pytest.mark.parametrize(
        "header",
        [b"", b"\x00", b"\x00\x00\x00\x07", b"\x00\x00\x00\x00\x00\x07", b"\x01" + bytes(15), b"\x02" + bytes(4), b"7"],
        ids=repr,
    )
    def test_a_header_that_is_no_framing_is_unreadable(self, header: bytes) -> None:
        assert reason(decoder().decode(RequestEncoder().encode(REQUEST), header)) == "UNREADABLE"

    def test_whoever_sent_a_malformed_header_is_told_that_it_was_the_header(self) -> None:
        unread = decoder().decode(RequestEncoder().encode(REQUEST), b"\x05abc")

        assert isinstance(unread, Unreadable)
        assert unread.message == "the header __value_schema_id is not a schema id or GUID: it begins with '05616263'"

    def test_a_fingerprint_belongs_in_front_of_the_body_and_not_into_the_header(self) -> None:
        value = RequestEncoder().encode(REQUEST)

        assert reason(decoder().decode(value[10:], value[:10])) == "UNREADABLE"

    @pytest.mark.parametrize(
        "value",
        [
            None,
            b"",
            b"\x00",
            b"\x00\x00\x00\x07",
            b"\xc3",
            b"\xc3\x01\x00",
            b"\xc3\x02" + bytes(20),
            b"{}",
            GUID.wire + b"body",
        ],
        ids=repr,
    )
    def test_a_value_without_a_known_framing_is_unreadable(self, value: bytes | None) -> None:
        assert reason(decoder().decode(value)) == "UNREADABLE"

    def test_names_of_schemas_are_told_to_people(self) -> None:
        assert [str(ref) for ref in (ID_7, GUID, SchemaRef.from_fingerprint(bytes(range(8))))] == [
            "schema id 7",
            "schema GUID 0f8fad5b-d9cb-469f-a165-70867728950e",
            "schema fingerprint 0001020304050607",
        ]


class TestUnreadable:
    def test_a_value_over_the_bound_is_not_looked_at(self) -> None:
        value = RequestEncoder().encode(REQUEST)

        assert reason(RequestDecoder(registry=True, max_bytes=len(value) - 1).decode(value)) == "UNREADABLE"
        assert REQUEST == RequestDecoder(registry=True, max_bytes=len(value)).decode(value)

    def test_cut_anywhere_a_request_is_unreadable(self) -> None:
        value = RequestEncoder().encode(REQUEST)

        assert {"UNREADABLE"} == {reason(decoder().decode(value[:length])) for length in range(len(value))}

    def test_trailing_bytes_are_unreadable(self) -> None:
        assert reason(decoder().decode(RequestEncoder().encode(REQUEST) + b"\x00")) == "UNREADABLE"

    def test_another_record_type_is_unreadable(self) -> None:
        requests_decoder = decoder()
        requests_decoder.learn(ID_7, results()[-1].text)

        assert reason(requests_decoder.decode(ResultEncoder(7).encode(RESULT))) == "UNREADABLE"

    @pytest.mark.parametrize(
        "schema",
        ['"string"', "syntax = proto3;", '{"type": "object"}', "[]", "null", evolved(name="Other"), evolved(fields=[])],
    )
    def test_a_schema_that_is_no_request_is_remembered_as_such(self, schema: str) -> None:
        requests_decoder = decoder()
        requests_decoder.learn(ID_7, schema)

        assert reason(requests_decoder.decode(ID_7.wire + b"body")) == "UNREADABLE"
        assert reason(requests_decoder.decode(b"body", ID_7.wire)) == "UNREADABLE"

    @pytest.mark.parametrize("request_id", ["", " ", "\t\n", "\u2003", "x" * 256])
    def test_a_request_id_that_is_blank_or_over_long_is_unreadable(self, request_id: str) -> None:
        assert reason(decoder().decode(RequestEncoder().encode(REQUEST | {"requestId": request_id}))) == "UNREADABLE"

    @pytest.mark.parametrize("request_id", ["x", "ü" * 255, " 7 ", "\x00"])
    def test_a_request_id_is_otherwise_the_producers_choice(self, request_id: str) -> None:
        request = REQUEST | {"requestId": request_id}

        assert request == decoder().decode(RequestEncoder().encode(request))

    @pytest.mark.parametrize("millis", [-62_135_596_800_001, 253_402_300_800_000, 2**63 - 1, -(2**63)])
    def test_a_time_outside_the_years_1_to_9999_is_unreadable(self, millis: int) -> None:
        assert reason(decoder().decode(RequestEncoder().encode(REQUEST | {"requestedAt": millis}))) == "UNREADABLE"

    @pytest.mark.parametrize("millis", [-62_135_596_800_000, 0, 253_402_300_799_999])
    def test_the_first_and_the_last_millisecond_of_those_years_are_read(self, millis: int) -> None:
        request = REQUEST | {"requestedAt": millis}

        assert request == decoder().decode(RequestEncoder().encode(request))


class TestRequestsThatAreForTheValidation:
    @pytest.mark.parametrize("change", [{"products": []}, {"clientSpecificationId": "no uuid"}, {"requestedBy": ""}])
    def test_what_is_wrong_but_readable_is_read(self, change: dict[str, Any]) -> None:
        assert REQUEST | change == decoder().decode(RequestEncoder().encode(REQUEST | change))


class TestEvolution:
    """Older and newer compatible writer schemas are resolved to ours."""

    def written_with(self, schema: str, request: dict[str, Any]) -> object:
        requests_decoder = decoder()
        requests_decoder.learn(ID_7, schema)
        return requests_decoder.decode(ID_7.wire + spec_written(schema, request))

    @pytest.mark.parametrize(
        ("kind", "value"),
        [
            ("null", None),
            ("boolean", True),
            ("int", -7),
            ("long", 2**40),
            ("float", 1.5),
            ("double", 2.5),
            ("bytes", b"\xff\xfe"),
            ("string", "x" * 100),
            (["null", "string"], "given"),
            ({"type": "array", "items": "double"}, [1.0] * 70),
            ({"type": "map", "values": {"type": "array", "items": "string"}}, {"a": ["b", "c"], "d": []}),
            ({"type": "enum", "name": "Priority", "symbols": ["LOW", "HIGH"]}, "HIGH"),
            ({"type": "fixed", "name": "Md5", "size": 16}, bytes(16)),
            ({"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}, b"\x01\x02"),
            ({"type": "record", "name": "Place", "fields": [{"name": "x", "type": "double"}]}, {"x": 0.5}),
        ],
        ids=str,
    )
    @pytest.mark.parametrize("position", [0, 3, 6])
    def test_a_field_that_only_the_writer_knows_is_passed_over(
        self, kind: object, value: object, position: int
    ) -> None:
        newer = fields()
        newer.insert(position, {"name": "added", "type": kind})
        schema = evolved(fields=newer)

        assert REQUEST == self.written_with(schema, REQUEST | {"added": value})

    def test_a_truncated_field_that_only_the_writer_knows_is_noticed(self) -> None:
        schema = evolved(fields=fields({"name": "added", "type": "string"}))
        body = spec_written(schema, REQUEST | {"added": "xyz"})
        requests_decoder = decoder()
        requests_decoder.learn(ID_7, schema)

        assert {"UNREADABLE"} == {reason(requests_decoder.decode(ID_7.wire + body[:n])) for n in range(len(body))}

    def test_a_field_that_the_writer_did_not_know_has_its_default(self) -> None:
        older = [field for field in fields() if field["name"] not in ("reason", "clientSpecificationId")]

        assert REQUEST | {"clientSpecificationId": None} == self.written_with(evolved(fields=older), REQUEST)

    def test_fields_in_another_order(self) -> None:
        assert REQUEST == self.written_with(evolved(fields=fields()[::-1]), REQUEST)

    def test_a_namespace_of_the_producers_own(self) -> None:
        assert REQUEST == self.written_with(evolved(namespace="com.example"), REQUEST)

    @pytest.mark.parametrize(
        ("name", "kind"),
        [
            ("reason", ["string", "null"]),
            ("reason", ["null", "string", "long"]),
            ("reason", "null"),
            ("clientSpecificationId", "string"),
            ("requestedAt", "long"),
            ("requestedAt", ["null", {"type": "long", "logicalType": "timestamp-micros"}]),
            ("requestedBy", "bytes"),
        ],
        ids=str,
    )
    def test_a_type_that_can_be_read_as_ours(self, name: str, kind: object) -> None:
        other = [{"name": name, "type": kind} if field["name"] == name else field for field in fields()]
        value = REQUEST[name].encode() if kind == "bytes" else REQUEST[name]

        assert REQUEST == self.written_with(evolved(fields=other), REQUEST | {name: value})

    def test_an_int_is_promoted_to_our_long(self) -> None:
        other = [field | ({"type": "int"} if field["name"] == "requestedAt" else {}) for field in fields()]

        assert REQUEST | {"requestedAt": 7} == self.written_with(evolved(fields=other), REQUEST | {"requestedAt": 7})

    def test_a_union_branch_that_ours_does_not_have_is_unreadable_only_where_it_is_met(self) -> None:
        other = [
            field | ({"type": ["null", "string", "long"]} if field["name"] == "reason" else {}) for field in fields()
        ]

        assert REQUEST | {"reason": "x"} == self.written_with(evolved(fields=other), REQUEST | {"reason": "x"})
        assert reason(self.written_with(evolved(fields=other), REQUEST | {"reason": 7})) == "UNREADABLE"

    def test_an_older_reader_sees_a_newer_status_as_unknown(self) -> None:
        newer = json.loads(results()[-1].text)
        newer["fields"][1]["type"]["symbols"].insert(0, "POSTPONED")
        schema = json.dumps(newer)
        results_decoder = ResultDecoder(registry=True)
        results_decoder.learn(ID_7, schema)

        for status, seen in [("POSTPONED", "UNKNOWN"), ("FAILED", "FAILED")]:
            value = ID_7.wire + spec_written(schema, RESULT | {"status": status})
            assert RESULT | {"status": seen} == results_decoder.decode(value)

    def test_a_result_of_an_older_writer_has_our_defaults(self) -> None:
        older = json.loads(results()[-1].text)
        older["fields"] = [f for f in older["fields"] if f["name"] not in ("error", "unsynchronizedProducts")]
        results_decoder = ResultDecoder(registry=True)
        results_decoder.learn(ID_7, json.dumps(older))

        read = results_decoder.decode(ID_7.wire + spec_written(json.dumps(older), RESULT))

        assert RESULT | {"error": None, "unsynchronizedProducts": []} == read


def spec_written(schema: str, record: dict[str, Any]) -> bytes:
    """The body that a producer with that schema writes."""
    body = BytesIO()
    known = {field["name"] for field in json.loads(schema)["fields"]}
    plain = json.loads(schema, object_hook=lambda node: {k: v for k, v in node.items() if k != "logicalType"})
    schemaless_writer(body, parse_schema(plain), {k: v for k, v in record.items() if k in known})
    return body.getvalue()


class TestEncoding:
    @given(REQUESTS)
    def test_a_request_comes_back_as_it_was(self, request: dict[str, Any]) -> None:
        assert request == DECODER.decode(RequestEncoder().encode(request))

    @given(RESULTS)
    def test_a_result_comes_back_as_it_was(self, result: dict[str, Any]) -> None:
        assert result == RESULT_DECODER.decode(ResultEncoder().encode(result))

    @given(
        result=RESULTS,
        individual=st.lists(st.tuples(REQUEST_IDS, st.integers(0, 2**31 - 1), LONGS), max_size=4),
        schema_id=st.none() | st.integers(0, 2**32 - 1),
    )
    def test_spliced_results_are_what_the_encoder_would_have_written(
        self, result: dict[str, Any], individual: list[tuple[str, int, int]], schema_id: int | None
    ) -> None:
        encoder = ResultEncoder(schema_id)
        shared = encoder.share(
            status=result["status"],
            client_specification_id=result["clientSpecificationId"],
            tracking_ids=result["trackingIds"],
            completed_at=result["completedAt"],
        )
        for request_id, synchronized_products, requested_at in individual:
            single = result | {
                "requestId": request_id,
                "synchronizedProducts": synchronized_products,
                "unsynchronizedProducts": [],
                "error": None,
                "requestedAt": requested_at,
            }
            spliced = shared.encode(request_id.encode(), synchronized_products, requested_at)
            assert encoder.encode(single) == spliced

    @given(LONGS)
    def test_numbers_come_back_as_they_were(self, number: int) -> None:
        encoded = write_long(number)

        assert (number, len(encoded)) == read_long(encoded, 0)

    @given(LONGS)
    @example(0)
    @example(-1)
    @example(63)
    @example(64)
    @example(-64)
    @example(-65)
    @example(2**63 - 1)
    @example(-(2**63))
    def test_numbers_are_written_in_the_shortest_form_of_the_specification(self, number: int) -> None:
        zigzag = 2 * number if number >= 0 else -2 * number - 1
        *groups, last = (zigzag >> shift & 0x7F for shift in range(0, max(1, zigzag.bit_length()), 7))

        expected = bytes([*(group | 0x80 for group in groups), last])
        assert [expected, expected] == [write_long(number), write_long(number)]

    @pytest.mark.parametrize("number", [2**63, -(2**63) - 1])
    def test_a_number_of_more_than_64_bits_is_refused(self, number: int) -> None:
        with pytest.raises(OverflowError):
            write_long(number)


class TestOtherTeams:
    """The same bytes through an Avro implementation that shares no code with ours."""

    @given(REQUESTS)
    def test_a_request_is_read_in_single_object_encoding(self, request: dict[str, Any]) -> None:
        value = RequestEncoder().encode(request)

        assert request == spec_avro.read_single_object(value, REQUESTED)

    @given(RESULTS)
    def test_a_result_is_read_in_both_framings(self, result: dict[str, Any]) -> None:
        schema = results()[-1].text

        assert result == spec_avro.read_single_object(ResultEncoder().encode(result), schema)
        assert result == spec_avro.read_confluent(ResultEncoder(258).encode(result), {258: schema}.__getitem__)

    def test_a_request_written_in_blocks_with_sizes_is_read(self) -> None:
        """Java's blocking encoder writes arrays as negative counts with their sizes."""
        value = RequestEncoder().encode(REQUEST)
        products = b"".join(string(product[name]) for product in REQUEST["products"] for name in product)
        blocks = write_long(-2) + write_long(len(products)) + products + b"\x00"

        assert REQUEST == decoder().decode(value.replace(write_long(2) + products + b"\x00", blocks))

    def test_numbers_written_longer_than_they_need_be_are_read(self) -> None:
        """Some encoders reserve room for a length and fill it in later."""
        value = RequestEncoder().encode(REQUEST | {"products": []})
        at = value.index(b"\x00", value.index(REQUEST["clientSpecificationId"].encode()))

        assert REQUEST | {"products": []} == decoder().decode(value[:at] + b"\x80\x80\x00" + value[at + 1 :])


def string(text: str) -> bytes:
    return write_long(len(text.encode())) + text.encode()


class TestFingerprint:
    @pytest.mark.parametrize(
        ("schema", "fingerprint"),
        [
            ('"null"', 7195948357588979594),
            ('"int"', 8247732601305521295),
            ('"string"', -8142146995180207161),
            ('[ "int" , {"type":"boolean"} ]', 5392556393470105090),
            ('{"fields":[], "type":"record", "name":"foo", "namespace":"x.y"}', 5916914534497305771),
            ('{"type":"enum", "name":"foo", "symbols":["A1"]}', -6342190197741309591),
            ('{"type":"fixed", "name":"foo", "size":15}', 1756455273707447556),
            ('{"items":{"type":"null"}, "type":"array"}', -589620603366471059),
            ('{"values":"string", "type":"map"}', -8732877298790414990),
        ],
    )
    def test_fingerprints_are_those_of_the_avro_project(self, schema: str, fingerprint: int) -> None:
        """Values of `share/test/data/schema-tests.txt` in the Avro repository."""
        assert struct.pack("<q", fingerprint) == crc64_avro(schema)


DECODER = decoder()
RESULT_DECODER = ResultDecoder(registry=False)
