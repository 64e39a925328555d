"""What subscribers read: results and dead letters, header by header as the contract lists them."""

import hashlib
import re
from typing import Any, NamedTuple

import pytest

from consumer import __version__
from consumer.adapters.kafka.publications import Publications, Topics
from consumer.domain.outcome import DeadLettered, Failed, FieldError, Partial, ResyncError, Synchronized, Verdict
from consumer.domain.progress import Progress
from consumer.engine.request_headers import read_headers
from consumer.engine.requests import Assignment, Request
from schemas.avro.codec import ResultDecoder, ResultEncoder
from schemas.contract import DeadLetterReason, ErrorCode
from tests.support.builders import fetched_record

TRACE = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
SHOP = "0f8fad5b-d9cb-469f-a165-70867728950e"
COMPLETED = 1_700_000_123_456
MOST = 100_000
Headers = list[tuple[str, bytes | None]]


class Published(NamedTuple):
    """A publication with names."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, str | bytes | None]]


def publications(encoder: ResultEncoder | None = None) -> Publications:
    return Publications(Topics("requests", "results", "dead"), "the-group", encoder or ResultEncoder(), MOST)


def request(  # noqa: PLR0913 - what a record can carry
    verdict: Verdict,
    headers: Headers | None = None,
    *,
    key: bytes | None = b"key",
    value: bytes | None = b"value",
    offset: int = 42,
    partition: int = 3,
    no_headers: bool = False,
    tenant: str | None = "acme",
    request_id: str = "request-1",
) -> Request:
    """A decided request that named two products."""
    record = fetched_record(partition, offset, 1_699_999_999_000, key, value, None if no_headers else headers or [])
    made = Request(record, Assignment(partition, 1, Progress(0)), read_headers(record.headers), 0.0, 300.0)
    made.request_id, made.requested_at, made.tenant = request_id, 1_699_999_998_000, tenant
    made.products, made.verdict = {"a": "1", "b": "2"}, verdict
    return made


def published(made: Request, by: Publications | None = None) -> Published:
    (publication,) = (by or publications()).publications([made])
    return Published(*publication)


def reduction(made: Request, *, smallest: bool) -> Published:
    return Published(*publications().reduced(made, smallest=smallest))


def decoded(publication: Published) -> dict[str, Any]:
    record = ResultDecoder(registry=False).decode(publication.value)
    assert isinstance(record, dict)
    return record


def synchronized() -> Synchronized:
    return Synchronized(SHOP, ("t-1",), COMPLETED)


def only(publication: Published) -> dict[str, str | bytes | None]:
    """The headers, each of which stands once."""
    headers = dict(publication.headers)
    assert len(headers) == len(publication.headers)
    return headers


UNREADABLE = DeadLettered(DeadLetterReason.UNREADABLE, "not a request")


# -- results -------------------------------------------------------------------------------------------


def test_a_result_carries_exactly_the_headers_of_the_contract() -> None:
    publication = published(request(synchronized()))

    assert ("results", b"request-1") == (publication.topic, publication.key)
    headers = only(publication)
    assert headers.pop("ce_id")
    assert {
        "ce_specversion": b"1.0",
        "ce_type": b"mirakl.resync.v1.ProductResyncResult",
        "ce_source": b"urn:mirakl-resync:the-group",
        "ce_subject": b"request-1",
        "ce_time": b"2023-11-14T22:15:23.456Z",
        "content-type": b"application/avro",
        "resync-tenant": b"acme",
        "resync-request-topic": b"requests",
        "resync-request-partition": b"3",
        "resync-request-offset": b"42",
    } == headers


def test_the_tenant_is_left_out_where_it_is_not_known() -> None:
    failed = Failed(None, ResyncError(ErrorCode.API_KEY_INVALID, "no"), COMPLETED)

    assert "resync-tenant" not in only(published(request(failed, tenant=None)))


def test_the_same_record_always_gets_the_same_id_and_another_record_another_one() -> None:
    def event_id(made: Request) -> object:
        return only(published(made))["ce_id"]

    first = event_id(request(synchronized()))
    later = Synchronized(SHOP, ("another call",), COMPLETED + 5000)
    assert first == event_id(request(later))
    assert first != event_id(request(synchronized(), offset=43))
    assert first != event_id(request(synchronized(), partition=4))


def test_a_trace_goes_on_with_a_span_of_its_own_that_repeats_with_the_record() -> None:
    def trace(**coordinates: int) -> bytes:
        headers = only(published(request(synchronized(), [("traceparent", TRACE)], **coordinates)))  # type: ignore[arg-type]
        traceparent = headers["traceparent"]
        assert isinstance(traceparent, bytes)
        return traceparent

    ours = trace()
    assert re.fullmatch(rb"00-4bf92f3577b34da6a3ce929d0e0e4736-[0-9a-f]{16}-01", ours)
    assert TRACE != ours
    assert b"0" * 16 not in ours[36:52]
    assert ours == trace()
    assert 6 == len({trace(partition=partition, offset=offset) for partition in range(3) for offset in range(2)})


def test_tracestate_travels_with_its_trace_and_not_without() -> None:
    both = only(published(request(synchronized(), [("traceparent", TRACE), ("tracestate", b"a=1")])))
    assert b"a=1" == both["tracestate"]
    for traceparent in ([], [("traceparent", b"nonsense")]):
        headers = only(published(request(synchronized(), [*traceparent, ("tracestate", b"a=1")])))
        assert not {"traceparent", "tracestate"} & set(headers)


def test_correlation_headers_are_repeated_byte_for_byte() -> None:
    given: Headers = [("correlation-id", b"\x00\xff"), ("kafka_correlationId", b"42"), ("X-Other", b"no")]
    headers = only(published(request(synchronized(), given)))

    assert b"\x00\xff" == headers["correlation-id"]
    assert b"42" == headers["kafka_correlationId"]
    assert "X-Other" not in headers


@pytest.mark.parametrize(
    "verdict",
    [synchronized(), Failed(None, ResyncError(ErrorCode.API_KEY_INVALID, "no"), COMPLETED), UNREADABLE],
    ids=["synchronized", "failed", "dead"],
)
@pytest.mark.parametrize("name", ["dj-api-key", "DJ-API-KEY", "Dj-Api-Key"])
def test_no_key_ever_comes_out(verdict: Verdict, name: str) -> None:
    made = request(verdict, [(name, b"hush-hush"), ("dj-client", b"OPERATOR"), (name, b"hush-again")])
    for publication in (published(made), reduction(made, smallest=False)):
        assert b"hush" not in repr(publication).encode()
        assert not any(header.lower() == "dj-api-key" for header, _ in publication.headers)


def test_what_was_synchronized_says_so_and_repeats_the_request() -> None:
    assert {
        "requestId": "request-1",
        "status": "SYNCHRONIZED",
        "synchronizedProducts": 2,
        "clientSpecificationId": SHOP,
        "trackingIds": ["t-1"],
        "unsynchronizedProducts": [],
        "error": None,
        "requestedAt": 1_699_999_998_000,
        "completedAt": COMPLETED,
    } == decoded(published(request(synchronized())))


def test_results_that_share_a_call_are_each_their_own() -> None:
    """One verdict, then another, then the first again: what is shared is never somebody else's."""
    first, second = synchronized(), Synchronized(SHOP, ("t-2",), COMPLETED + 60_000)
    made = [request(verdict, request_id=f"r{n}") for n, verdict in enumerate([first, second, first, first])]
    made[3].products = {"only": "1"}
    records = [decoded(Published(*publication)) for publication in publications().publications(made)]

    assert ["r0", "r1", "r2", "r3"] == [record["requestId"] for record in records]
    assert [["t-1"], ["t-2"], ["t-1"], ["t-1"]] == [record["trackingIds"] for record in records]
    assert [2, 2, 2, 1] == [record["synchronizedProducts"] for record in records]
    times = [dict(headers)["ce_time"] for _, _, _, headers in publications().publications(made)]
    assert [b"2023-11-14T22:15:23.456Z", b"2023-11-14T22:16:23.456Z"] == times[:2]
    assert times[0] == times[2]


def test_a_failure_names_its_error() -> None:
    problem = ResyncError(ErrorCode.VALIDATION_FAILED, "wrong", field_errors=(FieldError("products", "none"),))
    record = decoded(published(request(Failed(SHOP, problem, COMPLETED))))

    assert ("FAILED", 0, SHOP, []) == tuple(
        record[name] for name in ("status", "synchronizedProducts", "clientSpecificationId", "trackingIds")
    )
    assert {
        "httpStatus": 400,
        "code": "VALIDATION_FAILED",
        "message": "wrong",
        "retryable": False,
        "availableClientSpecificationIds": [],
        "fieldErrors": [{"field": "products", "message": "none"}],
    } == record["error"]


def test_a_partial_result_lists_what_is_to_be_asked_for_again() -> None:
    problem = ResyncError(ErrorCode.CM21_REFUSED, "no")
    record = decoded(published(request(Partial(SHOP, ("t-1",), 1, {"b": "2"}, problem, COMPLETED))))

    assert "PARTIALLY_SYNCHRONIZED" == record["status"]
    assert 1 == record["synchronizedProducts"]
    assert ["t-1"] == record["trackingIds"]
    assert [{"miraklProductId": "b", "productSku": "2"}] == record["unsynchronizedProducts"]
    assert "CM21_REFUSED" == record["error"]["code"]


def test_with_a_registrys_id_results_are_framed_by_it() -> None:
    value = published(request(synchronized()), publications(ResultEncoder(schema_id=7))).value

    assert value is not None
    assert b"\x00\x00\x00\x00\x07" == value[:5]


def test_a_reduced_result_keeps_everything_but_the_tail_of_its_tracking_ids() -> None:
    verdict = Synchronized(SHOP, tuple(f"t-{n}" for n in range(5000)), COMPLETED)
    made = request(verdict)
    whole, reduced = published(made), reduction(made, smallest=False)

    assert len(reduced.value or b"") < len(whole.value or b"") / 10
    expected = decoded(whole)
    expected["trackingIds"] = expected["trackingIds"][:100]
    assert expected == decoded(reduced)
    assert (whole.topic, whole.key, sorted(whole.headers)) == (reduced.topic, reduced.key, sorted(reduced.headers))


def test_the_smallest_result_still_says_what_happened() -> None:
    products = {f"id-{n}": "s" * 255 for n in range(1000)}
    problem = ResyncError(ErrorCode.CM21_UNAVAILABLE, "Not all.")
    verdict = Partial(SHOP, tuple(f"t-{n}" * 200 for n in range(9)), 3, products, problem, COMPLETED)
    made = request(verdict, [("correlation-id", b"x" * 8000), ("kafka_correlationId", b"1")])

    smallest = reduction(made, smallest=True)

    assert 4096 > sum(len(name) + len(value or b"") for name, value in smallest.headers) + len(smallest.value or b"")
    said, whole = decoded(smallest), decoded(published(made))
    for name in ("requestId", "status", "synchronizedProducts", "clientSpecificationId", "requestedAt", "completedAt"):
        assert said[name] == whole[name]
    assert (whole["error"]["code"], []) == (said["error"]["code"], said["unsynchronizedProducts"])
    assert "ask for all of them again" in said["error"]["message"]
    assert b"1" == dict(smallest.headers)["kafka_correlationId"]


# -- dead letters --------------------------------------------------------------------------------------


def test_a_dead_letter_keeps_key_value_and_all_headers_and_says_where_it_comes_from() -> None:
    given: Headers = [("a", b"1"), ("A", b"\xff"), ("a", None), ("dj-client", b"OPERATOR"), ("dj-api-key", b"hush")]
    publication = published(request(UNREADABLE, given))

    assert ("dead", b"key", b"value") == publication[:3]
    assert given[:4] == publication.headers[:4]
    assert {
        "dlq.reason": b"UNREADABLE",
        "dlq.message": b"not a request",
        "dlq.topic": b"requests",
        "dlq.partition": b"3",
        "dlq.offset": b"42",
        "dlq.timestamp": b"1699999999000",
        "dlq.group": b"the-group",
        "dlq.service": f"mirakl-resync {__version__}".encode(),
        "dlq.tenant": b"acme",
        "dlq.redrive-count": b"0",
    } == dict(publication.headers[4:])


def test_a_dead_letter_of_nobody_known_names_no_tenant() -> None:
    assert "dlq.tenant" not in dict(published(request(UNREADABLE, tenant=None)).headers)


@pytest.mark.parametrize(("key", "value"), [(None, None), (b"", b""), (None, b"v")])
def test_null_and_empty_keys_and_values_stay_what_they_are(key: bytes | None, value: bytes | None) -> None:
    publication = published(request(UNREADABLE, key=key, value=value))

    assert (key, value) == (publication.key, publication.value)
    assert "dlq.value-omitted" not in dict(publication.headers)


def test_headers_of_an_earlier_life_are_replaced_and_others_with_their_prefix_left_out() -> None:
    given: Headers = [("DLQ.reason", b"OLD"), ("dlq.redrive-count", b"2"), ("dlq.of-another-system", b"x")]
    headers = published(request(UNREADABLE, given)).headers

    assert [b"UNREADABLE"] == [value for name, value in headers if name.lower() == "dlq.reason"]
    assert b"2" == dict(headers)["dlq.redrive-count"]
    assert "dlq.of-another-system" not in dict(headers)


@pytest.mark.parametrize("count", [b"-1", b"many", b"", b"9" * 30, "\u0662".encode(), b"1 "])
def test_a_redrive_count_that_is_none_counts_as_none(count: bytes) -> None:
    assert b"0" == dict(published(request(UNREADABLE, [("dlq.redrive-count", count)])).headers)["dlq.redrive-count"]


def test_a_value_that_does_not_fit_is_left_out_and_described() -> None:
    value = b"x" * (MOST + 1)
    publication = published(request(UNREADABLE, [("a", b"1")], value=value))
    headers = dict(publication.headers)

    assert publication.value is None
    assert b"key" == publication.key
    assert b"1" == headers["a"]
    assert b"true" == headers["dlq.value-omitted"]
    assert str(len(value)).encode() == headers["dlq.value-bytes"]
    assert hashlib.sha256(value).hexdigest().encode() == headers["dlq.value-sha256"]


def test_headers_that_cannot_be_read_are_left_out_and_said_to_be() -> None:
    publication = published(request(UNREADABLE, no_headers=True))

    assert b"value" == publication.value
    assert "dlq.headers-omitted" in dict(publication.headers)
    assert all(name.startswith("dlq.") for name, _ in publication.headers)


def test_a_dead_letter_that_the_broker_finds_too_large_loses_its_value_first() -> None:
    reduced = reduction(request(UNREADABLE, [("a", b"1")], value=b"x" * (MOST // 2)), smallest=False)

    assert (b"key", None) == (reduced.key, reduced.value)
    assert b"1" == dict(reduced.headers)["a"]
    assert "dlq.headers-omitted" not in dict(reduced.headers)


@pytest.mark.parametrize(
    "large",
    [{"value": b"x" * 2 * MOST}, {"headers": [("a", b"x" * MOST)]}, {"key": b"x" * MOST}],
    ids=["value", "headers", "key"],
)
def test_whatever_was_too_large_the_smallest_dead_letter_fits(large: dict[str, Any]) -> None:
    reduced = reduction(request(UNREADABLE, **large), smallest=True)

    assert reduced.value is None
    assert 4096 > sum(len(name) + len(value or b"") for name, value in reduced.headers) + len(reduced.key or b"")


def test_an_undecided_request_is_not_published() -> None:
    made = request(synchronized())
    made.verdict = None

    with pytest.raises(ValueError, match="no verdict"):
        published(made)
