"""One run: load, faults one after the other, the drain, the account."""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console

from tests.chaos.audit import Account, Trouble, take_account
from tests.chaos.faults import Fault, From, UnexpectedExitError
from tests.chaos.load import Stream
from tests.chaos.outcomes import Probe
from tests.chaos.scene import RECOVERY_SECONDS, under_load
from tests.chaos.stage import Stage
from tests.chaos.workload import Requests

DRAIN_SECONDS = 300.0
QUIET_SECONDS = 2.0
"""After the last outcome: a second one would come now."""
NESTED_SHARE = 0.25
"""Of the faults that last, so many are struck by a second one."""
LONGEST_PAUSE_SECONDS = 2.0
RESTART_SECONDS = 1.0
EXITS_OF_A_START = frozenset({1, 6})
"""Of a replica that is started while the database, or the broker or the registry, is away."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """What one fault cost; seconds."""

    number: int
    kind: str
    whom: str
    lasted: float
    first: float | None
    """Until the first outcome of a later request."""
    last: float | None
    """Until there was one on every partition."""
    disturbed: bool
    """Another fault struck meanwhile: the times say nothing about this kind."""


@dataclass(slots=True)
class Report:
    """What a run has shown."""

    seed: int
    seconds: float = 0.0
    restarts: int = 0
    """Of replicas that could not start, since a part was away."""
    recoveries: list[Recovery] = field(default_factory=list)
    account: Account = field(default_factory=Account)
    violations: list[str] = field(default_factory=list)


class Run:
    """Faults on a stage, by chance that a seed decides."""

    def __init__(self, stage: Stage, faults: Sequence[Fault], seed: int, rate: float, console: Console) -> None:
        self._stage = stage
        self._faults = faults
        self._chance = random.Random(seed)
        self._console = console
        self._troubles: list[Trouble] = []
        self._report = Report(seed)
        self._rate = rate
        self._started = time.monotonic()
        self._part_away = False
        """Since the latest fault, or until a moment ago."""

    def execute(self, count: int | None = None) -> Report:
        """Strike ``count`` times by chance, or once with each fault in turn; then count."""
        stage, plan, report = self._stage, self._stage.plan, self._report
        partitions = range(plan.partitions)
        streams = [Stream(client, self._rate / len(plan.clients), partitions) for client in plan.clients]
        with under_load(stage, Requests(stage.api_key, report.seed), streams) as self._scene:
            self._strike(self._faults if count is None else [self._choose(self._faults) for _ in range(count)])
            self._scene.drain(DRAIN_SECONDS)
            self._look_after_replicas()
            time.sleep(QUIET_SECONDS)
        report.account = take_account(stage.broker.bootstrap, stage.topics, stage.mirakl.journal, self._troubles)
        report.violations += report.account.violations
        report.violations += [f"Mirakl: {each}" for each in stage.mirakl.violations()]
        report.violations += [f"load: {each}" for each in self._scene.load.failed]
        report.seconds = time.monotonic() - self._started
        return report

    # -- the story -------------------------------------------------------------------------------------

    def _await(self, probe: Probe) -> None:
        """Wait for outcomes, and see to it meanwhile that all replicas run that should."""
        deadline = time.monotonic() + RECOVERY_SECONDS
        while probe.waiting and time.monotonic() < deadline:
            self._scene.wait(probe, 1.0)
            self._look_after_replicas()

    def _strike(self, faults: Sequence[Fault]) -> None:
        for number, fault in enumerate(faults, 1):
            try:
                recovery = self._one(number, fault)
            except UnexpectedExitError as problem:
                self._report.violations.append(str(problem))
                return
            self._report.recoveries.append(recovery)
            self._tell(recovery)
            self._look_after_replicas()
            if recovery.last is None:
                self._report.violations.append(
                    f"after fault {number} ({recovery.kind}, {recovery.whom}) there was no outcome within "
                    f"{RECOVERY_SECONDS:g} s on every partition"
                )
            if self._report.violations or self._scene.outcomes.repeated:
                return
            time.sleep(self._chance.uniform(0, LONGEST_PAUSE_SECONDS))

    def _one(self, number: int, fault: Fault) -> Recovery:
        notes: list[str] = []
        struck_at, began = time.monotonic(), time.time()
        self._part_away = fault.measured is From.HEAL and not fault.mirakl
        with fault.strike(self._stage, self._chance, notes):
            probe = self._scene.probe(struck_at) if fault.measured is From.STRIKE else None
            disturbed = self._last(self._chance.uniform(fault.shortest, fault.longest), fault, notes)
        lasted = time.monotonic() - struck_at
        if fault.mirakl:
            client = notes[0] if notes and notes[0].startswith("client-") else None
            self._troubles.append(Trouble(client, began, time.time()))
        probe = probe or self._scene.probe(time.monotonic())
        self._await(probe)
        return Recovery(number, fault.kind, ", ".join(notes), lasted, probe.first, probe.last, disturbed)

    def _last(self, seconds: float, fault: Fault, notes: list[str]) -> bool:
        """Let the fault last; now and then a second one strikes meanwhile."""
        end = time.monotonic() + seconds
        quick = [each for each in self._faults if each.quick and each is not fault]
        disturbed = bool(quick) and seconds > 1 and self._chance.random() < NESTED_SHARE
        if disturbed:
            time.sleep(self._chance.uniform(0, seconds / 2))
            second = self._choose(quick)
            notes.append(f"and {second.kind} of")
            with second.strike(self._stage, self._chance, notes):
                time.sleep(self._chance.uniform(0, 1))
        time.sleep(max(0.0, end - time.monotonic()))
        return disturbed

    # -- small things ----------------------------------------------------------------------------------

    def _choose(self, faults: Sequence[Fault]) -> Fault:
        return self._chance.choices(faults, [each.weight for each in faults])[0]

    def _look_after_replicas(self) -> None:
        """One that ended by itself is started again, as an orchestrator would; it may only do so while it starts."""
        for replica in self._stage.replicas:
            if replica.wanted and not replica.service.running:
                code = replica.service.wait_end(1)
                if code in EXITS_OF_A_START and self._part_away:
                    self._report.restarts += 1
                else:
                    self._report.violations.append(f"{replica.name} ended by itself with {code}: {replica.name}.log")
                time.sleep(RESTART_SECONDS)
                replica.start()

    def _tell(self, recovery: Recovery) -> None:
        first = "never" if recovery.first is None else f"{recovery.first:.1f} s"
        last = "never" if recovery.last is None else f"{recovery.last:.1f} s"
        waiting = self._scene.load.acknowledged - self._scene.outcomes.answered
        self._console.print(
            f"{time.monotonic() - self._started:6.0f} s  {recovery.number:4}  {recovery.kind:<15} "
            f"{recovery.whom:<38} lasted {recovery.lasted:4.1f} s  first result after {first:>7}, "
            f"on all partitions {last:>7}  {waiting:6} unanswered"
        )
