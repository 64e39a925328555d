"""Properties of librdkafka that the service starts with."""

import json

import pytest
from confluent_kafka import Consumer

from consumer.adapters.kafka.properties import TopicSizes, consumer_properties, refused_properties
from schemas.settings import load


@pytest.mark.parametrize(
    ("given", "session", "most"),
    [
        ({}, 10_000, 45_000),
        ({"session.timeout.ms": 60_000}, 60_000, 60_000),
        ({"max.poll.interval.ms": 90_000}, 10_000, 90_000),
    ],
    ids=["as it is", "a longer session", "a longer time between polls"],
)
def test_a_rebalance_waits_for_nobody_longer_than_it_has_to(given: dict[str, int], session: int, most: int) -> None:
    """A session longer than the time between polls is refused by librdkafka; rebalances wait for the latter as well."""
    properties = consumer_properties(load({"RESYNC_KAFKA__PROPERTIES": json.dumps(given)}))

    assert (session, most) == tuple(int(properties[f"{name}.ms"]) for name in ("session.timeout", "max.poll.interval"))
    Consumer(properties).close()


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"session.timeout.ms": "abc"}, "session.timeout.ms"),
        ({"max.poll.interval.ms": 1}, "max.poll.interval.ms"),
        ({"transaction.timeout.ms": 1}, "transaction.timeout.ms"),
        ({"delivery.timeout.ms": 900_000}, "transaction.timeout.ms"),
    ],
)
def test_values_that_librdkafka_refuses_are_mistakes_of_the_settings(given: dict[str, object], named: str) -> None:
    (mistake,) = refused_properties(load({"RESYNC_KAFKA__PROPERTIES": json.dumps(given)}))

    assert mistake.startswith("RESYNC_KAFKA__PROPERTIES: ")
    assert named in mistake


def test_the_properties_as_they_are_please_librdkafka() -> None:
    assert [] == refused_properties(load({}))


@pytest.mark.parametrize("request_bytes", [1_048_588, 20_000_000])
def test_what_is_fetched_at_a_time_is_bounded_and_a_request_of_any_allowed_size_fits(request_bytes: int) -> None:
    properties = consumer_properties(load({}), TopicSizes(requests=request_bytes))

    assert properties["fetch.max.bytes"] <= 4 << 20
    assert properties["fetch.message.max.bytes"] <= 256 << 10
    assert (
        request_bytes < properties["receive.message.max.bytes"] - properties["fetch.max.bytes"] < request_bytes + 2**17
    )
    Consumer(properties).close()


@pytest.mark.parametrize(
    ("partitions", "each"), [(1, 256 << 10), (16, 256 << 10), (17, 246_723), (64, 64 << 10), (1000, 64 << 10)]
)
def test_a_fetch_has_room_for_every_partition(partitions: int, each: int) -> None:
    properties = consumer_properties(load({}), TopicSizes(request_partitions=partitions))

    assert each == properties["fetch.message.max.bytes"]
    Consumer(properties).close()


@pytest.mark.parametrize(
    "given",
    [
        {"fetch.max.bytes": 100_000_000},
        {"max.partition.fetch.bytes": 5_000_000},
        {"receive.message.max.bytes": 200_000_000, "fetch.max.bytes": 100_000_000},
        {"fetch.max.bytes": 2_147_483_135},
    ],
    ids=str,
)
def test_other_fetch_sizes_of_the_operator_count(given: dict[str, int]) -> None:
    settings = load({"RESYNC_KAFKA__PROPERTIES": json.dumps(given)})

    assert [] == refused_properties(settings)
    properties = consumer_properties(settings)
    assert given.items() <= {name: int(properties[name]) for name in given}.items()
