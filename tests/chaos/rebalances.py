"""What a replica that joins or leaves costs the healthy: the longest silence on partitions that move and that stay.

Seven of eight clients are healthy. The eighth is like them, or dead, or all have a slow tail. Two replicas share the
load; a third one joins, and stops later. Each partition carries requests of every client.
"""

import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from tests.chaos.load import Stream
from tests.chaos.recovery import Conditions, Measured
from tests.chaos.scene import Scene, under_load
from tests.chaos.stage import CONSUMER_SESSION_SECONDS, Plan, Replica, prepared
from tests.chaos.workload import Client, Requests, clients
from tests.support.parts import wait_until

PARTITIONS = 12
MOVED_SECONDS, KEPT_SECONDS = 1.0, 0.2
RESTART_SECONDS = 3.0
"""The start of a process is most of it."""
STOP_SECONDS = 1.0
QUIET_SECONDS = 4.0
"""Of each window without a rebalance, for comparison."""
SETTLED_SECONDS = 1.5
"""After the last sign of a rebalance, so that a silence that it causes has ended."""
DEAD: dict[str, object] = {"effect": "hang"}
TAIL: dict[str, object] = {"effect": "delay", "delay": 2.05, "probability": 0.03}
"""3 % of the calls take 2 s more."""


def measure(folder: Path, conditions: Conditions, console: Console) -> list[Measured]:
    """Measure all scenarios."""
    measured: list[Measured] = []
    everyone = clients(8)
    for static in conditions.memberships:
        own = folder / f"rebalances-{'static' if static else 'dynamic'}"
        own.mkdir()
        plan = Plan(
            PARTITIONS,
            everyone,
            2,
            protocol=conditions.protocol,
            static=static,
            latency="50ms",
            jitter="0ms",
            tail="0:0s",
        )
        with prepared(plan, own) as stage:
            streams = [
                Stream(
                    each,
                    conditions.rate / len(everyone),
                    _from(place * PARTITIONS // len(everyone)),
                    timed=each is not everyone[-1],
                )
                for place, each in enumerate(everyone)
            ]
            with under_load(stage, Requests(stage.api_key, 1, mix=False), streams) as scene:
                time.sleep(2 * QUIET_SECONDS)
                for company, script in _COMPANIES.items():
                    script(scene, everyone[-1])
                    measured += _Company(scene, f"{own.name[11:]}, {company}", console).measure(conditions.rounds)
                stage.mirakl.heal()
                stage.mirakl.heal(everyone[-1])
                if not scene.drain(120):
                    raise TimeoutError(f"some requests have no outcome: see {own}")
                if scene.outcomes.repeated:
                    raise AssertionError(f"requests with two outcomes: {scene.outcomes.repeated[:10]}: see {own}")
    return measured


def _from(first: int) -> Sequence[int]:
    """Return all partitions in a client's order: were it the same for all, each would get its requests in bursts."""
    return [*range(first, PARTITIONS), *range(first)]


def _all_well(_scene: Scene, _eighth: Client) -> None:
    """Leave all as they are."""


def _one_dead(scene: Scene, eighth: Client) -> None:
    scene.stage.mirakl.script(DEAD, eighth)
    time.sleep(8.0)  # it is known to be dead, as it nearly always is when replicas come and go


def _slow_tail(scene: Scene, eighth: Client) -> None:
    scene.stage.mirakl.heal(eighth)
    scene.stage.mirakl.script(TAIL, None)


_COMPANIES: dict[str, Callable[[Scene, Client], None]] = {
    "all well": _all_well,
    "one of eight dead": _one_dead,
    "3 % of the calls 2 s slower": _slow_tail,
}


class _Company:
    """Rebalances in one company."""

    def __init__(self, scene: Scene, name: str, console: Console) -> None:
        self._scene = scene
        self._name = name
        self._console = console
        self._found: dict[str, Measured] = {}

    def measure(self, rounds: int) -> list[Measured]:
        static = self._scene.stage.plan.static
        for turn in range(rounds):
            self._window("no rebalance", lambda: time.sleep(QUIET_SECONDS), set)
            newcomer = self._scene.stage.replica(f"newcomer-{len(self._scene.stage.replicas)}-{turn}")
            self._scene.stage.replicas.append(newcomer)
            self._joins(newcomer)
            if static:
                self._restarts(newcomer)
            self._leaves(newcomer)
        return list(self._found.values())

    def _joins(self, newcomer: Replica) -> None:
        def join() -> None:
            newcomer.start(wait=True)
            wait_until(lambda: len(_partitions(newcomer)) >= 2, timeout=30, what="partitions of the newcomer")
            self._scene.settle()

        self._window("joins", join, lambda: _partitions(newcomer))

    def _restarts(self, static: Replica) -> None:
        own = _partitions(static)

        def restart() -> None:
            self._stop(static)
            static.start(wait=True)
            self._scene.settle()

        self._window("restarts", restart, lambda: own, moved_bound=RESTART_SECONDS)

    def _leaves(self, leaving: Replica) -> None:
        own = _partitions(leaving)

        def leave() -> None:
            self._stop(leaving)
            self._scene.settle()

        bound = CONSUMER_SESSION_SECONDS + RESTART_SECONDS if self._scene.stage.plan.static else MOVED_SECONDS
        self._window("leaves", leave, lambda: own, moved_bound=bound)

    def _stop(self, replica: Replica) -> None:
        began = time.monotonic()
        code = replica.terminate()
        if code != 0:
            raise AssertionError(f"{replica.name} ended with {code} after SIGTERM")
        self._note("from SIGTERM to the exit", STOP_SECONDS, [time.monotonic() - began])

    def _window(
        self, what: str, act: Callable[[], None], moved: Callable[[], set[int]], moved_bound: float = MOVED_SECONDS
    ) -> None:
        """Note the longest silence of the healthy on each partition around what is done."""
        outcomes, load = self._scene.outcomes, self._scene.load
        outcomes.arrived_at, begin = {}, time.monotonic()
        act()
        time.sleep(SETTLED_SECONDS)
        end = time.monotonic()
        arrived = {place: at for place, at in outcomes.arrived_at.copy().items() if place in load.sent_at}
        silences = {
            partition: _longest_gap(begin, end, [at for place, at in arrived.items() if place[0] == partition])
            for partition in range(PARTITIONS)
        }
        gone = moved()
        for kind, bound in (("moved", moved_bound), ("kept", KEPT_SECONDS)):
            found = sorted(each for partition, each in silences.items() if (partition in gone) is (kind == "moved"))
            if found:
                self._note(f"{what}: longest silence, {kind}", bound, found)
        rates = [
            bisect_right(times, begin + second + 1) - bisect_left(times, begin + second)
            for times in [sorted(arrived.values())]
            for second in range(int(end - begin))
        ]
        self._console.print(f"{self._name}: {what}: results a second of the healthy: {rates}")

    def _note(self, what: str, bound: float, seconds: Sequence[float]) -> None:
        self._console.print(f"{self._name}: {what}: {', '.join(f'{each:.2f}' for each in seconds)} s")
        self._found.setdefault(what, Measured(f"{self._name}: {what}", bound)).seconds += seconds


def _longest_gap(begin: float, end: float, times: Sequence[float]) -> float:
    return max(later - earlier for earlier, later in pairwise([begin, *sorted(times), end]))


def _partitions(replica: Replica) -> set[int]:
    """Return the partitions that a replica reads, as its metrics show them."""
    families = text_string_to_metric_families(replica.service.get("/metrics").text)
    return {
        int(sample.labels["partition"])
        for family in families
        if family.name == "resync_window_used_ratio"
        for sample in family.samples
    }
