"""Share of each client specification's quotas for one of several processes of a replica."""

from collections.abc import Collection
from dataclasses import dataclass, replace

from consumer.domain.model import ClientSpecification, Directory, QuotaPart
from consumer.domain.quota_plan import Division, QuotaPlan


@dataclass(frozen=True, slots=True)
class Share:
    """The place of one process among those of its replica: number ``process`` (from 0) of ``processes``.

    ``plan`` says whose concurrent calls it shares. Without one, it has one of each client: others may have the rest.
    Calls per hour are divided equally.
    """

    process: int = 0
    processes: int = 1
    plan: QuotaPlan | None = None

    def of_directory(
        self, directory: Directory, former: "Share | None" = None, divided: Directory | None = None
    ) -> Directory:
        """Return the snapshot with this process's part of concurrent calls and calls per hour.

        ``divided``: the same snapshot as the share ``former`` made it; what has not changed is taken from there.
        """
        if self.processes == 1:
            return directory
        specifications = {
            id_: divided.specifications[id_]
            if divided and former and former.division(id_) == self.division(id_)
            else self._of(each)
            for id_, each in directory.specifications.items()
        }
        number = 0 if self.plan is None else self.plan.number
        return replace(directory, specifications=specifications, quota_plan=number)

    def _of(self, specification: ClientSpecification) -> ClientSpecification:
        division = self.division(specification.id)
        per_hour = specification.calls_per_hour
        part = QuotaPart(
            self.part(specification.concurrent_calls, division),
            None if per_hour is None else self._among(range(self.processes), per_hour),
            self.processes,
        )
        return replace(specification, part=part)

    def division(self, id_: str) -> Division:
        """Return who shares the concurrent calls of a client specification; without a plan, this process has one."""
        if self.plan is None:
            return Division(())
        return self.plan.divisions.get(id_) or Division(tuple(range(self.processes)))

    def part(self, whole: int, division: Division) -> int:
        """Return this process's part: all parts add up to the whole, except that each is at least 1."""
        return min(self._among(division.users, whole), self._among(division.wanted, whole))

    def _among(self, users: Collection[int], whole: int) -> int:
        """Return 1, and for a user its part of what remains if each process has 1."""
        if self.process not in users:
            return 1
        part, rest = divmod(max(0, whole - self.processes), len(users))
        before = sum(each < self.process for each in users)
        return 1 + part + (before < rest)
