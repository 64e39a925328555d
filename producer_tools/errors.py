"""Errors of sending requests and of reading results.

::

    ResyncToolError
    ├── InvalidRequestError        the request is wrong; every mistake with its place
    ├── MisconfiguredError         a setting, a topic, a schema or a permission has to be corrected first
    │   ├── MissingTopicError      a topic does not exist
    │   └── MissingRightError      this user may not read or write a topic
    └── UnreachableError           the broker or the registry is unreachable; the same may work later
        └── NotAcknowledgedError   the broker did not confirm a record, which may or may not have been written

Each has ``problem`` and ``remedy`` (`schemas.errors`), and contains no secret.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from schemas.errors import ExplainedError
from schemas.exit_codes import ExitCode
from schemas.explanation import sentences

_NUMBERS: Final = re.compile(r"([0-9]+)")


class ResyncToolError(ExplainedError):
    """The root of the library's errors: catch this one to catch them all. Defects are not among them."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake in the input, with the place where a person finds it."""

    where: str
    """``products.csv line 7``, ``--product 2``, ``products[3]``; empty: the request as a whole."""
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


def in_order(mistakes: Iterable[Mistake]) -> list[Mistake]:
    """Return the mistakes by place: alphabetically, but numbers by value, so that line 9 comes before line 10."""
    return sorted(
        mistakes, key=lambda mistake: [(len(part) * part.isdigit(), part) for part in _NUMBERS.split(mistake.where)]
    )


class InvalidRequestError(ResyncToolError, ValueError):
    """The request would be answered ``VALIDATION_FAILED``, or the input cannot be read at all."""

    exit_code = ExitCode.USAGE

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(in_order(mistakes))
        super().__init__("\n".join(sentences(str(mistake)) for mistake in self.mistakes))


class MisconfiguredError(ResyncToolError):
    """A setting, a topic, a schema or a permission has to be corrected; a retry does not help."""

    exit_code = ExitCode.USAGE


class MissingTopicError(MisconfiguredError):
    """A topic does not exist. The remedy names the command that creates it and the settings of its name."""


class MissingRightError(MisconfiguredError):
    """Kafka refuses a topic to this user. The remedy names the right to grant.

    It also says where a record that is not acknowledged may have been written before the right was revoked.
    """


class UnreachableError(ResyncToolError, ConnectionError):
    """The broker or the schema registry is unreachable."""

    exit_code = ExitCode.UNREACHABLE


class NotAcknowledgedError(UnreachableError):
    """The broker did not confirm a record in time, and may have written it. Sending it again is safe."""
