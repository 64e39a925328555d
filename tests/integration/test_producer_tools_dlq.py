"""Dead letters on a real broker: listed, shown, and sent once more."""

import json
import time
from collections.abc import Iterable

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import TopicPartition

from producer_tools.cli import main
from tests.support.records import RawRecord, ReadRecord, read_topic, send_raw
from tests.support.topics import Topics

API_KEY = "a-key-that-must-never-be-shown"


@pytest.fixture(autouse=True)
def setup(kafka_bootstrap: str, topics: Topics, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"RESYNC_KAFKA__BOOTSTRAP_SERVERS": kafka_bootstrap, "RESYNC_API_KEY": API_KEY, **topics.environment}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)


class Letters:
    """Dead letters as the service writes them, each from a record that really is in the requests topic."""

    def __init__(self, bootstrap: str, topics: Topics) -> None:
        self._bootstrap = bootstrap
        self._topics = topics

    def add(
        self,
        value: bytes | None = b"rubbish",
        *,
        reason: str = "UNREADABLE",
        headers: Iterable[tuple[str, bytes | None]] = (),
        request_partition: int = 1,
        partition: int = 0,
        tenant: str | None = "acme",
        **replaced: str,
    ) -> str:
        """The dead letter's coordinates."""
        original = RawRecord(value, b"key", partition=request_partition)
        ((_, offset),) = send_raw(self._bootstrap, self._topics.requests, [original])
        own = {
            "dlq.reason": reason,
            "dlq.message": "It begins with 72.",
            "dlq.topic": self._topics.requests,
            "dlq.partition": str(request_partition),
            "dlq.offset": str(offset),
        }
        own |= {"dlq.tenant": tenant} if tenant else {}
        own |= {f"dlq.{name}": text for name, text in replaced.items()}
        carried = (*headers, *((name, text.encode()) for name, text in own.items()))
        letter = RawRecord(value, b"key", carried, partition)
        ((at_partition, at_offset),) = send_raw(self._bootstrap, self._topics.dead_letters, [letter])
        return f"{at_partition}:{at_offset}"

    def redriven(self) -> list[ReadRecord]:
        """What was sent to the requests topic once more."""
        records = read_topic(self._bootstrap, self._topics.requests)
        return [record for record in records if record.header("dlq.redrive-of")]


@pytest.fixture
def letters(kafka_bootstrap: str, topics: Topics) -> Letters:
    return Letters(kafka_bootstrap, topics)


class TestList:
    def test_the_json_has_the_names_of_the_contract(
        self, letters: Letters, topics: Topics, capsys: pytest.CaptureFixture[str]
    ) -> None:
        letters.add(headers=[("dlq.redrive-count", b"2")], request_partition=3, partition=2)

        assert main(["dlq", "list", "--output", "json"]) == 0

        (letter,) = json.loads(capsys.readouterr().out)
        assert letter.pop("dead_lettered_at").endswith("Z")
        assert {
            "partition": 2,
            "offset": 0,
            "reason": "UNREADABLE",
            "message": "It begins with 72.",
            "topic": topics.requests,
            "request_partition": 3,
            "request_offset": 0,
            "tenant": "acme",
            "redrive_count": 2,
        } == letter

    def test_reason_and_limit_choose(self, letters: Letters, capsys: pytest.CaptureFixture[str]) -> None:
        for _ in range(3):
            letters.add()
            letters.add(reason="UNKNOWN_SCHEMA")

        assert main(["dlq", "list", "--reason", "UNKNOWN_SCHEMA", "--limit", "2", "--output", "json"]) == 0
        assert ["UNKNOWN_SCHEMA"] * 2 == [letter["reason"] for letter in json.loads(capsys.readouterr().out)]

    def test_since_leaves_out_what_is_older(self, letters: Letters, capsys: pytest.CaptureFixture[str]) -> None:
        letters.add()
        time.sleep(1.2)
        letters.add(reason="UNKNOWN_SCHEMA")

        assert main(["dlq", "list", "--since", "1s", "--output", "json"]) == 0
        assert ["UNKNOWN_SCHEMA"] == [letter["reason"] for letter in json.loads(capsys.readouterr().out)]

    def test_a_record_without_a_value_is_listed_too(self, letters: Letters, capsys: pytest.CaptureFixture[str]) -> None:
        coordinates = letters.add(None)

        assert main(["dlq", "list"]) == 0
        assert coordinates in capsys.readouterr().out

    def test_no_header_ends_it_whatever_it_says(self, letters: Letters, capsys: pytest.CaptureFixture[str]) -> None:
        huge = "9" * 5_000
        letters.add(reason="\x1b[2J\u202e", partition=0, offset=huge, message="\x9b1m\u2066")
        letters.add(headers=[("dlq.redrive-count", huge.encode())])

        assert main(["dlq", "list", "--output", "json"]) == 0
        out = capsys.readouterr().out
        assert out.replace("\n", "").isprintable()
        first, second = json.loads(out)
        assert (None, "\x1b[2J\u202e") == (first["request_offset"], first["reason"])
        assert 0 == second["redrive_count"]
        for output in ("table", "json"):
            assert main(["dlq", "show", "0:0", "--output", output]) == 0
            assert capsys.readouterr().out.replace("\n", "").isprintable()
        assert main(["dlq", "redrive", "--all", "--dry-run"]) == 3
        assert capsys.readouterr().out.replace("\n", "").isprintable()


class TestShow:
    def test_what_other_people_wrote_cannot_steer_the_terminal_nor_show_a_key(
        self, letters: Letters, capsys: pytest.CaptureFixture[str]
    ) -> None:
        coordinates = letters.add(b"\x1b[2Jvalue", headers=[("x", b"\x1b[31mred"), ("DJ-API-KEY", b"their-key")])

        assert main(["dlq", "show", coordinates]) == 0

        shown = capsys.readouterr().out
        assert "\x1b" not in shown
        assert "their-key" not in shown
        assert "x: \\x1b[31mred" in shown
        assert "1b 5b 32 4a 76 61 6c 75 65" in shown

    def test_the_json_has_the_value_whole(self, letters: Letters, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["dlq", "show", letters.add(b"\xff\x00"), "--output", "json"]) == 0
        assert json.loads(capsys.readouterr().out)["value_base64"] == "/wA="

    @pytest.mark.parametrize("coordinates", ["0:7", "99:0"])
    def test_where_there_is_none_it_says_so(self, coordinates: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["dlq", "show", coordinates]) == 2
        assert f"{coordinates}: there is no dead letter, or no longer" in capsys.readouterr().err


class TestRedrive:
    def test_the_original_goes_back_where_it_came_from_under_the_callers_key(self, letters: Letters) -> None:
        coordinates = letters.add(
            headers=[("trace", b"1"), ("trace", b"2"), ("none", None), ("dlq.redrive-count", b"4"), ("dj-client", b"X")]
        )

        assert main(["dlq", "redrive", coordinates, "--yes"]) == 0

        (record,) = letters.redriven()
        assert (b"rubbish", b"key", 1) == (record.value, record.key, record.partition)
        assert [
            ("trace", b"1"),
            ("trace", b"2"),
            ("none", None),
            ("dj-client", b"OPERATOR"),
            ("dj-api-key", API_KEY.encode()),
            ("dlq.redrive-count", b"5"),
            ("dlq.redrive-of", coordinates.encode()),
        ] == list(record.headers)

    def test_each_is_sent_at_most_once_unless_again(self, letters: Letters, capsys: pytest.CaptureFixture[str]) -> None:
        first, second = letters.add(), letters.add()

        assert main(["dlq", "redrive", first, "--yes"]) == 0
        assert main(["dlq", "redrive", "--all", "--yes"]) == 0
        assert main(["dlq", "redrive", "--all", "--yes"]) == 0
        assert [first, second] == [record.header("dlq.redrive-of") for record in letters.redriven()]
        assert "redriven before" in capsys.readouterr().err
        assert main(["dlq", "redrive", first, "--again", "--yes"]) == 0
        assert [first, second, first] == [record.header("dlq.redrive-of") for record in letters.redriven()]

    def test_it_is_shown_and_not_sent_where_nobody_can_be_asked_or_in_a_dry_run(
        self, letters: Letters, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        coordinates = letters.add()

        assert main(["dlq", "redrive", coordinates]) == 2
        told = capsys.readouterr().err
        assert coordinates in told
        assert "add --yes" in told
        monkeypatch.delenv("RESYNC_API_KEY")
        assert main(["dlq", "redrive", "--all", "--dry-run"]) == 0
        assert coordinates in capsys.readouterr().out
        assert letters.redriven() == []

    def test_what_cannot_be_sent_says_why_and_does_not_stop_the_rest(
        self, letters: Letters, topics: Topics, kafka_bootstrap: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        letters.add(None, headers=[("dlq.value-omitted", b"true")])
        send_raw(kafka_bootstrap, topics.dead_letters, [RawRecord(b"foreign", partition=0)])
        good = letters.add()

        assert main(["dlq", "redrive", "--all", "--yes"]) == 3

        told = capsys.readouterr().err
        assert "its value was too large for the dead-letter topic and is gone" in told
        assert "the service did not write it" in told
        assert [good] == [record.header("dlq.redrive-of") for record in letters.redriven()]

    def test_what_a_stranger_wrote_does_not_get_the_callers_authority_by_accident(
        self, letters: Letters, capsys: pytest.CaptureFixture[str]
    ) -> None:
        stranger = letters.add(b"a request without a key", tenant=None)
        known = letters.add()

        assert main(["dlq", "redrive", "--all", "--dry-run"]) == 3
        plan = capsys.readouterr().out.splitlines()
        assert any(line.startswith(stranger) and "key unknown" in line and "--unverified" in line for line in plan)
        assert any(line.startswith(known) and "acme" in line for line in plan)

        assert main(["dlq", "redrive", stranger, "--again", "--yes"]) == 4
        assert main(["dlq", "redrive", "--all", "--yes"]) == 3
        assert [known] == [record.header("dlq.redrive-of") for record in letters.redriven()]
        assert main(["dlq", "redrive", "--all", "--unverified", "--yes"]) == 0
        assert [known, stranger] == [record.header("dlq.redrive-of") for record in letters.redriven()]

    def test_only_the_reason_that_was_asked_for(self, letters: Letters) -> None:
        letters.add()
        wanted = letters.add(reason="UNKNOWN_SCHEMA")

        assert main(["dlq", "redrive", "--all", "--reason", "UNKNOWN_SCHEMA", "--yes"]) == 0
        assert [wanted] == [record.header("dlq.redrive-of") for record in letters.redriven()]

    def test_what_the_requests_topic_no_longer_tells_of_is_sent_only_again(
        self, letters: Letters, topics: Topics, kafka_bootstrap: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        coordinates = letters.add()
        letters.add()
        admin = AdminClient({"bootstrap.servers": kafka_bootstrap})
        for deleted in admin.delete_records([TopicPartition(topics.requests, 1, 2)]).values():
            deleted.result(10)

        assert main(["dlq", "redrive", coordinates, "--yes"]) == 4
        assert "may have been redriven" in capsys.readouterr().err
        assert main(["dlq", "redrive", coordinates, "--again", "--yes"]) == 0
        assert [coordinates] == [record.header("dlq.redrive-of") for record in letters.redriven()]

    def test_one_from_another_topic_names_the_setting(
        self, letters: Letters, topics: Topics, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        coordinates = letters.add()
        monkeypatch.setenv("RESYNC_TOPICS__REQUESTS", topics.results + ".other")

        assert main(["dlq", "redrive", coordinates, "--dry-run"]) == 4
        assert f"set RESYNC_TOPICS__REQUESTS={topics.requests}" in capsys.readouterr().out

    def test_unknown_coordinates_send_nothing(self, letters: Letters, capsys: pytest.CaptureFixture[str]) -> None:
        coordinates = letters.add()

        assert main(["dlq", "redrive", coordinates, "0:99", "--yes"]) == 2
        assert "0:99: there is no dead letter" in capsys.readouterr().err
        assert letters.redriven() == []
