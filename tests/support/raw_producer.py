"""One record written with the bare Kafka protocol: what no client library lets through, such as names that are no text.

Sources: Kafka's documentation, "Protocol" (Produce v3) and "Message format" (record batch v2); RFC 3720, appendix B.4
(CRC-32C).
"""

import socket
import struct
import time
from collections.abc import Sequence

_PRODUCE, _VERSION = 0, 3
_CASTAGNOLI = 0x82F63B78


def produce_raw(
    bootstrap: str, topic: str, value: bytes | None, headers: Sequence[tuple[bytes, bytes | None]], partition: int = 0
) -> tuple[int, int]:
    """Write one record to a partition that ``bootstrap`` leads; its (partition, offset)."""
    batch = _batch(_record(value, headers), int(time.time() * 1000))
    partitions = struct.pack(">iii", 1, partition, len(batch)) + batch
    body = struct.pack(">hhii", -1, -1, 10_000, 1) + _text(topic) + partitions
    request = struct.pack(">hhi", _PRODUCE, _VERSION, 1) + _text("raw") + body
    host, port = bootstrap.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=10) as broker, broker.makefile("rb") as answers:
        broker.sendall(struct.pack(">i", len(request)) + request)
        answer = answers.read(struct.unpack(">i", answers.read(4))[0])
    error, offset = struct.unpack_from(">hq", answer, 4 + 4 + 2 + len(topic.encode()) + 4 + 4)
    assert error == 0
    return partition, offset


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
