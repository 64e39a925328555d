"""Reading a whole topic: from where, to where, and what is left out."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from confluent_kafka import KafkaError
from hypothesis import HealthCheck, given
from hypothesis import settings as given_settings
from hypothesis import strategies as st

from producer_tools.connection import Connection
from producer_tools.errors import MisconfiguredError
from producer_tools.topic_reader import Start, TopicReader, headers_of
from tests.support.policies import adjust
from tests.unit.producer_tools.fake_kafka import FakeBroker, FakeConsumer, FakeMessage, fake_broker, settings

PLACES = st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=30)


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeBroker]:
    with fake_broker(monkeypatch, [("results", 3)]) as broker:
        yield broker


def reader(start: Start = "beginning") -> TopicReader:
    return TopicReader(Connection(settings().kafka), "results", start)


def places(messages: Iterator[object]) -> list[tuple[int, int]]:
    return [(each.partition_, each.offset_) for each in messages if isinstance(each, FakeMessage)]


@given(PLACES)
@given_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_record_that_was_there_is_read_once_whatever_gaps_there_are(
    broker: FakeBroker, written: list[tuple[int, bool]]
) -> None:
    broker.topics["results"] = [[], [], []]
    broker.missing_offsets.clear()
    expected = set()
    for partition, is_gap in written:
        message = broker.add("results", partition)
        if is_gap:
            broker.missing_offsets.setdefault(("results", partition), set()).add(message.offset_)
        else:
            expected.add((partition, message.offset_))

    read = places(iter(reader().to_end()))

    assert expected == set(read)
    assert len(expected) == len(read)


def test_what_is_written_after_the_start_is_left_out_unless_followed(broker: FakeBroker) -> None:
    broker.add("results", 0)
    opened = reader()
    broker.add("results", 0)
    broker.add("results", 1)

    assert [(0, 0)] == places(iter(opened.to_end()))
    assert opened.finished


def test_a_follower_that_begins_at_the_end_gets_what_comes(broker: FakeBroker) -> None:
    broker.add("results", 0)
    opened = reader("end")
    broker.add("results", 0)

    read = [opened.read(0.0, follow=True) for _ in range(8)]

    assert [(0, 1)] == places(iter(each for each in read if each))


def test_a_partition_that_is_added_is_read_from_its_beginning(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    adjust(monkeypatch, "producer_tools.topic_reader", "TOOLS", growth_seconds=0.0)
    opened = reader("end")
    broker.add("results", 5)

    read = [opened.read(0.0, follow=True) for _ in range(20)]

    assert [(5, 0)] == places(iter(each for each in read if each))


def test_a_time_begins_with_the_first_record_of_that_time_or_later(broker: FakeBroker) -> None:
    for timestamp in (1_000, 5_000, 9_000):
        broker.add("results", 0, timestamp_=timestamp)
    broker.add("results", 1, timestamp_=1_000)

    assert [(0, 1), (0, 2)] == places(iter(reader(datetime.fromtimestamp(5, UTC)).to_end()))


def test_a_time_before_1970_is_the_beginning(broker: FakeBroker) -> None:
    """Negative numbers are commands to the brokers, not times."""
    broker.add("results", 0)

    assert [(0, 0)] == places(iter(reader(datetime(1900, 1, 1, tzinfo=UTC)).to_end()))


def test_only_the_partitions_asked_for_are_read(broker: FakeBroker) -> None:
    for partition in range(3):
        broker.add("results", partition)

    opened = TopicReader(Connection(settings().kafka), "results", "beginning", partitions=[1])

    assert [(1, 0)] == places(iter(opened.to_end()))


def test_a_place_can_be_sought(broker: FakeBroker) -> None:
    for _ in range(3):
        broker.add("results", 0)
    opened = reader("end")

    opened.seek(0, 1)

    assert [(0, 1), (0, 2)] == places(iter(opened.to_end()))


def test_a_missing_right_ends_the_reading_and_closes_the_consumer(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.add("results", 0)
    opened = reader()
    refused = FakeMessage(error_=KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))
    monkeypatch.setattr(FakeConsumer, "poll", lambda *_: refused)

    with pytest.raises(MisconfiguredError, match=r"does not let us read results\. Grant this user READ on the topic\."):
        opened.read(0.0, follow=False)
    opened.close()
    assert broker.handles[0].closed


def test_a_missing_right_to_the_group_is_no_obstacle(broker: FakeBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The group is a formality of the library."""
    broker.add("results", 0)
    opened = reader()
    refused = FakeMessage(error_=KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED))
    with monkeypatch.context() as patched:
        patched.setattr(FakeConsumer, "poll", lambda *_: refused)
        assert opened.read(0.0, follow=False) is None

    assert [(0, 0)] == places(iter(opened.to_end()))


def test_silence_of_the_brokers_is_noticed_before_the_end(broker: FakeBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    broker.add("results", 0)
    opened = reader()
    adjust(monkeypatch, "producer_tools.topic_reader", "TOOLS", stall_seconds=0.0)
    monkeypatch.setattr(FakeConsumer, "poll", lambda *_: None)
    broker.topics.clear()

    with pytest.raises(MisconfiguredError, match="There is no topic results"):
        opened.read(0.0, follow=False)


def test_making_one_closes_the_consumer_if_the_topic_is_missing(broker: FakeBroker) -> None:
    broker.topics.clear()

    with pytest.raises(MisconfiguredError):
        reader()

    assert broker.handles[0].closed


@pytest.mark.parametrize(
    ("given", "read"),
    [((), ()), ([("a", b"1"), ("a", None)], (("a", b"1"), ("a", None))), (None, None)],
)
def test_headers_that_cannot_be_read_are_none(given: object, read: object) -> None:
    assert read == headers_of(FakeMessage(headers_=given))  # type: ignore[arg-type] # stands for a Message
