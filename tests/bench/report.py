"""What the runs showed, as a table for people and as JSON."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from statistics import median

from rich.console import Console
from rich.table import Table

from tests.bench.interpreter import interpreter
from tests.bench.pace import EVERY_SECONDS, coarser, sparkline
from tests.bench.runs import BROKER, HARNESS, IDLE, MIRAKL, OTHERS, PROGRAM, Run

DEFINITION = """\
Medians (lowest to highest) of {rounds}. The log is full before a program starts. Results a second: from the first
result that a read_committed reader can see to 95 % or to all of them, those seen at the first look left out.
CPU: user and system time over the span to all of them; "whole life" less an empty start. Cores: shares of the time of
all processors over that span. Pause: the most seconds without any result; silence: without one for a client
specification that still gets some. After each run all results were read and checked: exactly one for each request, or
at least one from a peer that works at least once."""
NOISY_SHARE = 0.05
SPARKLINE_CHARACTERS = 80
TEXT_WIDTH = 120
"""Characters."""

Figure = Callable[[Run], float | None]


def _cpu(process: str) -> Figure:
    return lambda run: run.cpu_us.get(process)


def _share(program: str) -> Figure:
    return lambda run: run.cores_share.get(program)


ROWS: Mapping[str, tuple[Figure, str]] = {
    "results/s to 95 %": (lambda run: run.per_second_95, ",.0f"),
    "results/s to 100 %": (lambda run: run.per_second_100, ",.0f"),
    "CPU µs a request": (_cpu(PROGRAM), ".1f"),
    "  over its whole life": (lambda run: run.cpu_us_whole, ".1f"),
    "  of the broker": (_cpu(BROKER), ".1f"),
    "  of the simulated Mirakl": (_cpu(MIRAKL), ".1f"),
    "  of this harness": (_cpu(HARNESS), ".1f"),
    "requests a CM21 call": (lambda run: run.requests_per_call, ".1f"),
    "results repeated": (lambda run: run.repeated or None, ",d"),
    "spans a request": (lambda run: None if run.spans is None else run.spans / run.results, ".3f"),
    "longest pause s": (lambda run: run.pace.longest_pause, ".2f"),
    "longest silence of one client s": (lambda run: run.pace.longest_silence, ".2f"),
    "peak memory MB, largest process": (lambda run: max(run.process_megabytes), ".0f"),
    "  of all its processes": (lambda run: sum(run.process_megabytes), ".0f"),
    "start to ready s": (lambda run: run.ready_seconds, ".2f"),
    "start to first result s": (lambda run: run.first_seconds, ".2f"),
    "cores: program": (_share(PROGRAM), ".0%"),
    "  broker": (_share(BROKER), ".0%"),
    "  simulated Mirakl": (_share(MIRAKL), ".0%"),
    "  harness": (_share(HARNESS), ".0%"),
    "  others on this machine": (_share(OTHERS), ".0%"),
    "  idle": (_share(IDLE), ".0%"),
}


class Report:
    """Runs by what ran, in the order of the table."""

    def __init__(self, runs: Mapping[str, Sequence[Run]], *, to_95: bool) -> None:
        """``to_95``: what is compared is the pace to 95 % of the results."""
        self._runs = runs
        self._to_95 = to_95

    def show(self, console: Console, note: str) -> None:
        """Print the table, and what has to be known about it."""
        console.print(self._table())
        self._show_pace(console)
        rounds = max(map(len, self._runs.values()))
        console.print(DEFINITION.format(rounds=f"{rounds} rounds" if rounds > 1 else "one round"))
        console.print(note, width=min(TEXT_WIDTH, console.width))
        console.print(f"All of it ran on {interpreter()}.")
        noise = [run.others_share for runs in self._runs.values() for run in runs if run.others_share is not None]
        if noise and max(noise) > NOISY_SHARE:
            console.print(f"[bold]Not a quiet machine:[/] other processes took up to {max(noise):.0%} of it.")

    def as_json(self) -> dict[str, object]:
        """All figures of all runs."""
        return {
            "interpreter": interpreter(),
            "compared": "to 95 %" if self._to_95 else "to 100 %",
            "ratios": {name: {other: self._ratio(name, other) for other in self._runs} for name in self._runs},
            "runs": {name: [asdict(run) for run in runs] for name, runs in self._runs.items()},
        }

    def _show_pace(self, console: Console) -> None:
        """Draw each program's run of median pace, all to one scale."""
        shown = {
            name: sorted(runs, key=lambda run: self._pace(run) or 0.0)[len(runs) // 2]
            for name, runs in self._runs.items()
        }
        times = 1 + max(len(run.pace.per_second) for run in shown.values()) // SPARKLINE_CHARACTERS
        paces = {name: coarser(run.pace.per_second, times) for name, run in shown.items()}
        seconds, most = times * EVERY_SECONDS, max(map(max, paces.values()))
        width = max(map(len, shown))
        console.print(f"\nResults/s over time, {seconds} s a character, up to {most:,}:")
        for name, run in shown.items():
            console.print(f"{name:>{width}} ▕{sparkline(paces[name], most)}▏", markup=False)
            if run.moments:
                console.print(f"{'':>{width}}  {_marks(run.moments, seconds)}", markup=False)
        console.print()

    def _table(self) -> Table:
        table = Table("", *self._runs, title="Speed and size")
        for row, (figure, form) in ROWS.items():
            cells = [_spread(runs, figure, form) for runs in self._runs.values()]
            if any(cells):
                table.add_row(row, *cells)
        for other in list(self._runs)[:-1]:
            ratios = [self._ratio(name, other) for name in self._runs]
            table.add_row(f"times the pace of: {other}", *("" if each is None else f"{each:.2f}" for each in ratios))
        return table

    def _ratio(self, name: str, other: str) -> float | None:
        """Of runs of one round, which met the machine in the same state; the median of the rounds."""
        pairs = zip(map(self._pace, self._runs[name]), map(self._pace, self._runs[other]), strict=True)
        ratios = [pace / compared for pace, compared in pairs if pace and compared]
        return median(ratios) if ratios else None

    def _pace(self, run: Run) -> float | None:
        return run.per_second_95 if self._to_95 else run.per_second_100


def _marks(moments: Mapping[str, float], seconds_each: float) -> str:
    """Put the name of each thing that happened under its place in a sparkline."""
    line = ""
    for name, seconds in moments.items():
        line = f"{line:<{int(seconds / seconds_each)}}↑{name}"
    return line


def _spread(runs: Sequence[Run], figure: Figure, form: str) -> str:
    figures = [value for run in runs if (value := figure(run)) is not None]
    if not figures:
        return ""
    middle, lowest, highest = (format(value, form) for value in (median(figures), min(figures), max(figures)))
    return middle if lowest == highest else f"{middle} ({lowest}-{highest})"
