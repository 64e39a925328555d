"""``mirakl-resync`` and its library on a real broker; a responder stands for the service."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions

from producer_tools import (
    MisconfiguredError,
    NotAcknowledgedError,
    ReceivedResult,
    ResyncPublisher,
    ResyncResults,
    UndecodableResult,
    UnreachableError,
    new_request,
)
from producer_tools.cli import main
from schemas.avro.codec import RequestDecoder, ResultEncoder
from tests.support.kafka import Kafka
from tests.support.policies import adjust
from tests.support.records import RawRecord, read_topic, send_raw
from tests.support.service import environment
from tests.support.topics import Topics, create_topics

API_KEY = "a-key-that-must-never-be-shown"
SPECIFICATION = "0B6FF0DD-6E62-4F9F-8C6B-0F2E5A4E9D11"

ENCODER = ResultEncoder()

Answer = dict[str, Any]


@pytest.fixture
def setup(kafka_bootstrap: str, topics: Topics, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of a tool that may send."""
    settings = {
        "RESYNC_KAFKA__BOOTSTRAP_SERVERS": kafka_bootstrap,
        "RESYNC_API_KEY": API_KEY,
        **topics.environment,
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return settings


def synchronized(request: Answer) -> Answer:
    return {
        "requestId": request["requestId"],
        "status": "SYNCHRONIZED",
        "synchronizedProducts": len(request["products"]),
        "clientSpecificationId": request["clientSpecificationId"],
        "trackingIds": ["tracking-1"],
        "unsynchronizedProducts": [],
        "error": None,
        "requestedAt": request["requestedAt"],
        "completedAt": request["requestedAt"] + 5,
    }


def failed(request: Answer) -> Answer:
    error = {
        "httpStatus": 404,
        "code": "CLIENT_SPECIFICATION_NOT_FOUND",
        "message": "There is none: name another.",
        "retryable": False,
        "availableClientSpecificationIds": [],
        "fieldErrors": [],
    }
    return synchronized(request) | {
        "status": "FAILED",
        "synchronizedProducts": 0,
        "trackingIds": [],
        "error": error,
    }


def by_first_product(request: Answer) -> Answer | None:
    """Fails what begins with F, never answers what begins with N."""
    first = request["products"][0]["miraklProductId"]
    return None if first.startswith("N") else failed(request) if first.startswith("F") else synchronized(request)


class Responder:
    """Answers requests in transactions of their own, as the service does, until the end of the ``with`` block."""

    def __init__(self, bootstrap: str, topics: Topics, answer: Callable[[Answer], Answer | None]) -> None:
        self._topics = topics
        self._answer = answer
        self._stop = threading.Event()
        self._consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": topics.group})
        self._producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": topics.group})
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._producer.init_transactions(30)
        partitions = (
            self._consumer.list_topics(self._topics.requests, timeout=10).topics[self._topics.requests].partitions
        )
        self._consumer.assign([TopicPartition(self._topics.requests, partition, 0) for partition in partitions])
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._consumer.close()

    def _run(self) -> None:
        decoder = RequestDecoder(registry=False, max_bytes=1 << 20)
        while not self._stop.is_set():
            message = self._consumer.poll(0.05)
            if message is None or message.error():
                continue
            request = decoder.decode(message.value())
            answer = self._answer(request) if isinstance(request, dict) else None
            if answer:
                self._producer.begin_transaction()
                self._producer.produce(
                    self._topics.results,
                    ENCODER.encode(answer),
                    answer["requestId"].encode(),
                    headers=[("resync-tenant", b"acme")],
                )
                self._producer.commit_transaction(30)


@pytest.fixture
def responder(kafka_bootstrap: str, topics: Topics) -> Iterator[Responder]:
    with Responder(kafka_bootstrap, topics, by_first_product) as running:
        yield running


def result_record(request_id: str, status: str = "SYNCHRONIZED") -> RawRecord:
    request: Answer = {
        "requestId": request_id,
        "products": [{}],
        "clientSpecificationId": None,
        "requestedAt": 1_700_000_000_000,
    }
    return RawRecord(ENCODER.encode(synchronized(request) | {"status": status}), request_id.encode())


def tool(setup: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    """The program as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "producer_tools", *arguments],
        env=environment(setup),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )


@pytest.mark.usefixtures("setup")
class TestSend:
    def test_a_request_is_a_record_that_the_service_can_read(
        self, topics: Topics, kafka_bootstrap: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        arguments = [
            "--product",
            "M1:S:1",
            "--client-specification",
            SPECIFICATION,
            "--reason",
            "why",
            "--requested-by",
            "me",
        ]

        assert main(["send", *arguments, "--output", "ids"]) == 0

        (record,) = read_topic(kafka_bootstrap, topics.requests)
        request = RequestDecoder(registry=False, max_bytes=1 << 20).decode(record.value)
        assert isinstance(request, dict)
        assert capsys.readouterr().out.split() == [request["requestId"]]
        assert [{"miraklProductId": "M1", "productSku": "S:1"}] == request["products"]
        assert (SPECIFICATION.lower(), "why", "me") == (
            request["clientSpecificationId"],
            request["reason"],
            request["requestedBy"],
        )
        assert record.key == SPECIFICATION.lower().encode()
        assert (("dj-client", b"OPERATOR"), ("dj-api-key", API_KEY.encode())) == record.headers

    def test_all_mistakes_are_named_and_nothing_is_sent(
        self,
        topics: Topics,
        kafka_bootstrap: str,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        file = tmp_path / "p.csv"
        file.write_text("miraklProductId,productSku\nM1,S1\n,S2\nM1,S3\n")

        assert main(["send", "--product", "M9", "--file", str(file), "--client-specification", "x"]) == 2

        told = capsys.readouterr()
        assert told.out == ""
        for expected in (
            f"{file} line 3: miraklProductId must not be blank",
            f"{file} line 4: miraklProductId 'M1' has SKU 'S3' here, but 'S1' in {file} line 2; keep one of the two",
            "--product 1: 'M9' is not MIRAKL_ID:SKU",
            "--client-specification: 'x' is not a UUID",
        ):
            assert expected in told.err
        assert read_topic(kafka_bootstrap, topics.requests) == []

    def test_a_dry_run_needs_neither_broker_nor_key_and_sends_nothing(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for name in [name for name in os.environ if name.startswith("RESYNC_")]:
            monkeypatch.delenv(name)

        assert (
            main(["send", "--product", "M1:S1", "--product", "M2:S2", "--batch-size", "1", "--dry-run", "-o", "json"])
            == 0
        )

        planned = json.loads(capsys.readouterr().out)
        assert [[{"miraklProductId": "M1", "productSku": "S1"}], [{"miraklProductId": "M2", "productSku": "S2"}]] == [
            request["products"] for request in planned
        ]

    def test_more_than_500_products_need_yes_where_nobody_can_be_asked(
        self,
        topics: Topics,
        kafka_bootstrap: str,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        file = tmp_path / "p.jsonl"
        file.write_text("".join(json.dumps({"miraklProductId": f"M{n}", "productSku": "S"}) + "\n" for n in range(501)))

        assert main(["send", "--file", str(file)]) == 2
        assert "add --yes" in capsys.readouterr().err
        assert main(["send", "--file", str(file), "--yes", "--output", "jsonl"]) == 0

        (sent,) = capsys.readouterr().out.splitlines()
        assert json.loads(sent)["products"] == 501
        assert len(read_topic(kafka_bootstrap, topics.requests)) == 1

    def test_without_a_key_the_remedy_is_told(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.delenv("RESYNC_API_KEY")

        assert main(["send", "--product", "M:S"]) == 2
        assert "Set RESYNC_API_KEY" in capsys.readouterr().err

    def test_the_key_may_stand_in_a_file(self, topics: Topics, kafka_bootstrap: str, tmp_path: Path) -> None:
        (tmp_path / "key").write_text("another\n")

        assert main(["send", "--product", "M:S", "--api-key-file", str(tmp_path / "key")]) == 0

        (record,) = read_topic(kafka_bootstrap, topics.requests)
        assert dict(record.headers)["dj-api-key"] == b"another"

    def test_a_missing_topic_is_told_with_its_remedy(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("RESYNC_TOPICS__REQUESTS", "there.is.none")

        assert main(["send", "--product", "M:S"]) == 2
        assert (
            "There is no topic there.is.none. Create it with `mirakl-resync-consumer topics ensure`"
            in capsys.readouterr().err
        )

    @pytest.mark.parametrize(
        "command", [["send", "--product", "M:S"], ["send", "--product", "M:S", "--wait"], ["results"]]
    )
    def test_an_unreachable_broker_is_told_in_one_sentence(
        self,
        command: list[str],
        monkeypatch: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setenv("RESYNC_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
        adjust(monkeypatch, "producer_tools.connection", "TOOLS", connect_seconds=1.0)

        assert main(command) == 6

        told = capfd.readouterr()
        (line,) = told.err.splitlines()
        assert line.startswith("error: Cannot reach Kafka at 127.0.0.1:1")
        assert "Connection refused" in line
        assert told.out == ""


@pytest.mark.usefixtures("setup", "responder")
class TestWait:
    def test_every_request_of_a_batch_is_told_in_order(self, capsys: pytest.CaptureFixture[str]) -> None:
        products = [argument for n in range(5) for argument in ("--product", f"M{n}:S")]

        assert main(["send", *products, "--batch-size", "2", "--wait", "--output", "json"]) == 0

        answers = json.loads(capsys.readouterr().out)
        assert [2, 2, 1] == [answer["synchronizedProducts"] for answer in answers]
        assert {"SYNCHRONIZED"} == {answer["status"] for answer in answers}
        assert {"acme"} == {answer["tenant"] for answer in answers}

    @pytest.mark.parametrize(
        ("products", "code"),
        [
            (["M1:S", "M2:S"], 0),
            (["M1:S", "F2:S"], 3),
            (["F1:S", "F2:S"], 4),
            (["M1:S", "N2:S"], 5),
            (["F1:S", "N2:S"], 5),
        ],
    )
    def test_the_exit_code_tells_what_came_of_them(
        self, products: list[str], code: int, capsys: pytest.CaptureFixture[str]
    ) -> None:
        arguments = [argument for product in products for argument in ("--product", product)]

        assert main(["send", *arguments, "--batch-size", "1", "--wait", "--timeout", "2s", "--output", "jsonl"]) == code

        told = capsys.readouterr()
        answers = [json.loads(line) for line in told.out.splitlines()]
        assert len(answers) == 2
        assert [None] * sum(product.startswith("N") for product in products) == [
            answer["status"] for answer in answers if answer["status"] is None
        ]
        if code == 5:
            assert "no result within 2s" in told.err

    def test_a_table_says_why_a_request_failed(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["send", "--product", "F:S", "--wait"]) == 4
        assert "CLIENT_SPECIFICATION_NOT_FOUND: There is none: name another." in capsys.readouterr().out

    def test_an_interruption_tells_what_is_known_so_far(
        self,
        setup: dict[str, str],
    ) -> None:
        program = tool(
            setup, "send", "--product", "M1:S", "--product", "N2:S", "--batch-size", "1", "--wait", "--output", "jsonl"
        )
        assert program.stdout is not None
        first = program.stdout.readline()
        program.send_signal(signal.SIGINT)
        rest, told = program.communicate(timeout=30)

        assert program.returncode == 130
        assert json.loads(first)["status"] == "SYNCHRONIZED"
        assert json.loads(rest)["status"] is None
        assert "1 of 2 requests answered: 1 synchronized" in told
        assert API_KEY not in first + rest + told


@pytest.mark.usefixtures("setup")
class TestResults:
    def test_committed_results_are_listed_and_aborted_ones_are_not(
        self, topics: Topics, kafka_bootstrap: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        send_raw(kafka_bootstrap, topics.results, [result_record("one"), result_record("two", "FAILED")])
        _abort(kafka_bootstrap, topics, result_record("never"))

        assert main(["results", "--output", "json"]) == 0
        assert {"one", "two"} == {result["requestId"] for result in json.loads(capsys.readouterr().out)}
        assert main(["results", "--request-id", "two"]) == 0
        out = capsys.readouterr().out
        assert ("two" in out, "FAILED" in out, "one" in out) == (True, True, False)

    def test_a_limit_stops_and_the_json_is_whole(
        self, topics: Topics, kafka_bootstrap: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        send_raw(kafka_bootstrap, topics.results, [result_record(f"r{n}") for n in range(9)])

        assert main(["results", "--limit", "4", "--output", "json"]) == 0
        assert len(json.loads(capsys.readouterr().out)) == 4

    def test_nothing_is_an_empty_list(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["results", "--output", "json"]) == 0
        told = capsys.readouterr()
        assert json.loads(told.out) == []
        assert "no results" in told.err

    def test_since_leaves_out_what_is_older(
        self, topics: Topics, kafka_bootstrap: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        send_raw(kafka_bootstrap, topics.results, [result_record("old")])
        time.sleep(1.5)
        send_raw(kafka_bootstrap, topics.results, [result_record("new")])

        assert main(["results", "--since", "1s", "--output", "jsonl"]) == 0
        assert ["new"] == [json.loads(line)["requestId"] for line in capsys.readouterr().out.splitlines()]

    def test_a_record_that_is_no_result_is_left_out_with_a_warning(
        self, topics: Topics, kafka_bootstrap: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        send_raw(kafka_bootstrap, topics.results, [RawRecord(b"rubbish", partition=1), result_record("good")])

        assert main(["results", "--output", "jsonl"]) == 0
        told = capsys.readouterr()
        assert ["good"] == [json.loads(line)["requestId"] for line in told.out.splitlines()]
        assert "warning: the record at 1:0 of the results topic is left out" in told.err

    def test_following_sees_what_comes_also_in_new_partitions(
        self, topics: Topics, kafka_bootstrap: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        adjust(monkeypatch, "producer_tools.topic_reader", "TOOLS", growth_seconds=0.2)
        with ResyncResults(start="end", follow=True) as results:
            send_raw(kafka_bootstrap, topics.results, [result_record("first")])
            assert _next(results).value.request_id == "first"
            admin = AdminClient({"bootstrap.servers": kafka_bootstrap})
            grown = admin.create_partitions([NewPartitions(topics.results, 5)])
            grown[topics.results].result(10)
            send_raw(kafka_bootstrap, topics.results, [RawRecord(result_record("grown").value, b"grown", partition=4)])
            assert _next(results).value.request_id == "grown"

    def test_a_reader_that_has_had_enough_is_no_trouble(
        self, setup: dict[str, str], topics: Topics, kafka_bootstrap: str
    ) -> None:
        send_raw(kafka_bootstrap, topics.results, [result_record(f"r{n}") for n in range(2000)])
        program = tool(setup, "results", "--output", "jsonl")
        assert program.stdout is not None
        program.stdout.readline()
        program.stdout.close()
        assert program.stderr is not None

        assert program.stderr.read() == ""
        program.wait(30)
        program.stderr.close()


@pytest.mark.usefixtures("setup")
class TestLibrary:
    @pytest.mark.usefixtures("responder")
    def test_a_job_asks_in_five_lines_and_a_subscriber_reads_in_five(
        self,
    ) -> None:
        with ResyncPublisher() as publisher:
            request_id = publisher.send([("M1", "S1")], requested_by="stock-monitor")

        for result in ResyncResults(follow=True):
            assert (request_id, "SYNCHRONIZED") == (result.value.request_id, result.value.status)
            assert result.tenant == "acme"
            break

    def test_many_requests_go_out_at_once_and_a_coroutine_can_wait_for_each(
        self, topics: Topics, kafka_bootstrap: str
    ) -> None:
        async def send_all(publisher: ResyncPublisher) -> None:
            requests = [new_request([(f"M{n}", "S")], requested_by="job") for n in range(300)]
            await asyncio.gather(*(asyncio.wrap_future(publisher.submit(request)) for request in requests))

        with ResyncPublisher() as publisher:
            asyncio.run(send_all(publisher))
            assert len(read_topic(kafka_bootstrap, topics.requests)) == 300

    def test_a_coroutine_that_no_longer_waits_disturbs_nobody_else(self) -> None:
        async def give_up(publisher: ResyncPublisher) -> None:
            sent = asyncio.wrap_future(publisher.submit(new_request([("M", "S")], requested_by="job")))
            sent.cancel()
            await asyncio.sleep(0.1)

        with ResyncPublisher() as publisher:
            asyncio.run(give_up(publisher))
            assert publisher.send([("M", "S")], requested_by="job")

    def test_correlation_and_trace_are_carried(self, topics: Topics, kafka_bootstrap: str) -> None:
        trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        with ResyncPublisher() as publisher:
            publisher.send([("M", "S")], requested_by="job", correlation_id="c-1", traceparent=trace)

        (record,) = read_topic(kafka_bootstrap, topics.requests)
        assert ("c-1", trace) == (record.header("correlation-id"), record.header("traceparent"))

    def test_results_can_be_iterated_in_a_coroutine_and_left_at_any_time(
        self, topics: Topics, kafka_bootstrap: str
    ) -> None:
        async def first_two() -> list[str]:
            seen: list[str] = []
            async for result in ResyncResults(follow=True):
                seen.append(result.value.request_id)
                if len(seen) == 2:
                    break
            return seen

        async def all_there_are() -> set[str]:
            return {result.value.request_id async for result in ResyncResults()}

        send_raw(kafka_bootstrap, topics.results, [result_record("a"), result_record("b")])

        assert {"a", "b"} == set(asyncio.run(first_two()))
        assert {"a", "b"} == asyncio.run(all_there_are())

    def test_whoever_reads_is_told_of_what_cannot_be_read(self, topics: Topics, kafka_bootstrap: str) -> None:
        send_raw(
            kafka_bootstrap,
            topics.results,
            [RawRecord(None, b"k", partition=0), RawRecord(b"\x00\0\0\0\x07", b"k", partition=0)],
        )
        left_out: list[UndecodableResult] = []

        assert [] == list(ResyncResults(on_undecodable=left_out.append))
        assert [(0, 0), (0, 1)] == [(each.partition, each.offset) for each in left_out]

    def test_many_threads_may_share_a_publisher(self, topics: Topics, kafka_bootstrap: str) -> None:
        with ResyncPublisher() as publisher, ThreadPoolExecutor(8) as threads:
            sent = threads.map(lambda n: publisher.send([(f"M{n}", "S")], requested_by="job"), range(40))
            assert len(set(sent)) == 40
        assert len(read_topic(kafka_bootstrap, topics.requests)) == 40


class TestBrokerInTrouble:
    def test_a_broker_that_falls_silent_is_unreachable_for_sender_and_reader(
        self, own_kafka: Kafka, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        topics = create_topics(own_kafka.bootstrap)
        one_by_one = {"queued.min.messages": 1, "max.partition.fetch.bytes": 1}
        monkeypatch.setenv("RESYNC_KAFKA__PROPERTIES", json.dumps(one_by_one))
        monkeypatch.setenv("RESYNC_KAFKA__BOOTSTRAP_SERVERS", own_kafka.bootstrap)
        for name, value in topics.environment.items():
            monkeypatch.setenv(name, value)
        adjust(monkeypatch, "producer_tools.connection", "TOOLS", connect_seconds=1.0, delivery_milliseconds=2_000)
        adjust(monkeypatch, "producer_tools.topic_reader", "TOOLS", connect_seconds=1.0, stall_seconds=1.0)
        for _ in range(5):
            send_raw(own_kafka.bootstrap, topics.results, [result_record("r")])

        with ResyncPublisher(api_key=API_KEY) as publisher, ResyncResults() as results:
            publisher.open()
            own_kafka.pause()
            with pytest.raises(NotAcknowledgedError, match="may have written it"):
                publisher.send([("M", "S")], requested_by="job")
            with pytest.raises(UnreachableError):
                list(results)
            own_kafka.resume()


@pytest.mark.usefixtures("setup")
class TestRegistry:
    def test_requests_are_written_in_the_wire_format_once_their_schema_is_registered(
        self,
        topics: Topics,
        kafka_bootstrap: str,
        schema_registry_url: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        from schemas.avro.released import requests, results
        from schemas.registry.address import RegistryAddress
        from schemas.registry.client import SchemaRegistry
        from schemas.registry.questions import registration

        monkeypatch.setenv("RESYNC_SCHEMA_REGISTRY__URL", schema_registry_url)
        with (
            pytest.raises(MisconfiguredError, match="mirakl-resync-consumer schemas register"),
            ResyncPublisher() as publisher,
        ):
            publisher.open()
        with SchemaRegistry(RegistryAddress(schema_registry_url)) as registry:
            request_schema = registry.ask(registration(f"{topics.requests}-value", requests()[-1].text))
            result_schema = registry.ask(registration(f"{topics.results}-value", results()[-1].text))

        with ResyncPublisher() as publisher:
            publisher.send([("M", "S")], requested_by="job")
        (record,) = read_topic(kafka_bootstrap, topics.requests)
        assert record.value is not None
        assert b"\0" + request_schema.to_bytes(4, "big") == record.value[:5]

        body = result_record("framed").value or b""
        send_raw(kafka_bootstrap, topics.results, [RawRecord(b"\0" + result_schema.to_bytes(4, "big") + body[10:])])
        assert ["framed"] == [result.value.request_id for result in ResyncResults()]

    def test_a_registry_that_does_not_answer_is_unreachable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RESYNC_SCHEMA_REGISTRY__URL", "http://127.0.0.1:1")

        assert main(["send", "--product", "M:S"]) == 6
        with pytest.raises(UnreachableError), ResyncPublisher() as publisher:
            publisher.open()


def _abort(bootstrap: str, topics: Topics, record: RawRecord) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": f"{topics.group}-aborted"})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(topics.results, record.value, record.key)
    producer.flush(30)
    producer.abort_transaction(30)


def _next(results: ResyncResults) -> ReceivedResult:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if result := results.read(0.2):
            return result
    raise TimeoutError("no result within 20 s")
