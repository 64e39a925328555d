"""What can go wrong when asking for a resynchronization, or when reading what came of it.

::

    ResyncToolError
    ├── InvalidRequest         what was to be sent is wrong; every mistake with its place
    ├── MisconfiguredError     a setting, a topic, a schema or a permission has to be put right first
    │   └── MissingTopicError  a topic
    ├── UnreachableError       the broker or the registry does not answer; the same later may work
    └── NotAcknowledgedError   the broker did not confirm a record: taken in or not, nobody knows

Each text is one sentence or two that say what to do, and holds no secret.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

_NUMBERS: Final = re.compile(r"([0-9]+)")


class ResyncToolError(Exception):
    """The root: catch this to catch them all."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong with the input, and where."""

    where: str
    """``products.csv line 7``, ``--product 2``, ``products[3]``; empty: the request as a whole."""
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


def in_order(mistakes: Iterable[Mistake]) -> list[Mistake]:
    """As they stand in the input: places in alphabetical order, but their numbers by value."""
    return sorted(
        mistakes, key=lambda mistake: [(len(part) * part.isdigit(), part) for part in _NUMBERS.split(mistake.where)]
    )


class InvalidRequest(ResyncToolError, ValueError):  # noqa: N818  reads as what it says: the request is invalid
    """The input would be answered ``VALIDATION_FAILED``, or could not be read at all."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(in_order(mistakes))
        super().__init__("\n".join(map(str, self.mistakes)))


class MisconfiguredError(ResyncToolError):
    """Asking again changes nothing before somebody changes a setting, a topic, a schema or a permission."""


class MissingTopicError(MisconfiguredError):
    """A topic does not exist."""


class UnreachableError(ResyncToolError, ConnectionError):
    """The broker or the schema registry does not answer."""


class NotAcknowledgedError(UnreachableError):
    """The broker did not confirm a record in time. It may have taken it in: asking again is harmless."""
