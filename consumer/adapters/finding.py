"""Findings of checks, each with its remedy."""

from dataclasses import dataclass
from enum import StrEnum

from schemas.explanation import sentences


class Level(StrEnum):
    """Severity of a finding."""

    OK = "OK"
    WARN = "WARN"
    """Everything works, with a risk."""
    FAIL = "FAIL"
    """Something will not work."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of ``doctor``: how severe it is, what it is about, what was found and what to do."""

    level: Level
    subject: str
    """``database``, ``topic mirakl.…``."""
    message: str
    """The problem, or what is in order; a sentence."""
    remedy: str = ""
    """The remedy, a sentence; empty: there is nothing to do."""
    unreachable: bool = False
    """A broker or a registry is unreachable."""

    def __str__(self) -> str:
        return f"{self.subject}: {sentences(self.message, self.remedy)}"
