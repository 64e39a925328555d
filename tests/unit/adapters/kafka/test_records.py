"""Messages become records, and share what producers repeat."""

from confluent_kafka import KafkaError, Message

from consumer.adapters.kafka.records import RecordReader
from consumer.engine.records import Record


def test_records_in_a_row_with_equal_headers_share_them() -> None:
    reader = RecordReader()

    records = _read(reader, *[_message(key) for key in (b"one", b"one", b"other", b"one")])

    assert [[("dj-api-key", key)] for key in (b"one", b"one", b"other", b"one")] == [each.headers for each in records]
    assert records[0].headers is records[1].headers
    assert [20, 20, 22, 20] == [each.size for each in records]


def test_a_record_without_headers_has_none_of_the_one_before() -> None:
    bare = Message(topic="t", partition=0, offset=1, value=b"value", timestamp=(1, 7))

    _, record = _read(RecordReader(), _message(b"one"), bare)

    assert ((), 5, 7) == (tuple(record.headers or ()), record.size, record.timestamp)


def test_an_error_stays_a_message_in_its_place_and_counts_no_bytes() -> None:
    reader = RecordReader()
    error = Message(topic="t", partition=0, offset=1, error=KafkaError(KafkaError._PARTITION_EOF))

    before, between, behind = reader.read([_message(b"one"), error, _message(b"other")])

    assert between is error
    assert [20, 22] == [each.size for each in (before, behind) if isinstance(each, Record)]
    assert 42 == reader.bytes_read


def _read(reader: RecordReader, *messages: Message) -> list[Record]:
    return [each for each in reader.read(messages) if isinstance(each, Record)]


def _message(key: bytes) -> Message:
    headers: list[tuple[str, str | bytes | None]] = [("dj-api-key", key)]
    return Message(topic="t", partition=0, offset=0, key=b"ke", value=b"value", headers=headers, timestamp=(1, 7))
