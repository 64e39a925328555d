"""Run plans: one, many, and an ever smaller one that still breaks a law."""

import gc
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, replace
from typing import TypeVar

from tests.simulation.scenario import Plan
from tests.simulation.studies import make_plan
from tests.simulation.world import World

SHRINK_RUNS = 300
SEEDS_BETWEEN_COLLECTIONS = 50

ITEM = TypeVar("ITEM")


@dataclass(frozen=True, slots=True)
class Finding:
    """A seed whose run broke a law, or the engine."""

    seed: int
    text: str
    told: Sequence[str] = ()


def run_plan(plan: Plan, *, tracing: bool = False) -> Finding | None:
    """Run a plan. Its records are written on, so a plan is good for one run."""
    world = World(plan, tracing=tracing)
    try:
        world.run()
    except Exception as problem:  # noqa: BLE001 - whatever the engine raises is a finding
        text = str(problem) if problem is world.violation else "".join(traceback.format_exception(problem))
        return Finding(plan.seed, text, world.told)
    return None


def run_seed(seed: int, *, tracing: bool = False) -> Finding | None:
    """Run the plan of a seed."""
    return run_plan(make_plan(seed), tracing=tracing)


def run_seeds(seeds: Iterable[int]) -> list[Finding]:
    """Run the plans of many seeds; garbage is collected now and then."""
    found = []
    gc.disable()
    try:
        for number, seed in enumerate(seeds):
            finding = run_seed(seed)
            if finding is not None:
                found.append(finding)
            if number % SEEDS_BETWEEN_COLLECTIONS == SEEDS_BETWEEN_COLLECTIONS - 1:
                gc.collect()
    finally:
        gc.enable()
    return found


def story(seed: int) -> Finding | None:
    """What happened in a run that broke a law, told."""
    return run_seed(seed, tracing=True)


def history(seed: int) -> Sequence[str]:
    """What happens in a run in which all laws hold, told."""
    world = World(make_plan(seed), tracing=True)
    world.run()
    return world.told


def recorded(seed: int) -> Mapping[str, Sequence[str]]:
    """What the cores of each process did in a seed's run: process -> the lines of its trace, for ``replay``."""
    world = World(make_plan(seed), recording=True)
    with suppress(Exception):  # what is wrong has been found before; here the way to it counts
        world.run()
    return world.recorded or {}


def shrink(seed: int) -> Finding | None:
    """Leave out faults and records as long as some law stays broken; tell what happens in the smallest plan."""
    plan = make_plan(seed)
    runs = _Budget(SHRINK_RUNS)

    def breaks(smaller: Plan) -> bool:
        return runs.take() and run_plan(_fresh(smaller)) is not None

    plan.faults = _fewer(plan.faults, lambda faults: breaks(replace(plan, faults=faults)))
    plan.records = _fewer(plan.records, lambda records: breaks(replace(plan, records=records)))
    plan.faults = _fewer(plan.faults, lambda faults: breaks(replace(plan, faults=faults)))
    return run_plan(_fresh(plan), tracing=True)


@dataclass(slots=True)
class _Budget:
    left: int

    def take(self) -> bool:
        self.left -= 1
        return self.left >= 0


def _fresh(plan: Plan) -> Plan:
    return replace(plan, records=[copy(record) for record in plan.records])


def _fewer(items: list[ITEM], breaks: Callable[[list[ITEM]], bool]) -> list[ITEM]:
    """Leave out pieces, half of all at first, then smaller ones."""
    size = max(1, len(items) // 2)
    while True:
        start = 0
        while start < len(items):
            without = items[:start] + items[start + size :]
            if breaks(without):
                items = without
            else:
                start += size
        if size == 1:
            return items
        size //= 2
