"""What the runs showed, as tables for people and as JSON."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from statistics import median

from rich.console import Console
from rich.table import Table

from tests.bench.runs import PROGRAM, Run

DEFINITION = (
    "Medians (lowest to highest) of {rounds}. Clock: from the first result that a read_committed reader can see to "
    "{end} of them, results seen at the start left out; the log was full before the program started. CPU: user and system "
    "time; 'whole life' less an empty start. Every request was checked to have exactly one result, as expected."
)
NOISY_SHARE = 0.05

Figure = Callable[[Run], float | None]

COLUMNS: Mapping[str, tuple[Figure, str]] = {
    "results/s to 95 %": (lambda run: run.per_second_95, ",.0f"),
    "results/s to 100 %": (lambda run: run.per_second_100, ",.0f"),
    "CPU µs a request": (lambda run: run.cpu_us[PROGRAM], ".1f"),
    "whole life": (lambda run: run.cpu_us_whole, ".1f"),
    "requests a call": (lambda run: run.requests_per_call, ".1f"),
    "peak MB": (lambda run: run.peak_megabytes, ".0f"),
    "start to ready s": (lambda run: run.ready_seconds, ".2f"),
    "to first result s": (lambda run: run.first_seconds, ".2f"),
}


class Report:
    """Runs by what ran, in the order of the table; the first is what the others are compared with."""

    def __init__(self, runs: Mapping[str, Sequence[Run]], *, to_95: bool) -> None:
        self._runs = runs
        self._to_95 = to_95

    def pace(self, name: str) -> float:
        """Results per second, the median of the rounds."""
        return median(self._pace(run) for run in self._runs[name])

    def show(self, console: Console, note: str) -> None:
        """Print the tables, and what has to be known about them."""
        console.print(self._paces())
        console.print(self._processors())
        rounds = max(map(len, self._runs.values()))
        end = "95 %" if self._to_95 else "100 %"
        console.print(DEFINITION.format(rounds=f"{rounds} rounds" if rounds > 1 else "one round", end=end))
        console.print(note)
        noise = [run.others_share for runs in self._runs.values() for run in runs if run.others_share is not None]
        if noise and max(noise) > NOISY_SHARE:
            console.print(f"[bold]Not a quiet machine:[/] other processes took up to {max(noise):.0%} of it.")

    def as_json(self) -> object:
        """All figures of all runs."""
        paces = {name: self.pace(name) for name in self._runs}
        first = next(iter(paces.values()))
        return {
            "results_per_second": paces,
            "ratio_to_first": {name: pace / first for name, pace in paces.items()},
            "runs": {name: [asdict(run) for run in runs] for name, runs in self._runs.items()},
        }

    def _pace(self, run: Run) -> float:
        return run.per_second_95 if self._to_95 else run.per_second_100

    def _paces(self) -> Table:
        table = Table("", *(f"of {name}" for name in self._compared()), *COLUMNS, title="Speed and size")
        for name, runs in self._runs.items():
            ratios = [f"{self.pace(name) / self.pace(other):.2f}" for other in self._compared()]
            table.add_row(name, *ratios, *(_spread(runs, figure, form) for figure, form in COLUMNS.values()))
        return table

    def _compared(self) -> Sequence[str]:
        """All but the last, which nothing is compared with."""
        return list(self._runs)[:-1]

    def _processors(self) -> Table:
        names = list(dict.fromkeys(name for runs in self._runs.values() for run in runs for name in run.cpu_us))
        table = Table("", *names, "others", title="CPU µs a request, by process")
        for name, runs in self._runs.items():
            cells = [_spread(runs, lambda run, who=each: run.cpu_us.get(who), ".1f") for each in names]  # type: ignore[misc]
            table.add_row(name, *cells, _spread(runs, lambda run: run.others_share, ".0%"))
        return table


def _spread(runs: Sequence[Run], figure: Figure, form: str) -> str:
    figures = [value for run in runs if (value := figure(run)) is not None]
    if not figures:
        return "-"
    middle = format(median(figures), form)
    return middle if len(figures) == 1 else f"{middle} ({format(min(figures), form)}-{format(max(figures), form)})"
