"""Records of the requests topic as Kafka delivers them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

Headers: TypeAlias = Sequence[tuple[str, bytes | None]]


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
    problem: str | None
    """Reason why the record could not be read at all, not even its key and value."""
    size: int
    """Bytes of key, value and headers; header names count as characters."""


class ReadRange(NamedTuple):
    """Records read from a partition without interruption, for one assignment.

    All records of the log from ``begin`` to before ``end`` were delivered, in order: offsets missing between
    them are gaps of the log. ``begin`` is where the reader was told to read from, or the end of the range before.
    """

    epoch: int
    begin: int
    end: int
