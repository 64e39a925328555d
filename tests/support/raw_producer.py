"""Requests in the bare Kafka protocol that no client library makes: names that are no text, transactions that hang.

Sources: Kafka's documentation, "Protocol" (Produce v3, InitProducerId v0, TxnOffsetCommit v0) and "Message format"
(record batch v2); RFC 3720, appendix B.4 (CRC-32C).
"""

import socket
import struct
import time
from collections.abc import Sequence

_PRODUCE, _PRODUCE_VERSION = 0, 3
_INIT_PRODUCER_ID, _TXN_OFFSET_COMMIT = 22, 28
_CONCURRENT_TRANSACTIONS = 51
_CASTAGNOLI = 0x82F63B78


def produce_raw(
    bootstrap: str, topic: str, value: bytes | None, headers: Sequence[tuple[bytes, bytes | None]], partition: int = 0
) -> tuple[int, int]:
    """Write one record to a partition that ``bootstrap`` leads; its (partition, offset)."""
    batch = _batch(_record(value, headers), int(time.time() * 1000))
    partitions = struct.pack(">iii", 1, partition, len(batch)) + batch
    body = struct.pack(">hhii", -1, -1, 10_000, 1) + _text(topic) + partitions
    answer = _ask(bootstrap, _PRODUCE, _PRODUCE_VERSION, body)
    error, offset = struct.unpack_from(">hq", answer, 4 + 2 + len(topic.encode()) + 4 + 4)
    assert error == 0
    return partition, offset


def hang_transaction(bootstrap: str, transactional_id: str, group: str, topic: str, partition: int) -> None:
    """Leave a commit of offset 0 in a transaction that the coordinator of transactions knows nothing of.

    It fences the id's producer. The broker has to run with ``transaction.partition.verification.enable=false``.
    """
    while True:
        answer = _ask(bootstrap, _INIT_PRODUCER_ID, 0, _text(transactional_id) + struct.pack(">i", 60_000))
        error, producer_id, epoch = struct.unpack_from(">hqh", answer, 4)
        if error != _CONCURRENT_TRANSACTIONS:  # the former one is still being finished
            break
    assert error == 0, error
    body = _text(transactional_id) + _text(group) + struct.pack(">qhi", producer_id, epoch, 1) + _text(topic)
    body += struct.pack(">iiq", 1, partition, 0) + _text("")
    answer = _ask(bootstrap, _TXN_OFFSET_COMMIT, 0, body)
    (error,) = struct.unpack(">h", answer[-2:])
    assert error == 0, error


def _ask(bootstrap: str, api: int, version: int, body: bytes) -> bytes:
    """Send one request; return the answer without its correlation id."""
    request = struct.pack(">hhi", api, version, 1) + _text("raw") + body
    host, port = bootstrap.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=10) as broker, broker.makefile("rb") as answers:
        broker.sendall(struct.pack(">i", len(request)) + request)
        return answers.read(struct.unpack(">i", answers.read(4))[0])[4:]


def _record(value: bytes | None, headers: Sequence[tuple[bytes, bytes | None]]) -> bytes:
    fields = b"\x00" + _varint(0) + _varint(0) + _varint(-1) + _bytes(value) + _varint(len(headers))
    fields += b"".join(_varint(len(name)) + name + _bytes(content) for name, content in headers)
    return _varint(len(fields)) + fields


def _batch(record: bytes, timestamp: int) -> bytes:
    checked = struct.pack(">hiqqqhii", 0, 0, timestamp, timestamp, -1, -1, -1, 1) + record
    return struct.pack(">qiibI", 0, 4 + 1 + 4 + len(checked), -1, 2, _crc32c(checked)) + checked


def _text(text: str) -> bytes:
    return struct.pack(">h", len(text.encode())) + text.encode()


def _bytes(content: bytes | None) -> bytes:
    return _varint(-1) if content is None else _varint(len(content)) + content


def _varint(number: int) -> bytes:
    rest, groups = (number << 1) ^ (number >> 31), bytearray()
    while rest > 0x7F:
        groups.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes((*groups, rest))


def _crc32c(content: bytes) -> int:
    checksum = 0xFFFFFFFF
    for byte in content:
        checksum ^= byte
        for _ in range(8):
            checksum = (checksum >> 1) ^ (_CASTAGNOLI & -(checksum & 1))
    return checksum ^ 0xFFFFFFFF
