"""The library of the tools on a real broker: publishers, subscribers, and parts that do not answer."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from producer_tools import (
    MisconfiguredError,
    NotAcknowledgedError,
    ResyncPublisher,
    ResyncResults,
    UndecodableResult,
    UnreachableError,
    new_request,
)
from producer_tools.cli import main
from tests.integration.producer_tools import API_KEY, result_record
from tests.support.kafka import Kafka
from tests.support.policies import adjust
from tests.support.records import RawRecord, read_topic, send_raw
from tests.support.topics import Topics, create_topics


@pytest.mark.usefixtures("tool_settings")
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


@pytest.mark.usefixtures("tool_settings")
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
