"""Records as they come: framings, dead letters, and the headers of what goes out. Without a registry."""

import datetime as dt
import hashlib
import json
import re
from collections.abc import Callable

import pytest

from tests.integration.contract import wire
from tests.integration.contract.deployment import Deployment, operator
from tests.integration.contract.wire import Event, pairs, request
from tests.support.raw_producer import produce_raw
from tests.support.records import RawRecord, ReadRecord
from tests.support.service import Service
from tests.unit.schemas.avro.spec_avro import read_single_object

UNREADABLE, UNKNOWN_SCHEMA = "UNREADABLE", "UNKNOWN_SCHEMA"
EARLIEST, LATEST = -62_135_596_800_000, 253_402_300_799_999
EXTENDED: Event = {
    **wire.REQUEST,
    "fields": [*wire.REQUEST["fields"], {"name": "extra", "type": "string", "default": ""}],
}
GOOD = wire.single_object(request())
PLAIN = wire.body(request())

NO_REQUESTS: dict[str, tuple[str, bytes | None]] = {
    "null": (UNREADABLE, None),
    "empty": (UNREADABLE, b""),
    "text": (UNREADABLE, b"hello"),
    "JSON": (UNREADABLE, b'{"requestId": "x"}'),
    "half a prefix": (UNREADABLE, GOOD[:5]),
    "half a registry prefix": (UNREADABLE, b"\x00\x00\x00"),
    "truncated": (UNREADABLE, GOOD[:-1]),
    "trailing bytes": (UNREADABLE, GOOD + b"\x00"),
    "no UTF-8": (UNREADABLE, GOOD.replace(b"MKL-0", b"MK\xff-0")),
    "an endless array": (UNREADABLE, GOOD[:10] + b"\x02x\x00" + b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
    "no id": (UNREADABLE, wire.single_object(request(requestId=""))),
    "a blank id": (UNREADABLE, wire.single_object(request(requestId=" \t"))),
    "an id too long": (UNREADABLE, wire.single_object(request(requestId="x" * 256))),
    "before the year 1": (UNREADABLE, wire.single_object(request(requestedAt=EARLIEST - 1))),
    "after the year 9999": (UNREADABLE, wire.single_object(request(requestedAt=LATEST + 1))),
    "an unknown fingerprint": (UNKNOWN_SCHEMA, b"\xc3\x01" + b"12345678" + PLAIN),
    "another record's fingerprint": (UNREADABLE, b"\xc3\x01" + wire.fingerprint(wire.RESULT) + PLAIN),
    "a schema that is not released": (UNKNOWN_SCHEMA, wire.single_object({**request(), "extra": "x"}, EXTENDED)),
    "a registry's id, and no registry": (UNKNOWN_SCHEMA, b"\x00\x00\x00\x00\x01" + PLAIN),
}


@pytest.fixture(scope="module", autouse=True)
def specification(deployment: Deployment, service: Service) -> str:  # noqa: ARG001 - it answers
    """The only client specification, active."""
    return deployment.specification("only")


def dead_letter(deployment: Deployment, sent: RawRecord, reason: str, compression: str = "none") -> ReadRecord:
    """The dead letter of a record, with the headers that every one has."""
    [(partition, offset)] = deployment.send(sent, compression=compression)
    letter = deployment.dead_letter((partition, offset))
    assert (reason, deployment.topics.requests, str(partition), str(offset), deployment.topics.group) == tuple(
        letter.header(f"dlq.{name}") for name in ("reason", "topic", "partition", "offset", "group")
    )
    assert re.fullmatch(r"mirakl-resync \S+", letter.header("dlq.service") or "")
    assert abs(int(letter.header("dlq.timestamp") or 0) - letter.timestamp) < 30_000
    assert letter.header("dlq.message")
    assert sent.key == letter.key
    return letter


@pytest.mark.parametrize("case", NO_REQUESTS)
def test_what_is_no_request_becomes_a_dead_letter_as_it_was(deployment: Deployment, key: str, case: str) -> None:
    reason, value = NO_REQUESTS[case]
    letter = dead_letter(deployment, RawRecord(value, b"\xffkey", operator(key)), reason)

    assert value == letter.value
    assert ("default", "0") == (letter.header("dlq.tenant"), letter.header("dlq.redrive-count"))
    assert letter.header("dlq.value-omitted") is None


@pytest.mark.parametrize(
    ("reason", "header"),
    [
        (UNKNOWN_SCHEMA, b"\x00\x00\x00\x00\x01"),
        (UNKNOWN_SCHEMA, b"\x01" + b"g" * 16),
        (UNREADABLE, b"\x00\x00\x00\x01"),
        (UNREADABLE, b"\x01" + b"g" * 15),
    ],
)
@pytest.mark.parametrize("name", ["__value_schema_id", "__VALUE_Schema_Id"])
def test_the_header_names_the_schema_before_the_first_byte_does(
    deployment: Deployment, key: str, reason: str, header: bytes, name: str
) -> None:
    dead_letter(deployment, RawRecord(GOOD, None, (*operator(key), (name, header))), reason)


def test_a_dead_letter_keeps_all_headers_but_keys_and_former_letters(deployment: Deployment, key: str) -> None:
    kept = (("x", None), ("x", b""), ("X", b"\xff"), ("correlation-id", b"1"), ("traceparent", b"no trace"))
    dropped = (("Dj-Api-Key", key.encode()), ("dj-api-key", b"second"), ("dlq.reason", b"OLD"), ("dlq.tenant", b"x"))
    sent = RawRecord(b"bad", None, (*kept, *dropped, ("dlq.redrive-count", b"3")))
    letter = dead_letter(deployment, sent, UNREADABLE)

    assert list(kept) == [header for header in letter.headers if not header[0].startswith("dlq.")]
    assert ("3", None) == (letter.header("dlq.redrive-count"), letter.header("dlq.tenant"))
    assert len({name for name, _ in letter.headers if name.startswith("dlq.")}) == len(
        [name for name, _ in letter.headers if name.startswith("dlq.")]
    )


def test_as_many_and_as_large_headers_as_allowed_are_read(deployment: Deployment, key: str) -> None:
    many = tuple((f"h{number}", b"") for number in range(62))
    used = sum(len(name) + len(value or b"") for name, value in operator(key))
    large = (("h", b"x" * (32 * 1024 - used - 1)),)
    for headers in (many, large):
        [coordinates] = deployment.send(RawRecord(GOOD, None, (*operator(key), *headers)))
        assert "SYNCHRONIZED" == deployment.result(coordinates)["status"]


@pytest.mark.parametrize(
    "headers",
    [
        tuple((f"h{number}", b"") for number in range(63)),
        (("h", b"x" * 32 * 1024),),
        tuple(("é" * 200, b"x" * 200) for _ in range(60)),
    ],
    ids=["65", "large", "large in bytes"],
)
def test_headers_beyond_the_bounds_make_a_dead_letter(
    deployment: Deployment, key: str, headers: tuple[tuple[str, bytes | None], ...]
) -> None:
    letter = dead_letter(deployment, RawRecord(GOOD, None, (*operator(key), *headers)), UNREADABLE)

    assert [("dj-client", b"OPERATOR"), *headers] == [
        header for header in letter.headers if not header[0].startswith("dlq.")
    ]


def test_a_header_name_that_is_no_text_makes_a_dead_letter_without_headers(deployment: Deployment, key: str) -> None:
    headers = [(b"\xff\xfename", b"v"), (b"dj-api-key", key.encode())]
    coordinates = produce_raw(deployment.bootstrap, deployment.topics.requests, GOOD, headers)
    letter = deployment.dead_letter(coordinates)

    assert (UNREADABLE, GOOD) == (letter.header("dlq.reason"), letter.value)
    assert letter.header("dlq.headers-omitted")
    assert {True} == {name.startswith("dlq.") for name, _ in letter.headers}


def test_a_value_beyond_the_bound_is_kept_where_it_fits(deployment: Deployment, key: str) -> None:
    value = GOOD + b"\x00" * (1024 * 1024 + 1 - len(GOOD))
    letter = dead_letter(deployment, RawRecord(value, b"k", operator(key)), UNREADABLE, "gzip")

    assert value == letter.value


def test_a_value_that_does_not_fit_is_described(deployment: Deployment, key: str) -> None:
    """Compressed it was small enough for the topic."""
    value = b"x" * 30_000_000
    letter = dead_letter(deployment, RawRecord(value, b"k", operator(key)), UNREADABLE, "gzip")

    assert letter.value is None
    assert letter.header("dlq.value-omitted")
    assert (str(len(value)), hashlib.sha256(value).hexdigest()) == (
        letter.header("dlq.value-bytes"),
        letter.header("dlq.value-sha256"),
    )


def test_a_value_of_exactly_the_bound_is_read(deployment: Deployment, key: str) -> None:
    short = request(reason="")
    reason = "x" * (1024 * 1024 - len(wire.single_object(short)) - 2)
    value = wire.single_object({**short, "reason": reason})
    assert 1024 * 1024 == len(value)
    [coordinates] = deployment.send(RawRecord(value, None, operator(key)), compression="gzip")

    assert "SYNCHRONIZED" == deployment.result(coordinates)["status"]


@pytest.mark.parametrize(
    "changes", [{"requestId": "\U0001f600" * 255}, {"requestedAt": EARLIEST}, {"requestedAt": LATEST}, {"reason": ""}]
)
def test_the_result_repeats_what_the_request_said(deployment: Deployment, key: str, changes: Event) -> None:
    event = request(**changes)
    [coordinates] = deployment.send(RawRecord(wire.single_object(event), None, operator(key)))
    result = deployment.result(coordinates)

    assert event["requestId"].encode() == deployment.result_record(coordinates).key
    assert (event["requestId"], event["requestedAt"]) == (result["requestId"], result["requestedAt"])


@pytest.mark.parametrize("products", [pairs(2), []], ids=["synchronized", "failed"])
def test_a_result_is_read_by_another_avro_than_ours(deployment: Deployment, key: str, products: list[Event]) -> None:
    [coordinates] = deployment.send(RawRecord(wire.single_object(request(products)), None, operator(key)))

    value = deployment.result_record(coordinates).value
    assert deployment.result(coordinates) == read_single_object(value or b"", json.dumps(wire.RESULT))


def test_every_result_says_what_it_is_and_what_it_answers(deployment: Deployment, key: str) -> None:
    event = request()
    [(partition, offset)] = deployment.send(RawRecord(wire.single_object(event), b"k", operator(key), 2))
    found = deployment.result_record((partition, offset))
    completed = deployment.result((partition, offset))["completedAt"]
    headers = dict(found.headers)

    assert len(found.headers) == len(headers)
    assert headers.pop("ce_id")
    time = dt.datetime.fromisoformat((headers.pop("ce_time") or b"").decode())
    assert completed == round(time.timestamp() * 1000)
    assert time.tzinfo is not None
    assert {
        "ce_specversion": b"1.0",
        "ce_type": b"mirakl.resync.v1.ProductResyncResult",
        "ce_source": f"urn:mirakl-resync:{deployment.topics.group}".encode(),
        "ce_subject": event["requestId"].encode(),
        "content-type": b"application/avro",
        "resync-tenant": b"default",
        "resync-request-topic": deployment.topics.requests.encode(),
        "resync-request-partition": b"2",
        "resync-request-offset": str(offset).encode(),
    } == headers


def test_each_request_has_a_result_with_an_id_of_its_own(deployment: Deployment, key: str) -> None:
    coordinates = deployment.send(*[RawRecord(GOOD, None, operator(key))] * 8)

    assert 8 == len({deployment.result_record(each).header("ce_id") for each in coordinates})


@pytest.fixture
def headers_of(deployment: Deployment, key: str) -> Callable[..., tuple[tuple[str, bytes | None], ...]]:
    """Headers of the result of a request with these headers."""

    def send(*headers: tuple[str, bytes | None]) -> tuple[tuple[str, bytes | None], ...]:
        [coordinates] = deployment.send(RawRecord(GOOD, None, (*operator(key), *headers)))
        return deployment.result_record(coordinates).headers

    return send


@pytest.mark.parametrize("value", [b"", b"\xff\x00x", b"x" * 10_000, None], ids=["empty", "bytes", "long", "null"])
@pytest.mark.parametrize("name", ["correlation-id", "kafka_correlationId"])
def test_a_correlation_header_is_repeated_byte_for_byte(
    headers_of: Callable[..., tuple[tuple[str, bytes | None], ...]], name: str, value: bytes | None
) -> None:
    assert (name, value) in headers_of((name, b"overruled"), (name, value))
    assert (name, b"overruled") not in headers_of((name, b"overruled"), (name, value))


def test_no_other_header_of_the_request_is_repeated(
    headers_of: Callable[..., tuple[tuple[str, bytes | None], ...]],
) -> None:
    names = {name.lower() for name, _ in headers_of(("x-own", b"1"), ("authorization", b"s3cret"))}

    assert names.isdisjoint({"x-own", "authorization", "dj-api-key", "dj-client"})


@pytest.mark.parametrize("name", ["traceparent", "TraceParent"])
def test_a_trace_is_continued_in_a_span_of_our_own(
    headers_of: Callable[..., tuple[tuple[str, bytes | None], ...]], name: str
) -> None:
    trace, span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    headers = dict(headers_of((name, f"00-{trace}-{span}-01".encode()), ("tracestate", b"a=1,b=2")))
    continued = re.fullmatch(rf"00-{trace}-([0-9a-f]{{16}})-01", (headers["traceparent"] or b"").decode())

    assert continued
    assert continued[1] not in (span, "0" * 16)
    assert b"a=1,b=2" == headers["tracestate"]


@pytest.mark.parametrize("value", [None, b"", b"no trace", b"00-" + b"0" * 32 + b"-b7ad6b7169203331-01", b"\xff" * 55])
def test_what_is_no_trace_is_not_continued(
    headers_of: Callable[..., tuple[tuple[str, bytes | None], ...]], value: bytes | None
) -> None:
    assert "traceparent" not in dict(headers_of(("traceparent", value)))


def test_without_a_known_key_no_tenant_is_named(deployment: Deployment) -> None:
    [coordinates] = deployment.send(RawRecord(GOOD, None, operator("wrong")))
    assert "resync-tenant" not in dict(deployment.result_record(coordinates).headers)

    letter = dead_letter(deployment, RawRecord(b"bad", None, operator("wrong")), UNREADABLE)
    assert letter.header("dlq.tenant") is None
