"""Sending: each record ends with an acknowledgement or with what to do."""

import time
from collections.abc import Iterator

import pytest
from confluent_kafka import KafkaError, KafkaException

from producer_tools.connection import Connection
from producer_tools.errors import InvalidRequestError, MissingRightError, NotAcknowledgedError, ResyncToolError
from producer_tools.sender import Acknowledgement, OutgoingRecord, RecordSender
from schemas.contract import Credential
from schemas.signature import Content, Signing
from tests.support.parts import wait_until
from tests.support.policies import adjust
from tests.unit.producer_tools.fake_kafka import FakeBroker, FakeProducer, fake_broker, settings

RECORD = OutgoingRecord(b"value", b"key", (("dj-api-key", b"hush"), ("empty", None)))


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeBroker]:
    hurried = {"sender_poll_seconds": 0.005, "renewal_seconds": 0.01, "trial_seconds": 0.3}
    adjust(monkeypatch, "producer_tools.sender", "TOOLS", **hurried)
    with fake_broker(monkeypatch, [("requests", 2)]) as broker:
        yield broker


def sender(max_value_bytes: int = 100, auth: Credential = Credential.KEY) -> RecordSender:
    return RecordSender(Connection(settings().kafka), "requests", max_value_bytes, auth=auth)


def test_a_record_is_written_as_it_is_and_acknowledged_with_its_place(broker: FakeBroker) -> None:
    with sender() as sending:
        where = sending.send(RECORD).result(5)

    (written,) = broker.topics["requests"][0]
    assert Acknowledgement("requests", 0, 0) == where
    assert (b"value", b"key", RECORD.headers) == (written.value_, written.key_, written.headers_)


def test_a_record_may_choose_its_partition_and_have_no_value(broker: FakeBroker) -> None:
    with sender() as sending:
        where = sending.send(OutgoingRecord(None, None, (), partition=1)).result(5)

    assert (1, None) == (where.partition, broker.topics["requests"][1][0].value_)


@pytest.mark.parametrize(
    ("code", "kind", "remedy"),
    [
        (KafkaError._MSG_TIMED_OUT, NotAcknowledgedError, "which is safe"),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, MissingRightError, r"write to requests\. Grant this user WRITE on the"),
        (KafkaError.MSG_SIZE_TOO_LARGE, InvalidRequestError, "--batch-size"),
    ],
)
def test_a_record_that_is_not_acknowledged_says_what_to_do(
    broker: FakeBroker, code: int, kind: type[ResyncToolError], remedy: str
) -> None:
    broker.deliveries = [KafkaError(code)]

    with sender() as sending, pytest.raises(kind, match=remedy):
        sending.send(RECORD).result(5)


def test_one_that_the_library_refuses_ends_its_future_and_no_other(broker: FakeBroker) -> None:
    with sender(max_value_bytes=10) as sending:
        large = sending.send(OutgoingRecord(b"x" * 100_000, None, ()))
        small = sending.send(RECORD)

        with pytest.raises(InvalidRequestError, match="larger than topic requests takes"):
            large.result(5)
        assert Acknowledgement("requests", 0, 0) == small.result(5)
    assert 1 == len(broker.topics["requests"][0])


def test_sending_waits_while_the_queue_is_full_and_offering_does_not(broker: FakeBroker) -> None:
    with sender() as sending:
        broker.full = 3
        assert 0 == sending.send(RECORD).result(5).offset
        broker.full = 1
        assert sending.offer(RECORD) is None
        offered = sending.offer(RECORD)
        assert offered is not None
        assert 1 == offered.result(5).offset


@pytest.mark.usefixtures("broker")
def test_an_offer_that_the_library_refuses_is_raised() -> None:
    with sender(max_value_bytes=10) as sending, pytest.raises(InvalidRequestError, match="larger"):
        sending.offer(OutgoingRecord(b"x" * 100_000, None, ()))


def test_a_producer_that_met_a_fatal_error_is_replaced_and_its_records_say_why(
    broker: FakeBroker, caplog: pytest.LogCaptureFixture
) -> None:
    """It takes no record any more: without another one, nothing could be sent until the process is started again."""
    refusal = (
        r"does not let us write to requests\. Grant this user WRITE on the topic\..*IDEMPOTENT_WRITE"
        r".* may have been written"  # it may have waited for another attempt
    )
    error = KafkaError(KafkaError.CLUSTER_AUTHORIZATION_FAILED)
    broker.answer = lambda _: broker.fatal.extend([error, error])  # while the record waits, and once more
    with sender() as sending:
        with pytest.raises(MissingRightError, match=refusal):
            sending.send(RECORD).result(5)
        broker.answer = None
        wait_until(lambda: 3 == len(broker.handles), timeout=5, what="a third producer")
        wait_until(lambda: sending.failure is None, timeout=5, what="a producer that is usable")

        assert Acknowledgement("requests", 0, 1) == sending.send(RECORD).result(5)
    assert 2 == len(caplog.messages), "the refusal, once, and its end"


def test_while_there_is_no_usable_producer_an_offer_is_refused_with_the_reason(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    adjust(monkeypatch, "producer_tools.sender", "TOOLS", renewal_seconds=60.0)
    with sender() as sending:
        broker.fatal = [KafkaError(KafkaError.CLUSTER_AUTHORIZATION_FAILED)]
        wait_until(lambda: sending.failure is not None, timeout=5, what="a failure")

        for _ in range(2):
            with pytest.raises(MissingRightError, match="Grant this user WRITE on the topic") as told:
                sending.offer(RECORD)
            assert "written" not in str(told.value), "it was refused"
        assert sending.failure is not None
        assert sending.failure.__traceback__ is None, "frames that hold the API key of a record"


def test_a_record_that_meets_a_fatal_error_before_the_thread_does_is_told_the_reason(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    poll = FakeProducer.poll

    def poll_late(self: FakeProducer, timeout: float) -> int:
        time.sleep(0.05)
        return poll(self, timeout)

    def refuse(*_: object, **__: object) -> None:
        broker.fatal = [KafkaError(KafkaError.CLUSTER_AUTHORIZATION_FAILED)]
        raise KafkaException(KafkaError(KafkaError._FATAL))

    monkeypatch.setattr(FakeProducer, "poll", poll_late)
    monkeypatch.setattr(FakeProducer, "produce", refuse)
    with sender() as sending, pytest.raises(MissingRightError, match="Grant this user WRITE on the topic"):
        sending.send(RECORD).result(5)


def test_a_fatal_error_while_closing_leaves_no_record_without_an_answer(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeProducer, "poll", lambda *_: 0)
    sending = sender()
    waiting = sending.send(RECORD)
    broker.fatal = [KafkaError(KafkaError.CLUSTER_AUTHORIZATION_FAILED)]
    sending.close()

    assert isinstance(waiting.exception(0), NotAcknowledgedError)


def test_closing_waits_for_what_was_sent(broker: FakeBroker) -> None:
    sending = sender()
    waiting = [sending.send(RECORD) for _ in range(5)]
    sending.close()

    assert list(range(5)) == [each.result(0).offset for each in waiting]
    producer = broker.handles[0]
    assert isinstance(producer, FakeProducer)
    assert not producer.purged


@pytest.mark.parametrize("fatal", [[], [KafkaError(KafkaError.CLUSTER_AUTHORIZATION_FAILED)]], ids=["", "fatal"])
def test_an_exception_drops_what_waits_and_each_of_it_hears(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch, fatal: list[KafkaError]
) -> None:
    """Also where a fatal error is met only then: it does not take the place of what was raised."""
    monkeypatch.setattr(FakeProducer, "poll", lambda *_: 0)
    waiting = []

    def interrupted() -> None:
        with sender() as sending:
            waiting.append(sending.send(RECORD))
            broker.fatal = fatal.copy()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert isinstance(waiting[0].exception(0), NotAcknowledgedError)
    producer = broker.handles[0]
    assert isinstance(producer, FakeProducer)
    assert producer.purged


@pytest.mark.usefixtures("broker")
def test_a_closed_one_sends_nothing_and_says_so() -> None:
    sending = sender()
    sending.close()
    sending.close()

    assert sending.offer(RECORD) is None
    with pytest.raises(ResyncToolError, match="closed"):
        sending.send(RECORD)


def test_no_repr_shows_a_key() -> None:
    assert "hush" not in repr(RECORD)


SIGNED = (
    ("__value_schema_id", b"\x00\x00\x00\x00\x07"),
    ("DJ-Client", b"SUPPLIER"),
    ("dj-client", b"OPERATOR"),
    ("traceparent", b"00-a"),
    ("dj-signature", b"of somebody else"),
)


@pytest.mark.parametrize("name", ["dj-api-key", "DJ-Api-Key"])
def test_a_sender_that_signs_lets_no_key_through(broker: FakeBroker, name: str) -> None:
    """Whatever the way in: each header of the key goes, a former signature too, and all others stay as they are."""
    record = OutgoingRecord(b"value", b"key", ((name, b"old"), *SIGNED, (name, b"hush")))
    expected = Signing("requests").header(b"hush", Content(b"\x00\x00\x00\x00\x07", b"OPERATOR", b"value"))

    with sender(auth=Credential.SIGNATURE) as sending:
        sending.send(record).result(5)
        offered = sending.offer(record)
        assert offered is not None
        offered.result(5)

    written = [each.headers_ for partition in broker.topics["requests"] for each in partition]
    assert [(*SIGNED[:-1], ("dj-signature", expected))] * 2 == [tuple(each or ()) for each in written]


def test_a_record_without_a_key_is_not_signed(broker: FakeBroker) -> None:
    with sender(auth=Credential.SIGNATURE) as sending:
        sending.send(OutgoingRecord(b"value", b"key", SIGNED[:-1])).result(5)

    (written,) = (each for partition in broker.topics["requests"] for each in partition)
    assert SIGNED[:-1] == tuple(written.headers_ or ())
