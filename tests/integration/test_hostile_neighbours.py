"""One tenant sends the worst there is; another one's requests go through the same partition meanwhile."""

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import pytest
from confluent_kafka import KafkaException

from tests.integration.contract import wire
from tests.integration.contract.deployment import Coordinates, Deployment, deployed, operator, record
from tests.integration.contract.wire import pairs, request
from tests.support.raw_producer import produce_raw
from tests.support.records import RawRecord
from tests.support.service import Service
from tests.support.topics import REQUEST_BYTES, create_topics, delete_topics

PATIENCE_SECONDS: Final = 60
EVERY_SECONDS: Final = 0.2
MOST_OVERHEAD_BYTES: Final = 1024
"""Of a batch with one record and its headers."""


@dataclass
class Neighbours:
    """A deployment with two tenants, each with a Mirakl of its own."""

    deployment: Deployment
    service: Service
    bad_key: str
    bad_specification: str
    good_key: str

    @contextlib.contextmanager
    def asking(self) -> Iterator[None]:
        """The good one asks all the while, in the partition of the bad one; each of its requests is answered once."""
        asked: list[Coordinates] = []
        enough = threading.Event()

        def ask() -> None:
            asked.extend(self.send(record(self.good_key, request(pairs(1)), partition=0)))

        def ask_on() -> None:
            while not enough.wait(EVERY_SECONDS):
                ask()

        ask()
        asking = threading.Thread(target=ask_on)
        asking.start()
        try:
            yield
        finally:
            enough.set()
            asking.join()
        ask()
        self.deployment.outcomes.wait(asked, PATIENCE_SECONDS)
        assert {"SYNCHRONIZED"} == {self.deployment.result(each)["status"] for each in asked}
        assert 200 == self.service.status("/livez")

    def send(self, *records: RawRecord, compression: str = "none") -> list[Coordinates]:
        return self.deployment.send(*records, compression=compression)


@pytest.fixture(scope="module")
def neighbours(kafka_bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neighbours]:
    topics = create_topics(kafka_bootstrap, partitions=1)
    with deployed(kafka_bootstrap, topics, tmp_path_factory.mktemp("neighbours")) as deployment:
        bad, good = deployment.key("bad"), deployment.key("good")
        specification = deployment.specification("bad", tenant="bad")
        deployment.specification("good", tenant="good")
        with deployment.service() as service:
            yield Neighbours(deployment, service, bad, specification, good)
    delete_topics(kafka_bootstrap, topics)


def largest(live: Neighbours) -> Coordinates:
    """To the byte what the topic accepts, found by halves."""
    fits, too_large, accepted = REQUEST_BYTES - MOST_OVERHEAD_BYTES, REQUEST_BYTES, None
    while accepted is None or too_large - fits > 1:
        size = fits if accepted is None else (fits + too_large) // 2
        try:
            [accepted] = live.send(RawRecord(b"\xff" * size, None, operator(live.bad_key), 0))
            fits = size
        except KafkaException:
            too_large = size
    return accepted


def largest_compressed(live: Neighbours) -> Coordinates:
    [sent] = live.send(RawRecord(bytes(50_000_000), None, operator(live.bad_key), 0), compression="gzip")
    return sent


def names_that_are_no_text(live: Neighbours) -> Coordinates:
    headers = ((b"dj-client", b"OPERATOR"), (b"dj-api-key", live.bad_key.encode()), (b"\xff\xfe", b"x"))
    value = wire.single_object(request())
    return produce_raw(live.deployment.bootstrap, live.deployment.topics.requests, value, headers)


def thousands_of_headers(live: Neighbours) -> Coordinates:
    many = tuple((f"h{number}", b"x") for number in range(20_000))
    [sent] = live.send(record(live.bad_key, request(), *many, partition=0))
    return sent


def a_schema_of_nobody(live: Neighbours) -> Coordinates:
    [sent] = live.send(RawRecord(b"\xc3\x01" + bytes(8) + b"body", None, operator(live.bad_key), 0))
    return sent


@pytest.mark.slow
@pytest.mark.parametrize(
    ("hostile", "reason"),
    [
        (largest, "UNREADABLE"),
        (largest_compressed, "UNREADABLE"),
        (names_that_are_no_text, "UNREADABLE"),
        (thousands_of_headers, "UNREADABLE"),
        (a_schema_of_nobody, "UNKNOWN_SCHEMA"),
    ],
)
def test_what_is_no_request_gets_its_dead_letter_and_costs_the_neighbour_nothing(
    neighbours: Neighbours, hostile: Callable[[Neighbours], Coordinates], reason: str
) -> None:
    with neighbours.asking():
        sent = hostile(neighbours)

        assert reason == neighbours.deployment.dead_letter(sent, PATIENCE_SECONDS).header("dlq.reason")


@pytest.mark.slow
def test_a_hundred_thousand_invalid_products_get_one_answer_and_cost_the_neighbour_nothing(
    neighbours: Neighbours,
) -> None:
    invalid = [{"miraklProductId": " ", "productSku": ""}] * 100_000
    with neighbours.asking():
        sent = neighbours.send(*[record(neighbours.bad_key, request(invalid), partition=0) for _ in range(5)])

        for each in sent:
            error = neighbours.deployment.result(each, PATIENCE_SECONDS)["error"]
            assert ("VALIDATION_FAILED", 100) == (error["code"], len(error["fieldErrors"]))


@pytest.mark.slow
def test_a_broken_credential_row_is_an_answer_for_its_tenant_and_costs_the_neighbour_nothing(
    neighbours: Neighbours,
) -> None:
    with neighbours.asking():
        _credential(neighbours, "not what the key has encrypted")
        [sent] = neighbours.send(record(neighbours.bad_key, request(), partition=0))
        while (error := neighbours.deployment.result(sent, PATIENCE_SECONDS)["error"]) is None:  # not seen yet
            [sent] = neighbours.send(record(neighbours.bad_key, request(), partition=0))

    assert (500, "CLIENT_SPECIFICATION_UNUSABLE", True) == (error["httpStatus"], error["code"], error["retryable"])


def _credential(live: Neighbours, text: str) -> None:
    file = sqlite3.connect(live.deployment.folder / "mirakl-resync.db")
    with file:
        file.execute(
            "update client_specifications set credential = ? where replace(id, '-', '') = ?",
            (text, live.bad_specification.replace("-", "")),
        )
    file.close()
