"""From verdicts to transactions: one at a time, each takes all that waits."""

from collections.abc import Iterable, Sequence

from consumer.engine.commands import Commit, Instant, PartitionCommit
from consumer.engine.work import Assignment, Request

GATHER_SECONDS = 0.02
"""Under load the broker is still finishing the previous transaction: this long, what waits gathers."""
ENOUGH = 2_000
"""Outcomes that are worth a transaction at once."""
MOST = 5_000
"""Outcomes of one partition in one transaction."""
BROKER_PATIENCE_SECONDS = 5.0
"""Outcomes that wait for longer than this without a commit mean that the broker is in trouble."""


class Outbox:
    """Cuts transactions. What is in the one that is out comes back if it aborts."""

    def __init__(self) -> None:
        self.out: Commit | None = None
        self.last_commit_at: float | None = None
        self.ended_at = float("-inf")
        self.waiting_since: float | None = None
        self._number = 0

    def cut(self, at: Instant, assignments: Iterable[Assignment], *, hurry: bool) -> Commit | None:
        """Give the next transaction, if one is due."""
        if self.out is not None:
            return None
        ready = [assignment for assignment in assignments if _due(assignment)]
        if not ready:
            self.waiting_since = None
            return None
        if self.waiting_since is None:
            self.waiting_since = at.mono
        if not hurry and at.mono < self.due_at and sum(len(each.finished) for each in ready) < ENOUGH:
            return None
        self._number += 1
        self.out = Commit(self._number, tuple(_partition_commit(assignment) for assignment in ready))
        return self.out

    @property
    def due_at(self) -> float:
        """When what waits has gathered for long enough."""
        return self.ended_at + GATHER_SECONDS

    def committed(self, at: Instant) -> None:
        """The transaction is through."""
        self.out = None
        self.last_commit_at = self.ended_at = at.mono
        self.waiting_since = None

    def aborted(self, at: Instant) -> None:
        """The transaction is surely without effect, or nobody knows."""
        self.out = None
        self.ended_at = at.mono

    def stuck(self, now: float) -> bool:
        """No transaction gets through."""
        return self.waiting_since is not None and now - self.waiting_since > BROKER_PATIENCE_SECONDS


def _due(assignment: Assignment) -> bool:
    """There are outcomes, or the log moved on without records and nothing is unfinished."""
    return bool(assignment.finished) or (
        not assignment.open
        and not assignment.waiting
        and assignment.progress.position > assignment.committed_offset >= 0
    )


def _partition_commit(assignment: Assignment) -> PartitionCommit:
    outcomes: Sequence[Request] = assignment.finished[:MOST]
    del assignment.finished[:MOST]
    point = assignment.progress.preview(request.record.offset for request in outcomes)
    return PartitionCommit(assignment.partition, assignment.epoch, point.offset, point.metadata, outcomes)
