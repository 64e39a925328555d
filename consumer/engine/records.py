"""Records of the requests topic as Kafka delivers them."""

from collections.abc import Sequence
from dataclasses import InitVar, dataclass, field
from typing import NamedTuple, TypeAlias

Headers: TypeAlias = Sequence[tuple[str, bytes | None]]


def header_bytes(headers: Headers | None) -> int:
    """Return the bytes of all headers; names count as characters."""
    return sum(len(name) + len(value or b"") for name, value in headers or ())


@dataclass(slots=True, eq=False)
class Record:
    """One record of the requests topic as it was read: bytes, headers and place, none of it decoded."""

    partition: int
    offset: int
    timestamp: int
    """Milliseconds since the epoch by the clock of the producer or broker; negative: none."""
    key: bytes | None = field(repr=False)
    value: bytes | None = field(repr=False)
    headers: Headers | None = field(repr=False)  # the requester's API key is among them
    """``None`` where the names are not UTF-8. Records may share the object."""
    problem: str | None = None
    """Reason why the record could not be read at all, not even its key and value."""
    known_header_bytes: InitVar[int] = -1
    """``header_bytes`` of the headers; negative: to be counted."""
    size: int = field(init=False)
    """Bytes of key, value and headers; header names count as characters."""

    def __post_init__(self, known_header_bytes: int) -> None:
        headers = known_header_bytes if known_header_bytes >= 0 else header_bytes(self.headers)
        self.size = len(self.key or b"") + len(self.value or b"") + headers


class ReadRange(NamedTuple):
    """Records read from a partition without interruption, for one assignment.

    All records of the log from ``begin`` to before ``end`` were delivered, in order: offsets missing between
    them are gaps of the log. ``begin`` is where the reader was told to read from, or the end of the range before.
    """

    epoch: int
    begin: int
    end: int
