"""Whatever stands in the requests topic: each record has its outcome, the service lives on, and others are answered."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.avro.codec import write_long
from tests.integration.contract import wire
from tests.integration.contract.deployment import Coordinates, Deployment, deployed, operator, record
from tests.integration.contract.wire import pairs, request
from tests.support.records import RawRecord
from tests.support.service import Service
from tests.support.topics import alter_max_message_bytes, create_topics, delete_topics

MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def deployment(kafka_bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    topics = create_topics(kafka_bootstrap, partitions=2)
    with deployed(kafka_bootstrap, topics, tmp_path_factory.mktemp("hostile")) as made:
        made.specification("shop", "--products-per-call", "1", "--concurrent-calls", "32")
        yield made
    delete_topics(kafka_bootstrap, topics)


def neighbour(deployment: Deployment, key: str) -> Coordinates:
    """A request like any other, behind what was sent before it."""
    [coordinates] = deployment.send(record(key, request(pairs(1)), partition=0))
    return coordinates


def resident_megabytes(service: Service) -> float:
    return _memory(service, "VmRSS")


def peak_megabytes(service: Service) -> float:
    return _memory(service, "VmHWM")


def _memory(service: Service, what: str) -> float:
    status = Path(f"/proc/{service.pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith(what))


@pytest.mark.parametrize(
    ("codec", "megabytes", "unpacked"),
    [("gzip", 50, True), ("lz4", 50, True), ("zstd", 50, False), ("gzip", 99, True), ("zstd", 99, False)],
)
def test_a_record_that_swells_a_thousandfold_gets_its_dead_letter(
    deployment: Deployment, service: Service, key: str, codec: str, megabytes: int, *, unpacked: bool
) -> None:
    swelling = RawRecord(bytes(megabytes * MEGABYTE), b"k", operator(key), partition=0)
    [coordinates] = deployment.send(swelling, compression=codec)
    behind = neighbour(deployment, key)

    assert "SYNCHRONIZED" == deployment.result(behind, timeout=60)["status"]
    letter = deployment.dead_letter(coordinates)
    assert ("UNREADABLE", "true", None) == (
        letter.header("dlq.reason"),
        letter.header("dlq.value-omitted"),
        letter.value,
    )
    assert (str(megabytes * MEGABYTE) if unpacked else None) == letter.header("dlq.value-bytes")
    assert resident_megabytes(service) < 300


@pytest.mark.parametrize(("codec", "megabytes"), [("zstd", 200), ("lz4", 700)])
def test_sixty_records_of_a_few_kilobytes_that_swell_to_gigabytes_cost_little_memory(
    deployment: Deployment, service: Service, key: str, codec: str, megabytes: int
) -> None:
    """The topic is one that keeps what producers compressed. What lz4 unpacks to is not bounded by the library."""
    Path(f"/proc/{service.pid}/clear_refs").write_text("5", encoding="ascii")  # the peak begins here
    swelling = RawRecord(bytes(50 * MEGABYTE), b"k", operator(key), partition=0)
    letters = [each for _ in range(60) for each in deployment.send(swelling, compression=codec)]
    elsewhere = deployment.send(*[record(key, request(pairs(1)), partition=1) for _ in range(50)])

    deployment.outcomes.wait(elsewhere, timeout=30)
    assert "UNREADABLE" == deployment.dead_letter(letters[0], timeout=60).header("dlq.reason")
    assert peak_megabytes(service) < megabytes


def test_keys_and_headers_of_any_size_and_number(deployment: Deployment, service: Service, key: str) -> None:
    hostile = (
        RawRecord(None, None, operator(key), 0),
        RawRecord(b"x", bytes(900_000), operator(key), 0),
        RawRecord(b"x", bytes(50 * MEGABYTE), operator(key), 0),
        RawRecord(b"x", None, (("big", bytes(900_000)),), 0),
        RawRecord(b"x", None, tuple((f"h{number}", None) for number in range(40_000)), 0),
        RawRecord(b"x", b"", (("", b""), ("", None), ("\U0001f600" * 1000, b"\xff")), 0),
    )
    coordinates = deployment.send(*hostile, compression="gzip")
    behind = neighbour(deployment, key)

    assert "SYNCHRONIZED" == deployment.result(behind, timeout=60)["status"]
    letters = [deployment.dead_letter(each) for each in coordinates]
    assert [None, 900_000, None] == [letter.key and len(letter.key) for letter in letters[:3]]
    assert len(letters[4].headers) > 40_000
    assert service.running


def test_megabytes_of_the_smallest_products_stop_nobody(deployment: Deployment, service: Service, key: str) -> None:
    """Half a million mistakes a request: each is counted, a hundred are listed, and the engine's loop goes on."""
    coordinates = deployment.send(*[_smallest_products(key) for _ in range(8)], compression="gzip")
    [behind] = deployment.send(record(key, request(pairs(1)), partition=1))

    began, alive = time.monotonic(), []
    while deployment.outcomes.quiet([behind]) and time.monotonic() < began + 60:
        alive.append(service.status("/livez"))
        time.sleep(0.5)
    assert {200} == {*alive, service.status("/livez")}
    for each in coordinates:
        error = deployment.result(each, timeout=90)["error"]
        assert ("VALIDATION_FAILED", 100) == (error["code"], len(error["fieldErrors"]))
    assert resident_megabytes(service) < 400


def test_thousands_of_calls_for_one_request_end_in_one_result(
    deployment: Deployment, service: Service, key: str
) -> None:
    event = request([{"miraklProductId": "\U0001f600" * 200 + str(n), "productSku": "s" * 20} for n in range(1000)])
    [coordinates] = deployment.send(record(key, event))

    result = deployment.result(coordinates, timeout=60)
    assert ("SYNCHRONIZED", 1000, 1000) == (
        result["status"],
        result["synchronizedProducts"],
        len({*result["trackingIds"]}),
    )
    assert service.running


@pytest.mark.slow
def test_topics_that_were_made_smaller_lose_nothing_but_details(
    kafka_bootstrap: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A broker refuses whole batches: those become smaller first, then the records that are still too large."""
    topics = create_topics(kafka_bootstrap, partitions=2)
    with deployed(kafka_bootstrap, topics, tmp_path_factory.mktemp("small")) as deployment:
        key = deployment.key()
        deployment.specification("shop", "--products-per-call", "1", "--concurrent-calls", "32")
        with deployment.service():
            deployment.result(neighbour(deployment, key), timeout=60)
            for topic in (topics.results, topics.dead_letters):
                alter_max_message_bytes(kafka_bootstrap, topic, 20_000)
            time.sleep(1)
            small = deployment.send(*[record(key, request(pairs(1)), partition=n % 2) for n in range(500)])
            many_ids, letter = deployment.send(
                record(key, request(pairs(1000)), partition=0), RawRecord(b"x" * 900_000, b"k", partition=0)
            )

            deployment.outcomes.wait([*small, many_ids, letter], timeout=90)
            result = deployment.result(many_ids)
            assert ("SYNCHRONIZED", 1000, 100) == (
                result["status"],
                result["synchronizedProducts"],
                len(result["trackingIds"]),
            )
            assert (None, b"k") == (deployment.dead_letter(letter).value, deployment.dead_letter(letter).key)
            for each in small:
                assert "SYNCHRONIZED" == deployment.result(each)["status"]
    delete_topics(kafka_bootstrap, topics)


def _smallest_products(key: str) -> RawRecord:
    value = wire.single_object(request([]))
    at = value.index(b"\x00", 10 + 1 + 36 + 1)
    count = (2**20 - 200) // 2
    return RawRecord(value[:at] + write_long(count) + bytes(2 * count) + value[at:], None, operator(key), 0)
