"""Properties of librdkafka that the service starts with."""

import json
from typing import cast

import pytest
from confluent_kafka import Consumer

from consumer import bootstrap
from consumer.adapters.stores import DirectoryReader, StoreTrouble
from consumer.domain.calls import CallFailure, Receipt
from consumer.domain.model import Directory
from consumer.engine.ports import SourceTrouble
from schemas.settings import load
from tests.unit.engine.world import FIRST, specification


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
    properties = bootstrap._consumer_properties(load({"RESYNC_KAFKA__PROPERTIES": json.dumps(given)}))

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
    (mistake,) = bootstrap.refused_properties(load({"RESYNC_KAFKA__PROPERTIES": json.dumps(given)}))

    assert mistake.startswith("RESYNC_KAFKA__PROPERTIES: ")
    assert named in mistake


def test_the_properties_as_they_are_please_librdkafka() -> None:
    assert [] == bootstrap.refused_properties(load({}))


def test_a_long_pause_that_a_mirakl_asks_for_is_told_with_its_end_and_what_ends_it() -> None:
    told = bootstrap.ordered_pause(
        specification(),
        CallFailure("HTTP 503", may_have_reached=False, status=503, retry_after=86_400.0),
        1_700_000_000.0,
    )

    assert told is not None
    for part in (FIRST, "shop-1", "HTTP 503", "86400 s", "2023-11-14T22:18:20Z", "clients resume"):
        assert part in told
    for outcome in (
        CallFailure("HTTP 503", may_have_reached=False, status=503, retry_after=5.0),
        CallFailure("HTTP 503", may_have_reached=False, status=503),
        Receipt("t"),
    ):
        assert bootstrap.ordered_pause(specification(), outcome, 1_700_000_000.0) is None


@pytest.mark.parametrize("request_bytes", [1_048_588, 20_000_000])
def test_what_is_fetched_at_a_time_is_bounded_and_a_request_of_any_allowed_size_fits(request_bytes: int) -> None:
    properties = bootstrap._consumer_properties(load({}), request_bytes)

    assert properties["fetch.max.bytes"] <= 4 << 20
    assert properties["fetch.message.max.bytes"] <= 64 << 10
    assert (
        request_bytes < properties["receive.message.max.bytes"] - properties["fetch.max.bytes"] < request_bytes + 2**17
    )
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

    assert [] == bootstrap.refused_properties(settings)
    properties = bootstrap._consumer_properties(settings)
    assert given.items() <= {name: int(properties[name]) for name in given}.items()


@pytest.mark.parametrize(
    "problem", [ValueError("a row"), OverflowError("a number"), StoreTrouble("away", missing_or_old=False)]
)
def test_whatever_the_database_provokes_is_a_trouble_and_never_the_end(problem: Exception) -> None:
    class Reader:
        warnings = ()

        def read(self, _: int | None) -> Directory | None:
            raise problem

    with pytest.raises(SourceTrouble):
        bootstrap._DirectorySource(cast("DirectoryReader", Reader())).read(None)
