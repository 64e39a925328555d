"""Outbox: cuts transactions from verdicts, one at a time, each with all outcomes that wait.

While transactions fail, results and dead letters use separate ones, so a topic that refuses records does not hold up
the other. Of the kind that fails, each attempt takes half as many outcomes, until a single one is left, which then goes
behind all others: one record that a broker refuses does not hold up others for long. The next transaction is
the probe, after growing pauses. Nothing is dropped: a decided request stays until its outcome is published.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from consumer.domain.outcome import DeadLettered
from consumer.engine.clock import Instant
from consumer.engine.commands import Commit, PartitionCommit
from consumer.engine.events import TransactionTrouble
from consumer.engine.policy import Policy
from consumer.engine.requests import Assignment, Request


class Outlet(StrEnum):
    """Destination of an outcome: each has its own topic, which may fail independently."""

    RESULTS = "results"
    DEAD_LETTERS = "dead-letters"


@dataclass(slots=True)
class Health:
    """Recent transactions of one outlet, which determine the next pause. Times are monotonic seconds."""

    policy: Policy
    failures: int = 0
    """In a row."""
    failing_since: float | None = None
    most: int = field(init=False)
    """Outcomes that an attempt takes, of all partitions, while it is below the usual number."""
    retry_at: float = float("-inf")
    hurried_at: float = float("-inf")
    message: str = ""
    """Remedy for the operator."""

    def __post_init__(self) -> None:
        self.most = self.policy.transaction_most

    @property
    def sound(self) -> bool:
        return not self.failures and self.most >= self.policy.transaction_most

    def failed(self, now: float, outcomes: int, message: str) -> None:
        self.failures += 1
        if self.failing_since is None:
            self.failing_since = now
        policy = self.policy
        pause = min(policy.attempt_pause_most, policy.attempt_pause * policy.attempt_factor ** min(self.failures, 32))
        self.retry_at = now + pause
        self.hurried_at = now + min(pause, policy.attempt_pause_hurried)
        self.most = max(1, outcomes // 2)
        self.message = message

    def succeeded(self) -> None:
        self.failures, self.failing_since, self.message = 0, None, ""
        self.retry_at = self.hurried_at = float("-inf")
        self.most = min(self.policy.transaction_most, self.policy.attempt_growth * self.most)

    def troubled(self, now: float) -> bool:
        """Return whether the outlet's trouble has lasted for more than a moment, so that it is worth reporting."""
        since, policy = self.failing_since, self.policy
        return self.failures >= policy.failures_to_close or (since is not None and now - since > policy.broker_patience)


class Outbox:
    """Cuts transactions. The outcomes of the one in flight come back if it aborts."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.in_flight: Commit | None = None
        self.last_commit_at: float | None = None
        self.due_at = float("-inf")
        """Until when the waiting outcomes gather, unless there are enough: monotonic seconds."""
        self._began_at = float("-inf")
        self.unpublished_since: float | None = None
        self.health = {outlet: Health(policy) for outlet in Outlet}
        self.longest_metadata: int | None = None
        """Characters of a progress map that the brokers take, as far as their refusals tell; ``None``: any of ours."""
        self.maps_cut = 0
        """Progress maps that were cut short for that, ever."""
        self._tried: dict[int, int] = {}
        """Partition -> number of the last transaction in which its outcome failed alone."""
        self._number = 0

    def cut(self, at: Instant, assignments: Collection[Assignment], *, hurry: bool) -> Commit | None:
        """Return the next transaction, if one is due."""
        if self.in_flight is not None:
            return None
        parts = (
            self._cut_all(at, assignments, hurry=hurry)
            if all(health.sound for health in self.health.values())
            else self._cut_apart(at, assignments, hurry=hurry)
        )
        if not parts:
            return None
        self._number += 1
        self.in_flight = Commit(self._number, tuple(parts))
        self._began_at = at.mono
        return self.in_flight

    def committed(self, at: Instant) -> None:
        """Note that the transaction in flight has committed, which ends the trouble of its outlets."""
        troubled = {outlet for outlet, health in self.health.items() if not health.sound}
        if troubled:  # without outcomes it was a probe, or progress only
            for outlet in troubled & (self._outlets() or {Outlet.RESULTS}):
                self.health[outlet].succeeded()
        self.in_flight = None
        self.last_commit_at = at.mono
        self._gather(at)
        self.unpublished_since = None

    def aborted(self, at: Instant, trouble: TransactionTrouble | None) -> None:
        """Note that the transaction in flight had no known effect; ``trouble``: ``None`` for a rebalance."""
        commit, outlets = self.in_flight, self._outlets()
        self.in_flight = None
        self._gather(at)
        if commit is None or trouble is None or (trouble.metadata_too_large and self._learn(commit)):
            return
        if Outlet.RESULTS in outlets or not outlets:
            self.unpublished_since = None  # from here on the failures tell
        outcomes = sum(len(part.outcomes) for part in commit.partitions)
        for outlet in outlets or {Outlet.RESULTS}:
            self.health[outlet].failed(at.mono, outcomes, trouble.message)
        if outcomes == 1:
            self._tried |= {part.partition: commit.number for part in commit.partitions if part.outcomes}

    def _gather(self, at: Instant) -> None:
        policy = self._policy
        took = at.mono - self._began_at
        self.due_at = at.mono + min(policy.gather_most, max(policy.gather, policy.gather_share * took))

    def failed_alone(self, commit: Commit) -> bool:
        """Return whether a failed transaction carried one outcome only, which others need not wait for."""
        return commit.number in self._tried.values()

    def stuck(self, now: float) -> bool:
        """Return whether outcomes wait and nothing has committed for longer than ``broker_patience``."""
        since = self.unpublished_since
        return (since is not None and now - since > self._policy.broker_patience) or self._results.troubled(now)

    @property
    def may_call(self) -> bool:
        """Whether results can be published, as far as is known: the last transaction with any did not fail."""
        return not self._results.failures

    @property
    def _results(self) -> Health:
        return self.health[Outlet.RESULTS]

    def _outlets(self) -> set[Outlet]:
        """Return where the outcomes go that are in flight."""
        return {
            outlet_of(request)
            for part in (self.in_flight.partitions if self.in_flight else ())
            for request in part.outcomes
        }

    def _learn(self, commit: Commit) -> bool:
        """Make maps shorter from now on; ``False`` if there was none to make shorter."""
        longest = max((len(part.metadata) for part in commit.partitions), default=0)
        if not longest:
            return False
        self.longest_metadata = longest // 2
        return True

    # -- all together ----------------------------------------------------------------------------------

    def _cut_all(self, at: Instant, assignments: Iterable[Assignment], *, hurry: bool) -> list[PartitionCommit]:
        ready = [assignment for assignment in assignments if _due(assignment)]
        if not ready:
            self.unpublished_since = None
            return []
        if self.unpublished_since is None:
            self.unpublished_since = at.mono
        if (
            not hurry
            and at.mono < self.due_at
            and sum(len(each.decided) for each in ready) < self._policy.transaction_enough
        ):
            return []
        parts = []
        for assignment in ready:
            outcomes = assignment.decided[: self._policy.transaction_most]
            del assignment.decided[: self._policy.transaction_most]
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
        if not any(outlet_of(request) is Outlet.RESULTS for each in assignments for request in each.decided):
            self.unpublished_since = None
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
                    self.health[outlet] = Health(self._policy)
            if parts:
                return self._unpublished_from(parts, at)
        parts = [self._part(each, ()) for each in assignments if not each.decided and _due(each) and self.may_call]
        return self._unpublished_from(parts, at)

    def _unpublished_from(self, parts: list[PartitionCommit], at: Instant) -> list[PartitionCommit]:
        """Note when a transaction begins: one that hangs is noticed by that, whatever it carries."""
        if parts and self.unpublished_since is None:
            self.unpublished_since = at.mono
        return parts

    def _take(self, assignments: Iterable[Assignment], outlet: Outlet, health: Health) -> list[PartitionCommit]:
        parts = []
        left = health.most
        for assignment in assignments:
            most = self._policy.transaction_most if health.sound else left
            outcomes = [request for request in assignment.decided if outlet_of(request) is outlet][:most]
            if outcomes:
                chosen = set(outcomes)
                assignment.decided[:] = [request for request in assignment.decided if request not in chosen]
                parts.append(self._part(assignment, outcomes))
                left -= len(outcomes)
        return parts

    def _probe(self, assignments: Iterable[Assignment]) -> list[PartitionCommit]:
        """Commit the progress as it is: with no result left to publish, nothing else shows that a call makes sense."""
        return [self._part(each, ()) for each in assignments if each.kept][:1]


def outlet_of(request: Request) -> Outlet:
    """Return the topic, results or dead letters, that the outcome of a decided request goes to."""
    return Outlet.DEAD_LETTERS if isinstance(request.verdict, DeadLettered) else Outlet.RESULTS


def _due(assignment: Assignment) -> bool:
    """Return whether there are outcomes, or the log moved on without records and nothing is unfinished."""
    return bool(assignment.decided) or (
        not assignment.open
        and not assignment.backlog
        and assignment.progress.position > assignment.committed_offset >= 0
    )
