"""``mirakl-resync results`` on a real broker."""

import json
import time

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions

from producer_tools import ReceivedResult, ResyncResults
from producer_tools.cli import main
from tests.integration.producer_tools import result_record, tool
from tests.support.policies import adjust
from tests.support.records import RawRecord, send_raw
from tests.support.topics import Topics


@pytest.mark.usefixtures("tool_settings")
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
        self, tool_settings: dict[str, str], topics: Topics, kafka_bootstrap: str
    ) -> None:
        send_raw(kafka_bootstrap, topics.results, [result_record(f"r{n}") for n in range(2000)])
        program = tool(tool_settings, "results", "--output", "jsonl")
        assert program.stdout is not None
        program.stdout.readline()
        program.stdout.close()
        assert program.stderr is not None

        assert program.stderr.read() == ""
        program.wait(30)
        program.stderr.close()


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
