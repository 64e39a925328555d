"""Division of the concurrent calls of client specifications among the processes of a replica, by their work.

Such a quota belongs to the replica. Every process always has one call, so that its first one waits for nobody; the rest
is for the *users*: at first all processes, then those whose requests for that client wait for a call, or may: they have
just got their partitions. While no requests wait anywhere, the users stay.

The users change in two steps, since every process learns of it at another time. First every process gets the smaller of
its former and its next part. Once all former users have reported that they keep to that, and have no more calls in
flight, the second plan gives the next users their parts. So whatever each process knows, the parts and the calls in
flight of all of them never exceed the quota (except that each has one, where it is smaller than their number).

Only former users are asked: any other process has one, which is the smallest part.
"""

from dataclasses import replace

from consumer.domain.quota_plan import Division, QuotaPlan, QuotaReport


class QuotaDivision:
    """Makes the plans from the reports of the processes, which are numbered from 0.

    The reports of one process, its end and its next start must be passed on in their order, and the processes must take
    the plans in theirs. How long any of it takes does not matter.
    """

    def __init__(self, processes: int) -> None:
        self._all = Division(tuple(range(processes)))
        self._reports: dict[int, QuotaReport] = {}
        """The newest of each process that runs."""
        self._since: dict[str, int] = {}
        """For each quota whose users change: the number of the plan that began this change."""
        self.plan = QuotaPlan(1, {})
        """The newest plan."""

    def started(self, process: int) -> QuotaPlan:
        """Note that a process has started; return the plan that it has to get before any other."""
        begun = QuotaReport(self.plan.number, frozenset(), frozenset(), settled=False)
        self._reports[process] = begun
        self._renew()
        self._reports[process] = replace(begun, plan=self.plan.number)
        return self.plan

    def reported(self, process: int, report: QuotaReport) -> QuotaPlan:
        """Take a report of a process that has started; return the newest plan."""
        former = self._reports[process]
        # of no plan that is older than its first: until it keeps to that one, it has one of each quota
        report = replace(report, plan=max(former.plan, report.plan))
        self._reports[process] = report
        if report != former or self._since:
            self._renew()
        return self.plan

    def ended(self, process: int) -> None:
        """Note that a process has ended, and with it its calls."""
        del self._reports[process]
        self._renew()

    def _renew(self) -> None:
        former = self.plan
        ids = former.divisions.keys() | {id_ for each in self._reports.values() for id_ in each.working}
        next_ = {id_: self._next(id_, former.divisions.get(id_, self._all)) for id_ in ids}
        divisions = {id_: each for id_, each in next_.items() if each != self._all}
        if divisions == former.divisions:
            return
        self.plan = QuotaPlan(former.number + 1, divisions)
        self._since = {
            id_: self._since[id_] if former.divisions.get(id_) == each else self.plan.number
            for id_, each in divisions.items()
            if each.following is not None
        }

    def _next(self, id_: str, division: Division) -> Division:
        if division.following is not None and self._is_agreed(id_, division):
            division = Division(division.following)
        users = {process for process, each in self._reports.items() if id_ in each.working}
        if users:
            users.update(process for process, each in self._reports.items() if not each.settled)
        wanted = tuple(sorted(users)) or division.wanted
        if wanted == division.wanted:
            return division
        return Division(division.users, None if wanted == division.users else wanted)

    def _is_agreed(self, id_: str, division: Division) -> bool:
        """Return whether no process can have more than the smaller of its two parts, nor calls beyond it."""
        reports = [self._reports[process] for process in division.users if process in self._reports]
        return all(each.plan >= self._since[id_] and id_ not in each.exceeding for each in reports)
