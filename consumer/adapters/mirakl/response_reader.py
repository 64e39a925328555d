"""One HTTP/1.1 response, sans-IO: bytes in, head and body out.

As lenient as curl, since a response that was understood decides more than one that was refused for its form: odd header
lines are skipped, ``Transfer-Encoding`` may be repeated, lines may end with a bare LF. That is safe here. Nothing is
forwarded, and a connection is only used again after an answer without any doubt about its end (RFC 9112, section 6.3).
"""

import re
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final


@dataclass(frozen=True, slots=True)
class AnswerLimits:
    """Limits of one response. Each is far beyond honest responses and keeps hostile ones cheap."""

    received_bytes: int = 512 * 1024
    """Everything: status lines, headers, chunk framing, 1xx answers, body."""
    head_bytes: int = 100 * 1024
    """Of the status line and headers of one answer, as in curl."""
    header_lines: int = 1000
    """Lines of one head. Each costs about 1 us."""
    informational: int = 16
    """1xx answers before the final one. Real servers send one or two."""
    chunk_lines: int = 1024
    """Lines of chunk framing and trailers, two per chunk. Each costs 2 us. Servers send chunks of 1 KB and more."""
    line_bytes: int = 16 * 1024
    """Of one line of chunk framing, extensions included."""


class BrokenAnswerError(Exception):
    """The bytes are not a complete HTTP/1.1 response within the limits, so the outcome of the call is unknown."""


@dataclass(frozen=True, slots=True)
class AnswerHead:
    """The status and the header fields of the final answer; informational ones are skipped."""

    status: int
    headers: list[tuple[bytes, bytes]] = field(repr=False)  # a hostile Mirakl may send our credential back


class _Framing(Enum):
    """Framing of a body: how its end is found."""

    LENGTH = auto()
    CHUNKED = auto()
    CONNECTION = auto()
    """By the end of the connection."""
    UNKNOWN = auto()
    """Contradictory lengths: everything is read, and is never known to be complete."""


_LIMITS: Final = AnswerLimits()
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([0-9])[ \t]+([0-9]{3})(?![^ \t\r])")
_HEAD_END: Final = re.compile(rb"\n\r?\n")
_FIELD_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CHUNK_SIZE: Final = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,16})[ \t\r]*(?:;|$)")
_LENGTH: Final = re.compile(rb"[0-9]{1,18}")
_START: Final = b"HTTP/"
_SWITCHING_PROTOCOLS: Final = 101
_FIRST_FINAL: Final = 200
_BODILESS: Final = (204, 304)


class AnswerReader:
    """One answer: ``receive`` takes bytes (none: the connection has ended), ``head`` and ``body`` return their meaning.

    All raise ``BrokenAnswerError``; what was understood of the body before that has been returned.
    """

    def __init__(self, limits: AnswerLimits = _LIMITS) -> None:
        self._limits = limits
        self._buffer = bytearray()
        self._received = 0
        self._searched = 0
        self._informational = 0
        self._ended = False
        self._framing = _Framing.UNKNOWN
        self._left = 0
        """Bytes of the body, or of the chunk, that are still to come."""
        self._chunk_lines = 0
        self._chunk_ends = False
        self._in_trailers = False
        self._keeps_alive = False
        self._broken: str | None = None
        self.complete = False

    @property
    def reusable(self) -> bool:
        """Whether the connection may carry another request: the answer is complete and nothing came behind it."""
        return self.complete and self._keeps_alive and not self._buffer and not self._ended

    @property
    def more(self) -> bool:
        """Whether bytes have arrived behind what was read so far."""
        return bool(self._buffer)

    def receive(self, data: bytes) -> None:
        """Append bytes that came over the connection; none: it was closed."""
        self._received += len(data)
        if self._received > self._limits.received_bytes:
            raise BrokenAnswerError(f"longer than {self._limits.received_bytes} bytes")
        self._ended = self._ended or not data
        self._buffer += data

    def head(self) -> AnswerHead | None:
        """Return the head of the final answer; ``None``: more bytes are needed. Raises ``BrokenAnswerError``."""
        while (lines := self._head_lines()) is not None:
            match = _STATUS_LINE.match(lines[0])
            if match is None:
                raise BrokenAnswerError("no HTTP/1.1 status line")
            status = int(match[2])
            if status >= _FIRST_FINAL:
                head = AnswerHead(status, _header_fields(lines))
                self._frame(head, persistent=match[1] != b"0")
                return head
            self._informational += 1
            if status == _SWITCHING_PROTOCOLS or self._informational > self._limits.informational:
                raise BrokenAnswerError("too many 1xx answers, or another protocol")
        if self._ended:
            raise BrokenAnswerError("the connection ended before the head was complete")
        return None

    def body(self) -> bytes:
        """Return the next piece of the body; empty: more bytes are needed, or it is ``complete``."""
        if self._broken is not None:
            raise BrokenAnswerError(self._broken)
        if self._framing is _Framing.CHUNKED:
            piece = self._chunks()
        elif self._framing is _Framing.LENGTH:
            piece = self._taken(self._left)
            self._left -= len(piece)
            self.complete = not self._left
        else:
            piece = self._taken(len(self._buffer))
            self.complete = self._ended and self._framing is _Framing.CONNECTION
        if self._ended and not self.complete and self._broken is None:
            self._broken = "the connection ended before the body was complete"
        if self._broken is not None and not piece:
            raise BrokenAnswerError(self._broken)
        return piece

    def _head_lines(self) -> list[bytes] | None:
        buffer = self._buffer
        if buffer.startswith((b"\r", b"\n")):  # a blank line after the last answer
            del buffer[: len(buffer) - len(buffer.lstrip(b"\r\n"))]
        if not buffer.startswith(_START[: len(buffer)]):
            raise BrokenAnswerError("no HTTP/1.1 status line")
        end = _HEAD_END.search(buffer, max(0, self._searched - 2))
        if (len(buffer) if end is None else end.end()) > self._limits.head_bytes:
            raise BrokenAnswerError(f"a head longer than {self._limits.head_bytes} bytes")
        if end is None:
            self._searched = len(buffer)
            return None
        lines = bytes(buffer[: end.start()]).split(b"\n", self._limits.header_lines)
        if len(lines) > self._limits.header_lines:
            raise BrokenAnswerError(f"more than {self._limits.header_lines} header lines")
        del buffer[: end.end()]
        self._searched = 0
        return lines

    def _frame(self, head: AnswerHead, *, persistent: bool) -> None:
        codings = _tokens(head, b"transfer-encoding") - {b"identity"}
        lengths = _tokens(head, b"content-length")
        self._keeps_alive = persistent and b"close" not in _tokens(head, b"connection")
        if head.status in _BODILESS:
            self._framing, self.complete = _Framing.LENGTH, True
        elif b"chunked" in codings:
            self._framing = _Framing.CHUNKED
            self._keeps_alive &= not lengths and len(codings) == 1
        elif codings or not lengths:
            self._framing = _Framing.CONNECTION
        elif len(lengths) == 1 and _LENGTH.fullmatch(length := lengths.pop()):
            self._framing, self._left = _Framing.LENGTH, int(length)

    def _taken(self, count: int) -> bytes:
        piece = bytes(self._buffer[:count])
        del self._buffer[:count]
        return piece

    def _chunks(self) -> bytes:
        """Read all chunks that are there, in one go: the framing of a chunk costs less than handing it on."""
        buffer, pieces, at = self._buffer, [], 0
        while not self.complete and self._broken is None:
            if self._left:
                pieces.append(buffer[at : at + self._left])
                at += len(pieces[-1])
                self._left -= len(pieces[-1])
                if self._left:
                    break
                self._chunk_ends = True
            end = buffer.find(b"\n", at)
            if end < 0:
                if len(buffer) - at > self._limits.line_bytes:
                    self._broken = f"a line of chunk framing longer than {self._limits.line_bytes} bytes"
                break
            self._framing_line(bytes(buffer[at:end]))
            at = end + 1
        del buffer[:at]
        return b"".join(pieces)

    def _framing_line(self, line: bytes) -> None:
        self._chunk_lines += 1
        if self._chunk_lines > self._limits.chunk_lines:
            self._broken = f"more than {self._limits.chunk_lines} lines of chunk framing"
        elif self._in_trailers:
            self.complete = not line.strip(b"\r")
        elif self._chunk_ends:
            self._chunk_ends = False
            if line.strip(b"\r"):
                self._broken = "a chunk longer than it says"
        elif (size := _CHUNK_SIZE.match(line)) is None:
            self._broken = "a chunk without its size"
        else:
            self._left = int(size[1], 16)
            self._in_trailers = not self._left


def _header_fields(lines: list[bytes]) -> list[tuple[bytes, bytes]]:
    """Read the lines after the status line; a line that is not a field is skipped."""
    fields: list[tuple[bytes, bytes]] = []
    for line in lines[1:]:
        if line[:1] in (b" ", b"\t") and fields:  # the last value goes on: RFC 9112, section 5.2
            name, value = fields.pop()
            fields.append((name, (value + b" " + line.strip(b" \t\r"))))
            continue
        name, colon, value = line.partition(b":")
        name = name.rstrip(b" \t")
        if colon and _FIELD_NAME.fullmatch(name):
            fields.append((name, value.strip(b" \t\r")))
    return fields


def _tokens(head: AnswerHead, name: bytes) -> set[bytes]:
    """Return the members of a list field, however often it stands there."""
    values = b",".join(value for its_name, value in head.headers if its_name.lower() == name)
    return {token.strip(b" \t").lower() for token in values.split(b",")} - {b""}
