"""``python -m tests.bench --growth``: what a request costs as clients, products, partitions and processes grow.

Each series varies one of them and leaves the others as they are. All its cases have topics and a database of their own
on one broker, and take turns within each round, so that ratios compare runs of the same minutes.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median
from typing import Final

import click
from rich.console import Console
from rich.table import Table

from tests.bench.interpreter import interpreter
from tests.bench.runs import BROKER, PROGRAM, Run, Runner
from tests.bench.stage import Limits, Mirakl, broker, prepared
from tests.bench.workload import Workload

LATENCY = "50ms"


@dataclass(frozen=True, slots=True)
class Case:
    """What is varied, one at a time."""

    clients: int = 8
    products: int = 2
    partitions: int = 8
    processes: int = 1
    keyed: bool = True
    share: int = 1
    """Requests are divided by it where each of them is large."""


SERIES: Final[Mapping[str, Sequence[Case]]] = {
    "clients": [Case(clients=number) for number in (8, 80, 640)],
    "products": [Case(products=1), Case(products=10, share=2), Case(products=100, share=5)],
    "partitions": [Case(partitions=number, keyed=False) for number in (1, 12, 120)],
    "processes": [Case(processes=number) for number in (1, 4)],
}


def measure(console: Console, names: Sequence[str], requests: int, rounds: int, limits: Limits) -> None:
    """Measure some of the series and print a table of each."""
    with broker() as bootstrap:
        for name in names:
            click.echo(f"preparing: {name}", err=True)
            console.print(_table(name, _series(bootstrap, name, requests, rounds, limits)))
    console.print(
        f"Medians of {rounds} rounds, {requests:,} requests each (fewer where each has many products); calls of "
        f"{LATENCY}, at most {limits.products_per_call} products. CPU over the whole life of the service, less an "
        f"empty start. It ran on {interpreter()}."
    )


def _series(bootstrap: str, name: str, requests: int, rounds: int, limits: Limits) -> Mapping[Case, Sequence[Run]]:
    cases = SERIES[name]
    with ExitStack() as stack:
        runners: dict[Case, tuple[Runner, float]] = {}
        for case in cases:
            workload = Workload(requests // case.share, case.clients, keyed=case.keyed, products=case.products)
            stage = prepared(workload, case.partitions, limits, {}, bootstrap=bootstrap)
            runner = Runner(stack.enter_context(stage), processes=case.processes)
            runners[case] = runner, runner.empty_start()
        runs: dict[Case, list[Run]] = {case: [] for case in cases}
        for number in range(rounds):
            for case, (runner, empty_start_cpu) in runners.items():
                click.echo(f"round {number + 1} of {rounds}: {getattr(case, name)} {name}", err=True)
                runs[case].append(runner.service(Mirakl(LATENCY), empty_start_cpu))
    return dict(runs)


_FIGURES: Final[Mapping[str, tuple[Callable[[Run], float | None], str]]] = {
    "CPU µs a request": (lambda run: run.cpu_us_whole, ".1f"),
    "after the first result": (lambda run: run.cpu_us[PROGRAM], ".1f"),
    "of the broker": (lambda run: run.cpu_us.get(BROKER), ".1f"),
    "requests a call": (lambda run: run.requests_per_call, ".0f"),
    "results/s": (lambda run: run.per_second_100, ",.0f"),
    "ready s": (lambda run: run.ready_seconds, ".2f"),
    "MB, largest process": (lambda run: max(run.process_megabytes), ".0f"),
}


def _table(name: str, runs: Mapping[Case, Sequence[Run]]) -> Table:
    table = Table(name, "times the first", *_FIGURES)
    first = next(iter(runs.values()))
    for case, each in runs.items():
        ratio = median(run.cpu_us_whole / base.cpu_us_whole for run, base in zip(each, first, strict=True))
        figures = [_median(each, figure, form) for figure, form in _FIGURES.values()]
        table.add_row(str(getattr(case, name)), f"{ratio:.2f}", *figures)
    return table


def _median(runs: Sequence[Run], figure: Callable[[Run], float | None], form: str) -> str:
    known = [value for run in runs if (value := figure(run)) is not None]
    return format(median(known), form) if known else ""
