"""Outcomes in a producer's hands: those that are too large are reduced, each by itself; none is passed over."""

import time
from collections.abc import Iterable, Sequence

import pytest
from confluent_kafka import KafkaError, Producer

from consumer.adapters.kafka.outgoing import Outgoing, Publication
from consumer.adapters.kafka.policy import PUBLISHING
from consumer.engine.requests import Request
from tests.support.records import read_topic
from tests.unit.adapters.kafka.committing import ABORTED, COMMITTED, SMALL, Bench, part, until_committed

HEADERS = (("twice", b"\xff"), ("twice", None))


@pytest.mark.parametrize(
    ("large", "becomes"), [(b"x" * 2500, b"x" * 250), (b"x" * 100_000, b"r")], ids=["a bit", "by far"]
)
def test_a_record_that_the_broker_finds_too_large_is_reduced_and_its_mates_are_not(
    bench: Bench, large: bytes, becomes: bytes
) -> None:
    """Although the broker refuses all that travel in one batch with it."""
    bench.broker.most_bytes = 2000
    until_committed(bench, part(0, SMALL, large, SMALL))

    assert [SMALL, becomes, SMALL] == bench.values


def test_many_small_records_that_are_too_large_together_all_stay_whole(bench: Bench) -> None:
    bench.broker.most_bytes = 20_000
    until_committed(bench, part(0, *[SMALL] * 200))
    assert [SMALL] * 200 == bench.values

    assert 1 == until_committed(bench, part(1, *[SMALL] * 200))


def test_a_record_that_the_library_finds_too_large_is_reduced_at_once_and_its_mates_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench(monkeypatch, **{"message.max.bytes": 1000})
    assert COMMITTED is bench.commit(part(0, SMALL, b"x" * 2000, b"y" * 50_000, SMALL))

    assert [SMALL, b"x" * 200, b"r", SMALL] == bench.values
    assert bench.sink.stop(5)


def test_an_outcome_that_does_not_fit_however_small_is_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather no commit at all than one without its outcome; and it waits, since it is decided."""
    bench = Bench(monkeypatch, **{"message.max.bytes": 0})
    assert ABORTED is bench.commit(part(0, SMALL))

    assert {} == bench.broker.offsets
    assert bench.core.trouble is not None
    assert "max.message.bytes of the topic" in bench.core.trouble.message
    assert bench.sink.stop(5)
    assert bench.sink.failure is None


def test_what_was_reduced_once_is_whole_again_in_a_later_record(bench: Bench) -> None:
    bench.broker.most_bytes = 2000
    until_committed(bench, part(0, b"x" * 2500))
    bench.broker.most_bytes = 1 << 30

    assert COMMITTED is bench.commit(part(0, b"x" * 2500))
    assert [b"x" * 250, b"x" * 2500] == bench.values


def test_a_full_queue_is_waited_for(bench: Bench) -> None:
    def full() -> None:
        raise BufferError("queue full")

    bench.broker.script["produce"].extend([full, full])
    assert COMMITTED is bench.commit(part(0, b"a"))
    assert [b"a"] == bench.values


@pytest.mark.interpreted
def test_the_library_gets_the_record_as_it_is_and_reports_on_a_large_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real producer, on librdkafka's mock broker: its parameters are given by position."""
    producer = Producer({"test.mock.num.brokers": 1, "log_level": 0})
    topics = producer.list_topics("results", timeout=10)
    bootstrap = ",".join(f"{each.host}:{each.port}" for each in topics.brokers.values())
    outcomes = part(0, SMALL, b"x" * (PUBLISHING.watched_bytes + 1))
    reported: list[tuple[object, KafkaError | None]] = []
    outgoing = Outgoing({}, WithHeaders(), PUBLISHING)
    monkeypatch.setattr(outgoing, "_delivered", lambda outcome, error, _: reported.append((outcome, error)))

    before = int(time.time() * 1000)
    outgoing.produce(producer, [outcomes])
    assert 0 == producer.flush(10)

    assert [(outcomes.outcomes[1], None)] == reported
    read = list(read_topic(bootstrap, "results", count=2, isolation="read_uncommitted"))
    read.sort(key=lambda each: each.key or b"")
    assert [(b"key-0", SMALL, HEADERS), (b"key-1", outcomes.outcomes[1].record.value, HEADERS)] == [
        (each.key, each.value, each.headers) for each in read
    ]
    assert all(before <= each.timestamp <= time.time() * 1000 for each in read)
    producer.close()


class WithHeaders:
    """A request's value is published, with a key and headers."""

    def publications(self, outcomes: Sequence[Request]) -> Iterable[Publication]:
        return (("results", b"key-%d" % at, each.record.value, [*HEADERS]) for at, each in enumerate(outcomes))

    def reduced(self, outcome: object, *, smallest: bool) -> Publication:
        raise AssertionError((outcome, smallest))
