"""The progress of a partition: which records are finished, in whatever order.

The committed offset of a partition is its lowest unfinished record. Which offsets beyond it are done travels
in the commit's metadata, so that the next owner of the partition skips them::

    metadata = base85( magic 'm' | version 1 | form r/z | CRC-32 of the rest | base, 8 bytes | bitmap )

Bit *i* of the bitmap (least significant bit first) stands for the offset ``base + i``; ``base`` repeats the
committed offset, so that a map can never be read against another one. The bitmap is raw or deflated,
whichever is shorter. Where the topic's id is known, the bitmap is deflated and ``t`` and the id follow it: readers of
former releases ignore what stands behind the deflated bitmap. A window of 20,000 offsets is at most 2,500 bytes of
bitmap and 3,169 characters of metadata; a broker takes 4,096 bytes (``offset.metadata.max.bytes``), of which the client
library uses one.

Three views of one partition must not be confused: what was *received*, what is *finished* (its outcome is in
a transaction that has committed) and what a transaction *would* make finished. Only ``finish`` moves the
second; ``preview`` computes the third and changes nothing.
"""

import base64
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field

WINDOW = 20_000
"""Offsets between the lowest unfinished record and the highest received one, at most."""

_MAGIC = b"m\x01"
_RAW, _DEFLATED = b"r", b"z"
_HEADER = len(_MAGIC) + 1 + 4 + 8
_TOPIC_MARK = b"t"
_DEFLATE_FROM = 64
"""Bytes of bitmap below which deflating cannot pay."""

_ABSENT, _OPEN, _DONE = 0, 1, 2
_TO_DIGITS = bytes([ord("0"), ord("0"), ord("1")]) + bytes(253)


class ProgressMapIgnoredError(ValueError):
    """The metadata is not a progress map for this offset: foreign, corrupt or implausible."""


@dataclass(frozen=True, slots=True)
class CommitPoint:
    """Commit of a partition: its lowest unfinished offset, and the map of finished offsets beyond it."""

    offset: int
    metadata: str
    cut: bool = field(default=False, compare=False)
    """The map leaves finished offsets out, since a longer one would be refused."""

    def includes(self, other: "CommitPoint") -> bool:
        """Return whether whatever ``other`` says is finished is finished here as well.

        Of two different offsets the higher one counts, whatever the maps say; a map that cannot be read counts as none.
        """
        if self.offset != other.offset or self.metadata == other.metadata:
            return self.offset >= other.offset
        finished, expected = (int.from_bytes(_bitmap_of(each), "little") for each in (self, other))
        return not expected & ~finished


def _bitmap_of(point: CommitPoint) -> bytes:
    try:
        return decode_map(point.offset, point.metadata)
    except ProgressMapIgnoredError:
        return b""


def encode_map(base: int, bitmap: bytes, longest: int | None = None, topic_id: bytes = b"") -> str:
    """Write a progress map; an empty bitmap needs none, unless there is a topic id to be kept.

    ``longest``: characters that the map may have; a longer one is cut to its lowest offsets. What it leaves out is
    repeated after a crash, and nothing is lost.
    """
    text = _encode_whole(base, bitmap, topic_id)
    while longest is not None and len(text) > longest:
        if bitmap:
            bitmap = bitmap[: min(len(bitmap) - 1, len(bitmap) * longest // len(text))].rstrip(b"\0")
        else:
            topic_id = b""
        text = _encode_whole(base, bitmap, topic_id)
    return text


def _encode_whole(base: int, bitmap: bytes, topic_id: bytes) -> str:
    if not bitmap and not topic_id:
        return ""
    form, body = _RAW, bitmap
    if topic_id:
        form, body = _DEFLATED, zlib.compress(bitmap, 1) + _TOPIC_MARK + topic_id
    elif len(bitmap) >= _DEFLATE_FROM:
        deflated = zlib.compress(bitmap, 1)
        if len(deflated) < len(bitmap):
            form, body = _DEFLATED, deflated
    payload = base.to_bytes(8, "big") + body
    return base64.b85encode(_MAGIC + form + zlib.crc32(form + payload).to_bytes(4, "big") + payload).decode("ascii")


def decode_map(base: int, metadata: str) -> bytes:
    """Read the bitmap that was committed with the offset ``base``; no metadata is an empty bitmap.

    Raises ``ProgressMapIgnoredError`` where the metadata is not a map that this program wrote for this offset.
    """
    if not metadata:
        return b""
    form, body = _checked(base, metadata)
    return _bounded(body if form == _RAW else _inflate(body)[0])


def topic_id_of(base: int, metadata: str) -> bytes:
    """Read the id of the topic that the offset ``base`` was committed for; empty where the metadata has none."""
    try:
        form, body = _checked(base, metadata)
        behind = b"" if form == _RAW else _inflate(body)[1]
    except ProgressMapIgnoredError:
        return b""
    return behind[len(_TOPIC_MARK) :] if behind.startswith(_TOPIC_MARK) else b""


def _checked(base: int, metadata: str) -> tuple[bytes, bytes]:
    """Return the form and the bitmap in this form, with the bytes behind it."""
    try:
        blob = base64.b85decode(metadata)
    except ValueError as error:
        raise ProgressMapIgnoredError("not base85") from error
    magic, form, checksum, payload = blob[:2], blob[2:3], blob[3:7], blob[7:]
    if magic != _MAGIC or len(blob) < _HEADER or form not in (_RAW, _DEFLATED):
        raise ProgressMapIgnoredError("not a progress map of a version known here")
    if zlib.crc32(form + payload).to_bytes(4, "big") != checksum:
        raise ProgressMapIgnoredError("checksum mismatch")
    if int.from_bytes(payload[:8], "big") != base:
        raise ProgressMapIgnoredError("made for another committed offset")
    return form, payload[8:]


def _inflate(body: bytes) -> tuple[bytes, bytes]:
    """Return the bitmap and the bytes behind it."""
    stream = zlib.decompressobj()
    try:
        bitmap = stream.decompress(body, WINDOW // 8 + 1)
    except zlib.error as error:
        raise ProgressMapIgnoredError("cannot be inflated") from error
    if not stream.eof:
        raise ProgressMapIgnoredError("wider than the window, or cut short")
    return bitmap, stream.unused_data


def _bounded(bitmap: bytes) -> bytes:
    if len(bitmap) > WINDOW // 8:
        raise ProgressMapIgnoredError("wider than the window")
    return bitmap


class Progress:
    """The progress of one assignment of one partition.

    ``base`` is the lowest unfinished offset as last committed, ``position`` the offset after the last one
    received, ``read_to`` the end of what is known of the log. Gaps in the log (transaction markers, compaction)
    are offsets below ``read_to`` that never arrive: they hold nothing up.

    Nothing beyond ``read_to`` is ever committed, and only ``extend`` raises it, by ranges that continue what was
    read before. So a reader that leaves records out, for whatever reason, cannot lose them.
    """

    __slots__ = ("_flags", "_origin", "_topic_id", "base", "position", "read_to")

    def __init__(self, base: int, bitmap: bytes = b"", topic_id: bytes = b"") -> None:
        self._topic_id = topic_id
        self.base = base
        self.position = base
        self.read_to = base
        self._origin = base
        digits = format(int.from_bytes(bitmap, "little"), "b")[::-1].encode() if any(bitmap) else b""
        self._flags = bytearray(digits.translate(_DIGITS_TO_FLAGS))

    @property
    def used(self) -> int:
        """Offsets of the window in use: from the lowest unfinished one to the position. At most ``WINDOW``."""
        return self.position - self.base

    @property
    def unfinished(self) -> int:
        """Number of records that were received and are not finished. Costs a scan of the window."""
        return self._flags.count(_OPEN)

    def extend(self, begin: int, end: int) -> bool:
        """Note that the log was read without interruption from ``begin`` to before ``end``.

        ``False`` if that leaves a hole behind what was read before: then nothing changes.
        """
        if begin > self.read_to:
            return False
        self.read_to = max(self.read_to, end)
        return True

    def receive(self, offset: int) -> bool:
        """Note a record; ``False`` if it is finished already or was received before.

        Raises ``ValueError`` if it lies beyond what was read.
        """
        if offset >= self.read_to:
            raise ValueError(f"offset {offset} was received, but the log is read to {self.read_to} only")
        if offset < self.position:
            return False
        index = offset - self._origin
        if index > 2 * WINDOW:
            self._leap(offset)
            index = offset - self._origin
        self.position = offset + 1
        flags = self._flags
        if index >= len(flags):
            flags += bytes(index + 1 - len(flags))
        elif flags[index] != _ABSENT:
            return False
        flags[index] = _OPEN
        return True

    def give_back(self, offset: int) -> None:
        """Undo the last ``receive``: the record will be received again later."""
        self._flags[offset - self._origin] = _ABSENT
        self.position = offset

    def advance(self) -> None:
        """Note that all records that were read have been received: the rest of the range is a gap."""
        self.position = max(self.position, self.read_to)

    def drop_unreceived(self) -> None:
        """Note that records that were read and not received will be read again, by this consumer or another."""
        self.read_to = self.position

    def preview(self, offsets: Iterable[int], longest: int | None = None) -> CommitPoint:
        """Return what a transaction that finishes ``offsets`` has to commit, and change nothing.

        An aborted transaction therefore leaves no trace. ``longest``: see ``encode_map``.
        """
        flags, origin = bytearray(self._flags), self._origin
        for offset in offsets:
            flags[offset - origin] = _DONE
        base = self._lowest_open(flags)
        start = base - origin
        last = flags.rfind(_DONE, start)
        bitmap = _bitmap(flags[start : last + 1]) if last >= start else b""
        metadata = encode_map(base, bitmap, None, self._topic_id)
        if longest is None or len(metadata) <= longest:
            return CommitPoint(base, metadata)
        return CommitPoint(base, encode_map(base, bitmap, longest, self._topic_id), cut=bool(bitmap))

    def finish(self, offsets: Iterable[int]) -> None:
        """Note that the transaction with these outcomes has committed. Nothing else makes a record finished."""
        flags, origin = self._flags, self._origin
        for offset in offsets:
            flags[offset - origin] = _DONE
        self.base = self._lowest_open(flags)
        self._trim()

    def _lowest_open(self, flags: bytearray) -> int:
        index = flags.find(_OPEN, self.base - self._origin)
        return self.position if index < 0 else self._origin + index

    def _leap(self, offset: int) -> None:
        """Skip a wide gap of the log before ``offset``, if nothing below it is open."""
        if _OPEN not in self._flags:
            self.base = self._origin = self.position = offset
            self._flags.clear()

    def _trim(self) -> None:
        """Forget what lies below the base, now and then."""
        below = self.base - self._origin
        if below >= WINDOW // 2:
            del self._flags[:below]
            self._origin = self.base


_DIGITS_TO_FLAGS = bytes.maketrans(b"01", bytes([_ABSENT, _DONE]))


def _bitmap(flags: bytearray) -> bytes:
    digits = flags.translate(_TO_DIGITS)[::-1]
    return int(bytes(digits), 2).to_bytes((len(digits) + 7) // 8, "little")
