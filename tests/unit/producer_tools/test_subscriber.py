"""Results as a subscriber gets them."""

import asyncio
from collections.abc import Iterator

import pytest

from producer_tools import ResyncResults
from producer_tools.errors import MisconfiguredError
from producer_tools.subscriber import ReceivedResult, UndecodableResult
from schemas.avro.codec import ResultEncoder
from schemas.avro.framing import SchemaRef
from schemas.events import ResyncStatus
from tests.support.builders import result_fields
from tests.unit.producer_tools.fake_kafka import FakeBroker, fake_broker, settings

HEADERS = (("resync-tenant", b"first"), ("resync-tenant", b"acme"), ("odd", b"\xff"), ("null", None))


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeBroker]:
    with fake_broker(monkeypatch, [("results", 2)]) as broker:
        yield broker


def add(broker: FakeBroker, request_id: str, partition: int = 0, **changes: object) -> None:
    value = ResultEncoder().encode(result_fields(request_id, **changes))
    broker.add("results", partition, value_=value, key_=request_id.encode(), headers_=HEADERS)


def ids(results: list[ReceivedResult]) -> list[str]:
    return [each.value.request_id for each in results]


def test_each_result_is_given_with_its_place_and_its_headers(broker: FakeBroker) -> None:
    add(broker, "a")

    (result,) = ResyncResults(settings())

    assert ("a", ResyncStatus.SYNCHRONIZED) == (result.value.request_id, result.value.status)
    assert (0, 0, 1_700_000_000) == (result.partition, result.offset, int(result.timestamp.timestamp()))
    assert ("acme", "acme", "\ufffd", None, None) == (
        result.tenant,
        *(result.header(name) for name in ("resync-tenant", "odd", "null", "missing")),
    )
    assert "acme" not in repr(result)


def test_only_committed_results_are_read(broker: FakeBroker) -> None:
    list(ResyncResults(settings()))

    assert "read_committed" == broker.handles[0].properties["isolation.level"]
    assert broker.handles[0].closed


def test_a_status_of_a_newer_service_reads_as_unknown(broker: FakeBroker) -> None:
    add(broker, "a", status="UNKNOWN")

    (result,) = ResyncResults(settings())

    assert ResyncStatus.UNKNOWN is result.value.status


def test_request_ids_choose_and_the_rest_is_not_even_decoded(broker: FakeBroker) -> None:
    add(broker, "a")
    broker.add("results", 0, value_=b"rubbish", key_=b"other")
    add(broker, "b", partition=1)
    left_out: list[UndecodableResult] = []

    results = list(ResyncResults(settings(), request_ids={"b"}, on_undecodable=left_out.append))

    assert (["b"], []) == (ids(results), left_out)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"rubbish", "no known framing"),
        (None, "the value is null"),
        (SchemaRef.from_id(7).wire + b"x", "no schema registry is configured"),
        (ResultEncoder().encode(result_fields("a", completedAt=2**62)), "its fields are not those of a result"),
    ],
)
def test_a_record_that_is_no_result_is_told_and_left_out(broker: FakeBroker, value: bytes | None, reason: str) -> None:
    broker.add("results", 0, value_=value)
    add(broker, "a")
    left_out: list[UndecodableResult] = []

    results = list(ResyncResults(settings(), on_undecodable=left_out.append))

    assert ["a"] == ids(results)
    (told,) = left_out
    assert (0, 0) == (told.partition, told.offset)
    assert reason in told.reason
    assert str(told).startswith("the record at 0:0 of the results topic is left out: ")


def test_unless_told_otherwise_it_is_a_warning_in_the_log(broker: FakeBroker, caplog: pytest.LogCaptureFixture) -> None:
    broker.add("results", 0, value_=b"rubbish")

    assert [] == list(ResyncResults(settings()))
    assert ["producer_tools.subscriber"] == [record.name for record in caplog.records]


def test_a_watch_that_begins_before_the_request_misses_nothing(broker: FakeBroker) -> None:
    add(broker, "old")
    with ResyncResults(settings(), start="end", follow=True) as watch:
        add(broker, "new")

        found = [result for _ in range(6) if (result := watch.read(0.01))]

        assert ["new"] == ids(found)
        assert not watch.finished


def test_reading_gives_up_after_its_time(broker: FakeBroker) -> None:
    for _ in range(50):
        broker.add("results", 0, key_=b"other")
    with ResyncResults(settings(), request_ids={"a"}) as watch:
        assert watch.read(0.0) is None


def test_some_results_at_once_and_no_more_than_asked_for(broker: FakeBroker) -> None:
    for number in range(5):
        add(broker, f"r{number}")
    with ResyncResults(settings()) as watch:
        assert ["r0", "r1", "r2"] == ids(watch.read_some(3))
        assert ["r3", "r4"] == ids(watch.read_some())


def test_it_can_be_iterated_on_an_event_loop(broker: FakeBroker) -> None:
    add(broker, "a")
    add(broker, "b", partition=1)

    async def collect() -> list[ReceivedResult]:
        return [result async for result in ResyncResults(settings())]

    assert {"a", "b"} == set(ids(asyncio.run(collect())))
    assert broker.handles[0].closed


def test_an_iteration_begins_anew(broker: FakeBroker) -> None:
    add(broker, "a")
    results = ResyncResults(settings())

    assert ids(list(results)) == ids(list(results)) == ["a"]


@pytest.mark.usefixtures("broker")
def test_reading_needs_a_place_to_begin() -> None:
    with pytest.raises(RuntimeError, match="with block"):
        ResyncResults(settings()).read(0.0)


def test_brokers_that_lost_the_topic_are_noticed_by_who_asks(broker: FakeBroker) -> None:
    with ResyncResults(settings(), follow=True) as watch:
        watch.check_reachable()
        broker.topics.clear()
        with pytest.raises(MisconfiguredError, match="There is no topic results"):
            watch.check_reachable()
