"""How long the results of a partition stand still: after kill -9, and through a rolling restart."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

from confluent_kafka import IsolationLevel, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec
from rich.console import Console
from rich.table import Table

from tests.chaos.load import Stream
from tests.chaos.releases import Release
from tests.chaos.scene import Scene, under_load
from tests.chaos.stage import CONSUMER_SESSION_SECONDS, Plan, Replica, Stage, prepared
from tests.chaos.workload import Requests, clients

PARTITIONS = 6
STANDSTILL_SECONDS = 0.06
"""The broker is frozen for so long before a kill, so that the transaction under way cannot end."""
GRACE_SECONDS = 3.0
BROKER_WAIT_SECONDS = 18.0
"""A dead replica's open transaction: 8 s until it is overdue, and the broker looks only every 10 s."""
SETTLED_SECONDS = 2.0


@dataclass(slots=True)
class Measured:
    """Times of one scenario."""

    scenario: str
    bound: float
    seconds: list[float] = field(default_factory=list)

    @property
    def held(self) -> bool:
        """Whether all stayed within the bound."""
        return max(self.seconds, default=0.0) <= self.bound


@dataclass(frozen=True, slots=True)
class Conditions:
    """Under which the same scenarios are measured."""

    memberships: Sequence[bool]
    """Whether members are static: each in turn."""
    protocol: str = "classic"
    rounds: int = 1
    rate: float = 300.0
    """Requests a second. Starts take long where the load leaves no processor idle, and results wait for them."""


def measure(folder: Path, conditions: Conditions, console: Console) -> list[Measured]:
    """Measure all scenarios."""
    plan = Plan(PARTITIONS, clients(8), 3, protocol=conditions.protocol, latency="30ms", jitter="40ms", tail="0:0s")
    measured: list[Measured] = []
    for static in conditions.memberships:
        own = folder / ("static" if static else "dynamic")
        own.mkdir()
        with prepared(replace(plan, static=static), own) as stage:
            streams = [
                Stream(client, conditions.rate / len(plan.clients), range(PARTITIONS)) for client in plan.clients
            ]
            with under_load(stage, Requests(stage.api_key, 1, mix=False), streams) as scene:
                measured.append(roll(scene, f"{own.name}: rolling restart of three", console))
                measured += _killed(scene, own.name, conditions.rounds, console)
                if not scene.drain(120):
                    raise TimeoutError(f"some requests have no outcome: see {own}")
                if scene.outcomes.repeated:
                    raise AssertionError(f"requests with two outcomes: {scene.outcomes.repeated[:10]}: see {own}")
    return measured


def settle_and_watch(scene: Scene) -> None:
    """Let results flow for a while, and measure gaps from then on."""
    time.sleep(SETTLED_SECONDS)
    scene.outcomes.begin_gaps()


def roll(scene: Scene, scenario: str, console: Console, release: Release | None = None) -> Measured:
    """Restart the replicas one by one, as another ``release`` where one is given; measure each partition's silence."""
    settle_and_watch(scene)
    stage = scene.stage
    for place in range(len(stage.replicas)):
        began = time.monotonic()
        code = stage.replicas[place].terminate()
        stopped = time.monotonic()
        if code != 0:
            raise AssertionError(f"{stage.replicas[place].name} ended with {code} after SIGTERM")
        if release is not None:
            stage.change(place, release)
        stage.replicas[place].start(wait=True)
        took = f"stopped within {stopped - began:.2f} s, ready again {time.monotonic() - stopped:.2f} s later"
        console.print(f"{scenario}: {stage.replicas[place].name} {took}")
        scene.settle()
    time.sleep(SETTLED_SECONDS)
    gaps = sorted(scene.outcomes.gaps().values())
    console.print(f"{scenario}: longest silence of each partition: {listed(gaps)}")
    return Measured(f"{scenario}, longest silence of a partition", GRACE_SECONDS, gaps)


def _killed(scene: Scene, members: str, rounds: int, console: Console) -> list[Measured]:
    """Kill -9 at moments at which a transaction is open, and at others."""
    static = scene.stage.plan.static and scene.stage.plan.protocol == "classic"
    what = "restarted at once" if static else "taken over by others"
    bound = GRACE_SECONDS if static else CONSUMER_SESSION_SECONDS + GRACE_SECONDS
    inside = Measured(
        f"{members}: kill -9 inside a transaction, {what}", bound + (0 if static else BROKER_WAIT_SECONDS)
    )
    outside = Measured(f"{members}: kill -9 outside of a transaction, {what}", bound)
    start = Measured(f"{members}: of that, until the restarted process was ready", GRACE_SECONDS)
    for turn in range(rounds):
        victim = scene.stage.replicas[turn % len(scene.stage.replicas)]
        fall = kill(scene, victim, restart=static, standstill=turn % 3 != 2)
        (inside if fall.inside else outside).seconds.append(fall.seconds)
        console.print(f"{members}: {victim.name} killed: {fall}")
        if fall.ready is None:
            victim.start(wait=True)
        else:
            start.seconds.append(fall.ready)
        scene.settle()
        time.sleep(SETTLED_SECONDS)
    return [each for each in (inside, outside, start) if each.seconds]


@dataclass(frozen=True, slots=True)
class Fall:
    """One kill; seconds from then on."""

    inside: bool
    """A transaction of the victim was open."""
    seconds: float
    """Until every partition had a result again."""
    ready: float | None
    """Until the restarted victim was ready."""

    def __str__(self) -> str:
        restarted = "" if self.ready is None else f", ready again after {self.ready:.2f} s"
        where = "inside" if self.inside else "outside of"
        return f"{where} a transaction, results on all partitions after {self.seconds:.2f} s{restarted}"


def kill(scene: Scene, victim: Replica, *, restart: bool, standstill: bool) -> Fall:
    """Kill -9, at a moment at which its transaction cannot end if there is a ``standstill``."""
    if standstill:
        scene.stage.broker.pause()
        time.sleep(STANDSTILL_SECONDS)
    victim.kill()
    killed_at = time.monotonic()
    if standstill:
        scene.stage.broker.resume()
    probe = scene.probe(killed_at)
    if restart:
        victim.start()
    with ThreadPoolExecutor(1) as aside:
        ready = aside.submit(_until_ready, victim, killed_at) if restart else None
        inside = _stays_open(scene.stage)
    scene.wait(probe)
    if probe.last is None:
        raise TimeoutError(f"no result on partitions {probe.waiting} after kill -9 of {victim.name}")
    return Fall(inside, probe.last, ready.result() if ready else None)


def _until_ready(restarted: Replica, begin: float) -> float:
    restarted.service.wait_ready()
    return time.monotonic() - begin


def _stays_open(stage: Stage) -> bool:
    """Whether a transaction on the results lasts longer than those of living replicas: their last stable offsets stand.

    A living replica's transaction ends within milliseconds, so the stable offset moves on between two looks.
    """
    stuck: set[tuple[int, int]] | None = None
    for _ in range(4):
        seen = set(_unstable(stage))
        stuck = seen if stuck is None else stuck & seen
        time.sleep(0.08)
    return bool(stuck)


def _unstable(stage: Stage) -> Iterator[tuple[int, int]]:
    """Partition and last stable offset, where records of an open transaction lie beyond it."""
    admin = AdminClient({"bootstrap.servers": stage.broker.bootstrap, "log_level": 2})
    latest = {
        TopicPartition(stage.topics.results, number): OffsetSpec.latest()  # type: ignore[no-untyped-call] # theirs
        for number in range(stage.plan.partitions)
    }
    stable, ends = (
        {place.partition: answer.result(10).offset for place, answer in asked.items()}
        for asked in (
            admin.list_offsets(latest, isolation_level=level, request_timeout=10)
            for level in (IsolationLevel.READ_COMMITTED, IsolationLevel.READ_UNCOMMITTED)
        )
    )
    return ((partition, offset) for partition, offset in stable.items() if offset < ends[partition])


def table(measured: Sequence[Measured], protocol: str) -> Table:
    """For people."""
    shown = Table("scenario", title=f"Seconds without a result on the worst partition, {protocol} protocol")
    for column in ("n", "median", "max", "bound", "held"):
        shown.add_column(column, justify="right")
    for each in measured:
        figures = (f"{median(each.seconds):.2f}", f"{max(each.seconds):.2f}", f"{each.bound:g}")
        shown.add_row(each.scenario, str(len(each.seconds)), *figures, "yes" if each.held else "NO")
    return shown


def listed(seconds: Sequence[float]) -> str:
    """For people."""
    return ", ".join(f"{each:.2f}" for each in seconds) + " s"
