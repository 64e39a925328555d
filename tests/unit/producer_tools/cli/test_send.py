"""``send`` from its options to its exit code, over topics in memory."""

import json
from collections.abc import Iterator

import pytest
from confluent_kafka import KafkaError

from producer_tools.cli import main
from schemas.avro.codec import RequestDecoder, ResultEncoder
from tests.support.builders import result_fields
from tests.support.policies import adjust
from tests.unit.producer_tools.fake_kafka import ENVIRON, FakeBroker, FakeMessage, fake_broker

FAILED = {
    "status": "FAILED",
    "synchronizedProducts": 0,
    "trackingIds": [],
    "error": {
        "httpStatus": 404,
        "code": "CLIENT_SPECIFICATION_NOT_FOUND",
        "message": "There is none: name another.",
        "retryable": False,
        "availableClientSpecificationIds": [],
        "fieldErrors": [],
    },
}


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeBroker]:
    """Answer each request by the first letter of its first product: M, F (failed), N (never)."""
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    adjust(monkeypatch, "producer_tools.sender", "TOOLS", sender_poll_seconds=0.005)
    adjust(monkeypatch, "producer_tools.cli.dispatch", "TOOLS", poll_seconds=0.02)
    decoder = RequestDecoder(registry=False, max_bytes=1 << 20)

    def answer(message: FakeMessage) -> None:
        request = decoder.decode(message.value_)
        assert isinstance(request, dict)
        first = request["products"][0]["miraklProductId"][0]
        if first != "N":
            fields = result_fields(request["requestId"], **(FAILED if first == "F" else {}))
            key = request["requestId"].encode()
            faked.add("results", 0, value_=ResultEncoder().encode(fields), key_=key)

    with fake_broker(monkeypatch, [("requests", 1), ("results", 1)]) as faked:
        faked.answer = answer
        yield faked


def send(*products: str, more: tuple[str, ...] = ()) -> int:
    arguments = [argument for product in products for argument in ("--product", f"{product}:S")]
    return main(["send", *arguments, "--batch-size", "1", *more])


@pytest.mark.usefixtures("broker")
@pytest.mark.parametrize(
    ("products", "code"),
    [(("M1", "M2"), 0), (("M1", "F2"), 3), (("F1", "F2"), 4), (("M1", "N2"), 5), (("F1", "N2"), 5)],
)
def test_the_exit_code_tells_what_came_of_the_requests(
    products: tuple[str, ...], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code == send(*products, more=("--wait", "--timeout", "200ms", "--output", "jsonl"))

    told = capsys.readouterr()
    answers = [json.loads(line) for line in told.out.splitlines()]
    assert 2 == len(answers)
    assert ("N2" in products) == ([None] == [each["status"] for each in answers if each["status"] is None])
    assert ("no result within 200ms" in told.err) == (code == 5)


@pytest.mark.usefixtures("broker")
def test_a_table_says_why_a_request_failed(capsys: pytest.CaptureFixture[str]) -> None:
    assert 4 == send("F", more=("--wait",))

    assert "CLIENT_SPECIFICATION_NOT_FOUND: There is none: name another." in capsys.readouterr().out


def test_without_waiting_each_acknowledged_request_is_listed(
    broker: FakeBroker, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 0 == send("M1", "M2", more=("--output", "ids"))

    ids = capsys.readouterr().out.split()
    assert 2 == len(ids) == len(set(ids)) == len(broker.topics["requests"][0])


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, "Grant this user WRITE on the topic."),
        (KafkaError.MSG_SIZE_TOO_LARGE, "ask for fewer products at once"),
    ],
)
@pytest.mark.parametrize("more", [(), ("--wait",)], ids=["", "wait"])
def test_a_command_that_could_write_nothing_says_so_with_its_exit_code(
    broker: FakeBroker, capsys: pytest.CaptureFixture[str], error: int, remedy: str, more: tuple[str, ...]
) -> None:
    broker.deliveries = [KafkaError(error)] * 2

    assert 2 == send("N1", "N2", more=more)

    assert remedy in capsys.readouterr().err


def test_what_is_not_acknowledged_is_named_with_its_remedy(
    broker: FakeBroker, capsys: pytest.CaptureFixture[str]
) -> None:
    broker.deliveries = [None, KafkaError(KafkaError._MSG_TIMED_OUT)]

    assert 6 == send("M1", "M2", more=("--output", "ids"))

    told = capsys.readouterr()
    assert 1 == len(told.out.split())
    assert "1 of 2 requests not acknowledged: Kafka did not confirm the record in time" in told.err
    assert "Send it again, which is safe." in told.err


def test_brokers_that_are_gone_while_waiting_end_with_6(broker: FakeBroker, capsys: pytest.CaptureFixture[str]) -> None:
    answer = broker.answer

    def gone(message: FakeMessage) -> None:
        assert answer is not None
        answer(message)
        broker.failures = [KafkaError(KafkaError._TRANSPORT)] * 10_000

    broker.answer = gone

    assert 6 == send("N", more=("--wait", "--timeout", "100ms"))
    assert "Cannot reach Kafka" in capsys.readouterr().err


@pytest.mark.usefixtures("broker")
def test_a_dry_run_shows_the_requests_and_sends_none(broker: FakeBroker, capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == send("M1", "M2", more=("--dry-run", "--output", "json"))

    shown = json.loads(capsys.readouterr().out)
    assert [["M1"], ["M2"]] == [[each["miraklProductId"] for each in one["products"]] for one in shown]
    assert [] == broker.topics["requests"][0]
    assert [] == broker.handles
