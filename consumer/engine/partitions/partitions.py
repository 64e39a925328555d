"""The assigned partitions: their backlogs, their commits, and how they are given up."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from consumer.domain.progress import Progress, ProgressMapIgnoredError, decode_map
from consumer.engine.clock import Instant
from consumer.engine.commands import (
    Command,
    Drained,
    PartitionCommit,
    Pause,
    Reload,
    ReportIgnoredMap,
    Reread,
    Resume,
    Stopped,
)
from consumer.engine.counters import Tally
from consumer.engine.dispatch.back_pressure import BackPressure
from consumer.engine.events import (
    Assigned,
    Fetched,
    Revoking,
    TransactionFinished,
    TransactionResult,
    TransactionTrouble,
)
from consumer.engine.partitions.outbox import Outbox
from consumer.engine.policy import Policy
from consumer.engine.precedence import Precedence
from consumer.engine.records import ReadRange
from consumer.engine.requests import Assignment, AssignmentPhase, Phase, Request

_UNKNOWN = TransactionTrouble("Transactions end without an answer. Check the Kafka brokers.")


class Partitions:
    """All assignments of this consumer, and the transactions that commit their progress."""

    def __init__(
        self,
        policy: Policy,
        commands: list[Command],
        precedence: Callable[[], Precedence[Request]],
        back_pressure: BackPressure,
        tally: Tally,
    ) -> None:
        self._policy = policy
        self._commands = commands
        self._precedence = precedence
        self._back_pressure = back_pressure
        self._tally = tally
        self.assignments: dict[int, Assignment] = {}
        self.outbox = Outbox(policy)
        self.received_records = self.received_bytes = 0
        """Of all ``Fetched`` events."""
        self.stopping = False
        self.stop_until = float("inf")
        """Monotonic time in seconds until which a stop waits for answers."""
        self._stopped = False

    # -- begin and end ---------------------------------------------------------------------------------

    def assign(self, event: Assigned) -> None:
        """Begin an assignment where its partition was committed last."""
        partition, offset = event.partition, event.offset
        try:
            bitmap = decode_map(offset, event.metadata or "")
        except ProgressMapIgnoredError as problem:
            self._tally.maps_ignored += 1
            self._commands.append(ReportIgnoredMap(partition, offset, str(problem)))
            bitmap = b""
        progress = Progress(offset, bitmap, event.topic_id)
        assignment = Assignment(partition, event.epoch, progress, precedence=self._precedence())
        assignment.committed_offset = offset
        self.assignments[partition] = assignment
        self._commands.append(Resume([partition]))  # a pause of its former assignment may still be on its way

    def end(self, partitions: Iterable[int]) -> bool:
        """End the assignments of partitions that were given up or lost; return whether there were any."""
        ended = [self.assignments.pop(each) for each in partitions if each in self.assignments]
        for assignment in ended:
            self._back_pressure.ended(assignment.partition)
            self._back_pressure.let_go(assignment.open.values())
            self._tally.discarded += len(assignment.decided)
            assignment.end()
        return bool(ended)

    def revoke(self, event: Revoking, at: Instant) -> None:
        """Take nothing more in of partitions that are to be given up, and finish what is in flight."""
        unknown = []
        for partition in event.partitions:
            assignment = self.assignments.get(partition)
            if assignment is not None:
                assignment.drop_backlog()
                if event.patience is None:
                    assignment.enter(AssignmentPhase.LOG_GONE)
                else:
                    assignment.enter(AssignmentPhase.REVOKED)
                    assignment.drain_until = min(at.mono + event.patience, self.stop_until)
            else:
                unknown.append(partition)
        if unknown:  # to be read anew, which has not happened yet
            self._commands.append(Drained(unknown))

    def stop(self, at: Instant) -> None:
        """Take nothing more in, and finish what can be answered soon."""
        self.stopping = True
        self.stop_until = at.mono + self._policy.stop_patience
        for assignment in self.assignments.values():
            assignment.drop_backlog()
            assignment.drain_until = min(assignment.drain_until, self.stop_until)

    def drained(self, awaits: Callable[[Assignment], bool]) -> list[int]:
        """Return the partitions to be given up, once nothing of them can be finished any more.

        ``awaits``: whether an assignment has calls in flight that are worth waiting for.
        """
        leaving = [each for each in self.assignments.values() if not each.kept]
        return [] if any(self._is_busy(each, awaits) for each in leaving) else [each.partition for each in leaving]

    def may_stop(self, awaits: Callable[[Assignment], bool]) -> bool:
        """Return whether a stop was requested and not reported yet, and nothing is in flight."""
        if not self.stopping or self._stopped or self.outbox.in_flight is not None:
            return False
        return not any(self._is_busy(each, awaits) for each in self.assignments.values())

    def report_stopped(self) -> None:
        """Report that nothing more can be finished, once: the driver then ends its loop."""
        self._stopped = True
        self._commands.append(Stopped())

    def _is_busy(self, assignment: Assignment, awaits: Callable[[Assignment], bool]) -> bool:
        """Return whether something of it is about to be committed, or in a call that is worth waiting for."""
        return bool(assignment.decided) or self._is_committing(assignment) or awaits(assignment)

    def _is_committing(self, assignment: Assignment) -> bool:
        commit = self.outbox.in_flight
        return commit is not None and any(self._alive(part) is assignment for part in commit.partitions)

    # -- reading ---------------------------------------------------------------------------------------

    def receive(self, event: Fetched, at: Instant) -> None:
        """Append records to the backlogs of their partitions, if their ranges continue what was read before."""
        assignments = {}
        for partition, read in event.ranges.items():
            assignment = self.assignments.get(partition)
            if assignment is not None and self._continues(assignment, read, at):
                assignments[partition] = assignment
        size = 0
        for record in event.records:
            size += record.size
            assignment = assignments.get(record.partition)
            if assignment is not None:
                assignment.receive(record)
        for assignment in assignments.values():
            if not assignment.backlog:
                assignment.progress.advance()
        self.received_records += len(event.records)
        self.received_bytes += size

    def reread_overdue(self, at: Instant) -> None:
        """Ask again for the ranges that are missing behind holes, with growing pauses."""
        for assignment in self.assignments.values():
            if assignment.holes and assignment.reread_at <= at.mono and assignment.kept and not self.stopping:
                self._reread(assignment, at)

    def unread(self, at: Instant) -> Iterator[str]:
        """Yield what is wrong with the partitions where each range leaves a hole."""
        for each in self.assignments.values():
            if each.holes and at.mono - each.hole_since > self._policy.hole_patience:
                yield (
                    f"Partition {each.partition} cannot be read at offset {each.progress.read_to}; the log names the "
                    "error. Look at the partition's leader: its log may be damaged."
                )

    def pause_and_resume(self, at: Instant, *, closed: bool, budget: int) -> None:
        """Pause the partitions that bring too much, and resume those that may go on."""
        assignments = self.assignments.values()
        pause, resume = self._back_pressure.pause_and_resume(assignments, at.mono, closed=closed, budget=budget)
        self._tally.pauses += len(pause)
        if pause:
            self._commands.append(Pause([each.partition for each in pause]))
        for each in self._back_pressure.to_give_back(assignments):
            each.give_back()
        for each in resume:
            if each.given_back is not None:
                each.given_back = None
                again = Reread(each.partition, each.epoch, each.progress.read_to, given_back=True)
                self._commands.append(again)
        if resume:
            self._commands.append(Resume([each.partition for each in resume]))

    def _continues(self, assignment: Assignment, read: ReadRange, at: Instant) -> bool:
        """Return whether a range may be taken: it is of this assignment, and leaves nothing out."""
        if assignment.epoch != read.epoch or not assignment.kept or self.stopping:
            return False
        if assignment.given_back is not None:  # fetched before the pause: read again later as well
            return False
        if assignment.progress.extend(read.begin, read.end):
            assignment.holes = 0
            return True
        self._tally.holes += 1
        if not assignment.holes:
            assignment.holes, assignment.hole_since = 1, at.mono
            self._reread(assignment, at)
        return False

    def _reread(self, assignment: Assignment, at: Instant) -> None:
        """Ask for the missing part; again, ever less often, until a range continues what was read before."""
        policy = self._policy
        delay = min(policy.reread_first * 2 ** min(assignment.holes - 1, 8), policy.reread_most)
        assignment.holes += 1
        assignment.reread_at = at.mono + delay
        self._commands.append(Reread(assignment.partition, assignment.epoch, assignment.progress.read_to))

    # -- transactions ----------------------------------------------------------------------------------

    def cut_transaction(self, at: Instant) -> None:
        """Cut the next transaction, if one is due."""
        hurry = self.stopping or any(not each.kept for each in self.assignments.values())
        commit = self.outbox.cut(at, self.assignments.values(), hurry=hurry)
        if commit is not None:
            self._commands.append(commit)

    def transaction_finished(self, event: TransactionFinished, at: Instant) -> list[int]:
        """Take the end of a transaction; return the partitions whose assignments end since that end is unknown."""
        commit, result = event.commit, event.result
        committed = result is TransactionResult.COMMITTED
        if committed:
            self._tally.commits += 1
            self.outbox.committed(at)
        else:
            self._tally.aborts += 1
            unknown = _UNKNOWN if result is TransactionResult.UNKNOWN else None
            self.outbox.aborted(at, event.trouble or unknown)
        for part in commit.partitions:
            if committed and part.partition in event.kept:
                self._commit(part)
            else:
                self._take_back(part, last=self.outbox.failed_alone(commit))
        return self._reload(commit.partitions) if result is TransactionResult.UNKNOWN else []

    def _commit(self, part: PartitionCommit) -> None:
        assignment = self._alive(part)
        self._tally.published(part.outcomes)
        if assignment is None:
            return
        offsets = [request.record.offset for request in part.outcomes]
        assignment.progress.finish(offsets)
        assignment.committed_offset = part.offset
        self._back_pressure.let_go(part.outcomes)
        for request in part.outcomes:
            request.enter(Phase.COMMITTED)
            del assignment.open[request.record.offset]

    def _take_back(self, part: PartitionCommit, *, last: bool) -> None:
        """Queue outcomes that were not published again, before all others or ``last``.

        Those of an ended assignment do not.
        """
        assignment = self._alive(part)
        if assignment is not None:
            place = len(assignment.decided) if last else 0
            assignment.decided[place:place] = part.outcomes
        else:
            self._tally.discarded += len(part.outcomes)

    def _reload(self, parts: Sequence[PartitionCommit]) -> list[int]:
        """Ask for the committed offsets of partitions in a transaction of unknown end."""
        alive = [part for part in parts if self._alive(part) is not None]
        self._commands += [Reload(part.partition, part.epoch) for part in alive]
        return [part.partition for part in alive]

    def _alive(self, part: PartitionCommit) -> Assignment | None:
        assignment = self.assignments.get(part.partition)
        return assignment if assignment is not None and assignment.epoch == part.epoch else None
