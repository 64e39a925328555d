"""``mirakl-resync send`` on a real broker; a responder stands for the service."""

import json
import os
import signal
from pathlib import Path

import pytest

from producer_tools.cli import main
from schemas.avro.codec import RequestDecoder
from tests.integration.producer_tools import API_KEY, tool
from tests.support.policies import adjust
from tests.support.records import read_topic
from tests.support.topics import Topics

SPECIFICATION = "0B6FF0DD-6E62-4F9F-8C6B-0F2E5A4E9D11"


@pytest.mark.usefixtures("tool_settings")
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


@pytest.mark.usefixtures("tool_settings", "responder")
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
        tool_settings: dict[str, str],
    ) -> None:
        program = tool(
            tool_settings,
            "send",
            "--product",
            "M1:S",
            "--product",
            "N2:S",
            "--batch-size",
            "1",
            "--wait",
            "--output",
            "jsonl",
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
