"""Messages become records, and share what producers repeat."""

from confluent_kafka import Message

from consumer.adapters.kafka.records import RecordReader


def test_records_in_a_row_with_equal_headers_share_them() -> None:
    reader = RecordReader()

    records = [reader.record_of(_message(key)) for key in (b"one", b"one", b"other", b"one")]

    assert [[("dj-api-key", key)] for key in (b"one", b"one", b"other", b"one")] == [each.headers for each in records]
    assert records[0].headers is records[1].headers
    assert [20, 20, 22, 20] == [each.size for each in records]


def test_a_record_without_headers_has_none_of_the_one_before() -> None:
    reader = RecordReader()
    reader.record_of(_message(b"one"))

    record = reader.record_of(Message(topic="t", partition=0, offset=1, value=b"value", timestamp=(1, 7)))

    assert ((), 5, 7) == (tuple(record.headers or ()), record.size, record.timestamp)


def _message(key: bytes) -> Message:
    headers: list[tuple[str, str | bytes | None]] = [("dj-api-key", key)]
    return Message(topic="t", partition=0, offset=0, key=b"ke", value=b"value", headers=headers, timestamp=(1, 7))
