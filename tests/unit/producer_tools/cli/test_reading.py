"""``results`` and ``dlq`` from their options to their exit codes, over topics in memory."""

import json
from collections.abc import Iterator

import pytest
from confluent_kafka import KafkaError

from producer_tools.cli import main
from schemas.avro.codec import ResultEncoder
from tests.support.builders import result_fields
from tests.support.policies import adjust
from tests.unit.producer_tools.fake_kafka import ENVIRON, FakeBroker, fake_broker

FIELDS = {
    *("partition", "offset", "reason", "message", "topic", "request_partition", "request_offset"),
    *("tenant", "redrive_count", "dead_lettered_at"),
}
"""CONTRACT.md, "Commands": the JSON field names of ``dlq list``."""


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeBroker]:
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    adjust(monkeypatch, "producer_tools.sender", "TOOLS", sender_poll_seconds=0.005)
    with fake_broker(monkeypatch, [("requests", 1), ("results", 2), ("dlq", 1)]) as faked:
        yield faked


def add_letter(broker: FakeBroker, tenant: bytes | None = b"acme", topic: bytes = b"requests") -> None:
    original = broker.add("requests", 0)
    headers = [
        ("dj-api-key", b"t0p-s3cret"),
        ("dlq.reason", b"UNREADABLE"),
        ("dlq.message", b"why"),
        ("dlq.topic", topic),
        ("dlq.partition", b"0"),
        ("dlq.offset", b"%d" % original.offset_),
    ]
    broker.add("dlq", 0, headers_=headers if tenant is None else [*headers, ("dlq.tenant", tenant)])


@pytest.mark.parametrize("form", ["table", "json", "jsonl"])
def test_results_are_shown_in_each_form(broker: FakeBroker, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(2):
        value = ResultEncoder().encode(result_fields(f"r{number}"))
        broker.add("results", number, value_=value, key_=f"r{number}".encode())

    assert 0 == main(["results", "--output", form])

    shown = capsys.readouterr().out
    match form:
        case "table":
            ids = [line.split()[0] for line in shown.splitlines()[1:]]
        case "json":
            ids = [each["requestId"] for each in json.loads(shown)]
        case _:
            ids = [json.loads(line)["requestId"] for line in shown.splitlines()]
    assert ["r0", "r1"] == sorted(ids)


@pytest.mark.usefixtures("broker")
def test_no_results_are_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == main(["results", "--request-id", "r1", "--output", "json"])

    assert ("[]\n", "no results for r1\n") == capsys.readouterr()


def test_a_limit_ends_the_reading(broker: FakeBroker, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(5):
        broker.add("results", 0, value_=ResultEncoder().encode(result_fields(f"r{number}")))

    assert 0 == main(["results", "--limit", "2", "--follow", "--output", "jsonl"])

    assert 2 == len(capsys.readouterr().out.splitlines())


def test_dead_letters_are_listed_with_the_fields_of_the_contract(
    broker: FakeBroker, capsys: pytest.CaptureFixture[str]
) -> None:
    add_letter(broker)
    add_letter(broker, tenant=None)

    assert 0 == main(["dlq", "list", "--output", "json"])
    first, second = json.loads(capsys.readouterr().out)
    assert FIELDS == set(first)
    assert ("acme", None) == (first["tenant"], second["tenant"])

    assert 0 == main(["dlq", "list", "--reason", "UNKNOWN_SCHEMA"])
    assert ("", "no dead letters\n") == capsys.readouterr()


@pytest.mark.parametrize("form", ["table", "json"])
def test_a_dead_letter_is_shown_without_its_key(
    broker: FakeBroker, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    add_letter(broker)

    assert 0 == main(["dlq", "show", "0:0", "--output", form])

    shown = capsys.readouterr().out
    assert "UNREADABLE" in shown
    assert "***" in shown
    assert "s3cret" not in shown


def test_one_that_is_not_there_is_a_mistake_of_the_caller(
    broker: FakeBroker, capsys: pytest.CaptureFixture[str]
) -> None:
    add_letter(broker)

    assert 2 == main(["dlq", "show", "0:7"])
    assert "0:7: there is no dead letter" in capsys.readouterr().err


def test_redriving_sends_what_can_be_sent_once(broker: FakeBroker, capsys: pytest.CaptureFixture[str]) -> None:
    add_letter(broker)
    before = len(broker.topics["requests"][0])

    assert 0 == main(["dlq", "redrive", "--all", "--yes"])
    assert 0 == main(["dlq", "redrive", "--all", "--yes"])

    assert before + 1 == len(broker.topics["requests"][0])
    assert "0 of 1 dead letters can be sent to requests" in capsys.readouterr().err


@pytest.mark.parametrize(("letters", "code"), [(["requests", "elsewhere"], 3), (["elsewhere"], 4)])
def test_what_cannot_be_redriven_decides_about_the_exit_code(broker: FakeBroker, letters: list[str], code: int) -> None:
    for topic in letters:
        add_letter(broker, topic=topic.encode())

    assert code == main(["dlq", "redrive", "--all", "--yes"])


def test_without_a_terminal_redriving_needs_a_yes(broker: FakeBroker, capsys: pytest.CaptureFixture[str]) -> None:
    add_letter(broker)
    before = len(broker.topics["requests"][0])

    assert 2 == main(["dlq", "redrive", "0:0"])
    assert "add --yes" in capsys.readouterr().err
    assert 0 == main(["dlq", "redrive", "0:0", "--dry-run"])
    assert "goes to partition 0" in capsys.readouterr().out
    assert before == len(broker.topics["requests"][0])


def test_a_dead_letter_that_is_not_acknowledged_is_named(
    broker: FakeBroker, capsys: pytest.CaptureFixture[str]
) -> None:
    add_letter(broker)
    add_letter(broker)
    broker.deliveries = [None, KafkaError(KafkaError._MSG_TIMED_OUT)]

    assert 6 == main(["dlq", "redrive", "--all", "--yes"])

    told = capsys.readouterr()
    assert "not acknowledged: 0:1" in told.err
    assert ["0:0"] == [line.split()[0] for line in told.out.splitlines()[1:]]
