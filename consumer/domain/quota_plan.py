"""Messages about the concurrent calls of client specifications between the processes of a replica, as JSON lines.

The parent sends plans, the processes send reports. Both are of the same release, so the form needs no version.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Division:
    """The processes, by their numbers in ascending order, that share what a quota allows beyond one for each process.

    While that changes, ``following`` are those to come, and every process has the smaller of its two parts.
    """

    users: tuple[int, ...]
    following: tuple[int, ...] | None = None

    @property
    def wanted(self) -> tuple[int, ...]:
        """The users once the change, if there is one, is complete."""
        return self.users if self.following is None else self.following


@dataclass(frozen=True, slots=True)
class QuotaPlan:
    """The division of all concurrent calls. Later plans have greater ``number``s; the first is 1."""

    number: int
    divisions: Mapping[str, Division]
    """By the id of the client specification; where there is none, all processes are users."""

    def line(self) -> bytes:
        """Return the plan as a line."""
        divisions = {id_: (each.users, each.following) for id_, each in self.divisions.items()}
        return _line([self.number, divisions])

    @classmethod
    def read(cls, line: bytes) -> "QuotaPlan":
        """Return the plan that a line holds. Raises ``ValueError`` if it is cut off."""
        number, divisions = json.loads(line)
        return cls(
            number,
            {
                id_: Division(tuple(users), None if following is None else tuple(following))
                for id_, (users, following) in divisions.items()
            },
        )


@dataclass(frozen=True, slots=True)
class QuotaReport:
    """State of one process that the division of the quotas depends on. Ids are those of client specifications."""

    plan: int
    """Number of the newest plan that the process keeps to; 0: of none."""
    working: frozenset[str]
    """Requests for these wait for a call, or have done so of late: the process can use a larger part."""
    exceeding: frozenset[str]
    """It still has more calls in flight for these than its part of that plan allows."""
    settled: bool
    """Otherwise it has just got its partitions, and may have work for any client."""

    def line(self) -> bytes:
        """Return the report as a line."""
        return _line([self.plan, sorted(self.working), sorted(self.exceeding), self.settled])

    @classmethod
    def read(cls, line: bytes) -> "QuotaReport":
        """Return the report that a line holds. Raises ``ValueError`` if it is cut off."""
        plan, working, exceeding, settled = json.loads(line)
        return cls(plan, frozenset(working), frozenset(exceeding), settled)


def _line(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"
