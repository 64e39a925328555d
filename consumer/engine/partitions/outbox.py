"""From verdicts to transactions: one at a time, each takes all that waits.

Where transactions fail again and again, however that looks, results and dead letters travel apart: what one topic
refuses does not hold up the other. Of a kind that fails, each attempt takes half as many outcomes, until a single one
is left, which then goes behind all others: one record that a broker refuses holds up no other for long. The next
transaction is the probe; its pauses grow. Nothing is dropped: what is decided stays, and goes out once it may.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from consumer.domain.outcome import DeadLettered
from consumer.engine.clock import Instant
from consumer.engine.commands import Commit, PartitionCommit
from consumer.engine.events import TransactionTrouble
from consumer.engine.requests import Assignment, Request

GATHER_SECONDS = 0.02
"""Under load the broker is still finishing the previous transaction: this long, what waits gathers."""
ENOUGH = 2_000
"""Outcomes that are worth a transaction at once."""
MOST = 5_000
"""Outcomes of one partition in one transaction."""
BROKER_PATIENCE_SECONDS = 5.0
"""Outcomes that wait for longer than this without a commit mean that the broker is in trouble."""
FAILURES_TO_CLOSE = 3
"""Failed transactions in a row that are a trouble of ours; a broker that restarts costs one or two."""
RETRY_FACTOR = 2.0
LONGEST_RETRY_SECONDS = 10.0
"""Between two attempts, once they keep failing: so long may it take to notice that an operator has mended it."""
HURRIED_RETRY_SECONDS = 1.0
"""The same while partitions are given up or the service stops, which has an end of its own."""
GROWTH = 8
"""After a commit an attempt may take so many times more outcomes than before."""


class Outlet(StrEnum):
    """Where an outcome goes: each has a topic of its own, which may fail by itself."""

    RESULTS = "results"
    DEAD_LETTERS = "dead-letters"


@dataclass(slots=True)
class Health:
    """How the transactions of one outlet fare."""

    failures: int = 0
    """In a row."""
    failing_since: float | None = None
    most: int = MOST
    """Outcomes that an attempt takes, of all partitions, while it is below ``MOST``."""
    retry_at: float = float("-inf")
    hurried_at: float = float("-inf")
    message: str = ""
    """What an operator can do."""

    @property
    def sound(self) -> bool:
        return not self.failures and self.most >= MOST

    def failed(self, now: float, outcomes: int, message: str) -> None:
        self.failures += 1
        if self.failing_since is None:
            self.failing_since = now
        pause = min(LONGEST_RETRY_SECONDS, GATHER_SECONDS * RETRY_FACTOR ** min(self.failures, 32))
        self.retry_at = now + pause
        self.hurried_at = now + min(pause, HURRIED_RETRY_SECONDS)
        self.most = max(1, outcomes // 2)
        self.message = message

    def succeeded(self) -> None:
        self.failures, self.failing_since, self.message = 0, None, ""
        self.retry_at = self.hurried_at = float("-inf")
        self.most = min(MOST, GROWTH * self.most)

    def troubled(self, now: float) -> bool:
        """Tell whether this is more than a moment's trouble."""
        since = self.failing_since
        return self.failures >= FAILURES_TO_CLOSE or (since is not None and now - since > BROKER_PATIENCE_SECONDS)


class Outbox:
    """Cuts transactions. What is in the one that is in flight comes back if it aborts."""

    def __init__(self) -> None:
        self.out: Commit | None = None
        self.last_commit_at: float | None = None
        self.ended_at = float("-inf")
        self.waiting_since: float | None = None
        self.health = {outlet: Health() for outlet in Outlet}
        self.longest_metadata: int | None = None
        """Characters of a progress map that the brokers take, as far as their refusals tell; ``None``: any of ours."""
        self.maps_cut = 0
        """Progress maps that were cut short for that, ever."""
        self._tried: dict[int, int] = {}
        """Partition -> number of the last transaction in which its outcome failed alone."""
        self._number = 0

    def cut(self, at: Instant, assignments: Collection[Assignment], *, hurry: bool) -> Commit | None:
        """Return the next transaction, if one is due."""
        if self.out is not None:
            return None
        parts = (
            self._cut_all(at, assignments, hurry=hurry)
            if all(health.sound for health in self.health.values())
            else self._cut_apart(at, assignments, hurry=hurry)
        )
        if not parts:
            return None
        self._number += 1
        self.out = Commit(self._number, tuple(parts))
        return self.out

    @property
    def due_at(self) -> float:
        """When what waits has gathered for long enough."""
        return self.ended_at + GATHER_SECONDS

    def committed(self, at: Instant) -> None:
        """The transaction has committed."""
        outlets = self._outlets()
        self.out = None
        self.last_commit_at = self.ended_at = at.mono
        self.waiting_since = None
        for outlet in outlets or {Outlet.RESULTS}:  # without outcomes it was a probe, or progress only
            if not self.health[outlet].sound:
                self.health[outlet].succeeded()

    def aborted(self, at: Instant, trouble: TransactionTrouble | None) -> None:
        """The transaction had no effect, or nobody knows; ``trouble`` is ``None`` where it failed for no fault."""
        commit, outlets = self.out, self._outlets()
        self.out = None
        self.ended_at = at.mono
        if commit is None or trouble is None or (trouble.metadata_too_large and self._learn(commit)):
            return
        if Outlet.RESULTS in outlets or not outlets:
            self.waiting_since = None  # from here on the failures tell
        outcomes = sum(len(part.outcomes) for part in commit.partitions)
        for outlet in outlets or {Outlet.RESULTS}:
            self.health[outlet].failed(at.mono, outcomes, trouble.message)
        if outcomes == 1:
            self._tried |= {part.partition: commit.number for part in commit.partitions if part.outcomes}

    def failed_alone(self, commit: Commit) -> bool:
        """Tell whether a transaction that has failed carried one outcome only, which others need not wait for."""
        return commit.number in self._tried.values()

    def stuck(self, now: float) -> bool:
        """No transaction commits."""
        waiting = self.waiting_since
        return (waiting is not None and now - waiting > BROKER_PATIENCE_SECONDS) or self._results.troubled(now)

    @property
    def may_call(self) -> bool:
        """The last transaction with results has not failed: a call's result can be published, as far as is known."""
        return not self._results.failures

    @property
    def _results(self) -> Health:
        return self.health[Outlet.RESULTS]

    def _outlets(self) -> set[Outlet]:
        """Return where the outcomes go that are in flight."""
        return {outlet_of(request) for part in (self.out.partitions if self.out else ()) for request in part.outcomes}

    def _learn(self, commit: Commit) -> bool:
        """Have shorter maps from now on; ``False``: there was none to make shorter."""
        longest = max((len(part.metadata) for part in commit.partitions), default=0)
        if not longest:
            return False
        self.longest_metadata = longest // 2
        return True

    # -- all together ----------------------------------------------------------------------------------

    def _cut_all(self, at: Instant, assignments: Iterable[Assignment], *, hurry: bool) -> list[PartitionCommit]:
        ready = [assignment for assignment in assignments if _due(assignment)]
        if not ready:
            self.waiting_since = None
            return []
        if self.waiting_since is None:
            self.waiting_since = at.mono
        if not hurry and at.mono < self.due_at and sum(len(each.finished) for each in ready) < ENOUGH:
            return []
        parts = []
        for assignment in ready:
            outcomes = assignment.finished[:MOST]
            del assignment.finished[:MOST]
            parts.append(self._part(assignment, outcomes))
        return parts

    def _part(self, assignment: Assignment, outcomes: Sequence[Request]) -> PartitionCommit:
        offsets = (request.record.offset for request in outcomes)
        point = assignment.progress.preview(offsets, self.longest_metadata)
        self.maps_cut += point.cut
        return PartitionCommit(assignment.partition, assignment.epoch, point.offset, point.metadata, outcomes)

    # -- apart -----------------------------------------------------------------------------------------

    def _cut_apart(self, at: Instant, assignments: Collection[Assignment], *, hurry: bool) -> list[PartitionCommit]:
        """Cut a transaction of one outlet: one that fails first, where its next attempt is due."""
        if not any(outlet_of(request) is Outlet.RESULTS for each in assignments for request in each.finished):
            self.waiting_since = None
        if not hurry and at.mono < self.due_at:
            return []
        ordered = sorted(assignments, key=lambda each: self._tried.get(each.partition, 0))
        for outlet in sorted(Outlet, key=lambda each: self.health[each].sound):
            health = self.health[outlet]
            if at.mono < (health.hurried_at if hurry else health.retry_at):
                continue
            parts = self._take(ordered, outlet, health)
            if not parts and not health.sound:  # those that failed are another owner's by now
                if outlet is Outlet.RESULTS and health.failures:
                    parts = self._probe(assignments)
                else:
                    self.health[outlet] = Health()
            if parts:
                return self._waiting_from(parts, at)
        parts = [self._part(each, ()) for each in assignments if not each.finished and _due(each) and self.may_call]
        return self._waiting_from(parts, at)

    def _waiting_from(self, parts: list[PartitionCommit], at: Instant) -> list[PartitionCommit]:
        """Note when a transaction begins: one that hangs is noticed by that, whatever it carries."""
        if parts and self.waiting_since is None:
            self.waiting_since = at.mono
        return parts

    def _take(self, assignments: Iterable[Assignment], outlet: Outlet, health: Health) -> list[PartitionCommit]:
        parts = []
        left = health.most
        for assignment in assignments:
            most = MOST if health.sound else left
            outcomes = [request for request in assignment.finished if outlet_of(request) is outlet][:most]
            if outcomes:
                chosen = set(outcomes)
                assignment.finished[:] = [request for request in assignment.finished if request not in chosen]
                parts.append(self._part(assignment, outcomes))
                left -= len(outcomes)
            if left <= 0 and not health.sound:
                break
        return parts

    def _probe(self, assignments: Iterable[Assignment]) -> list[PartitionCommit]:
        """Commit the progress as it is: with no result left to publish, nothing else shows that a call makes sense."""
        return [self._part(each, ()) for each in assignments if not each.revoking][:1]


def outlet_of(request: Request) -> Outlet:
    """Return where the outcome of a decided request goes."""
    return Outlet.DEAD_LETTERS if isinstance(request.verdict, DeadLettered) else Outlet.RESULTS


def _due(assignment: Assignment) -> bool:
    """There are outcomes, or the log moved on without records and nothing is unfinished."""
    return bool(assignment.finished) or (
        not assignment.open
        and not assignment.waiting
        and assignment.progress.position > assignment.committed_offset >= 0
    )
