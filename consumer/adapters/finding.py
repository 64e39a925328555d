"""What a check found, and what to do about it."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is."""

    OK = "OK"
    WARN = "WARN"
    """All works, with a risk."""
    FAIL = "FAIL"
    """Something will not work."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of ``doctor``."""

    level: Level
    subject: str
    """``database``, ``topic mirakl.…``."""
    message: str
    """What was found, for people."""
    remedy: str = ""
    """What to do about it; empty when all is well."""
    unreachable: bool = False
    """A broker or a registry does not answer."""
