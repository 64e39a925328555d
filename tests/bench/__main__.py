"""``python -m tests.bench``: speed and size of the service, beside the bare loop that bounds it and its peers."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypedDict, Unpack

import click
from rich.console import Console

from tests.bench.gateway import measure as measure_gateway
from tests.bench.growth import SERIES
from tests.bench.growth import measure as measure_growth
from tests.bench.paced import measure as measure_paced
from tests.bench.peers import Peer
from tests.bench.profiler import Profiler, find_profiler
from tests.bench.report import Report
from tests.bench.runs import Run, Runner
from tests.bench.stage import Limits, Mirakl, prepared
from tests.bench.watch import WrongResultsError
from tests.bench.workload import WITH_KEY, Form, Workload
from tests.support.parts import PartMissing

BARE, BARE_WITH_HEADERS, SERVICE = "bare loop", "bare with our headers", "service"
SIGNED, TRACED = Form(signed=True), (Form(sampled=1), Form(sampled=100))
TAIL = "0.03:2s"
"""That share of the calls is this much slower."""
WIDTH = 200
"""Characters, where the output is no terminal: a table of two peers and the service, each with two kinds of trouble."""
BREAKDOWN_REQUESTS = 20_000
"""Enough to time, few enough to repeat."""


class _Options(TypedDict):
    requests: int
    clients: int
    partitions: int
    processes: int
    rounds: int
    no_key: bool
    tail: bool
    dead: bool
    rebalance: bool
    signed: bool
    traced: bool
    latency: str
    products_per_call: int
    concurrent_calls: int
    log: str
    bare: bool
    peers: Sequence[str]
    json_file: Path | None
    profile: Path | None
    breakdown: bool
    gateway: bool
    growth: str | None
    paced: Sequence[int]


_POSITIVE = click.IntRange(min=1)
_FILE = click.Path(dir_okay=False, path_type=Path)


def _rates(_context: click.Context, _option: click.Parameter, text: str) -> Sequence[int]:
    rates = [each.strip() for each in text.split(",") if each.strip()]
    if not all(each.isdecimal() and int(each) for each in rates):
        raise click.BadParameter("requests a second are whole numbers, such as 50,500")
    return [int(each) for each in rates]


@click.command(name="python -m tests.bench", context_settings={"show_default": True})
@click.option("--requests", default=100_000, type=_POSITIVE, help="Requests of two products each, preloaded.")
@click.option("--clients", default=8, type=_POSITIVE, help="Client specifications that they are for, in turn.")
@click.option("--partitions", default=8, type=_POSITIVE, help="Of the requests topic and of the results topic.")
@click.option("--processes", default=1, type=_POSITIVE, help="Of each replica; bare loops and peers side by side.")
@click.option("--rounds", default=3, type=_POSITIVE, help="Each runs everything once; medians are reported.")
@click.option("--no-key", is_flag=True, help="Spread each client specification's requests over all partitions.")
@click.option("--tail", is_flag=True, help="3 % of the CM21 calls are 2 s slower; measured to 95 % of the results.")
@click.option("--dead", is_flag=True, help="One client specification's Mirakl never answers; the others are measured.")
@click.option("--rebalance", is_flag=True, help="A second replica joins after 3 s and leaves after 8 s.")
@click.option("--signed", is_flag=True, help="The same requests, signed, beside those that carry their key.")
@click.option("--traced", is_flag=True, help="Requests with a traceparent: traces off, 1 % and 100 % sampled.")
@click.option("--latency", default="50ms", help="Of a CM21 call.")
@click.option("--products-per-call", default=200, type=_POSITIVE, help="Limit of each client specification.")
# With 8, a slow tail bounds 8 clients at 58,000 results/s: calls of 100 requests then take 110 ms on average.
@click.option("--concurrent-calls", default=16, type=_POSITIVE, help="Limit of each client specification.")
@click.option("--log", default="failed", type=click.Choice(["all", "failed"]), help="Which requests get a log line.")
@click.option("--bare/--no-bare", default=True, help="Run the bare loops as well.")
@click.option(
    "--peer",
    "peers",
    multiple=True,
    type=click.Choice([each.value for each in Peer]),
    help="Run this peer as well: a Java program for the same job. Several are possible.",
)
@click.option("--json", "json_file", type=_FILE, help="Gets all figures.")
@click.option("--profile", type=_FILE, help="Gets the service's stacks by py-spy, which costs speed.")
@click.option("--breakdown", is_flag=True, help="Instead: microseconds of each step of a request, in one process.")
@click.option("--gateway", is_flag=True, help="Instead: the HTTP gateway, beside a bare handler on the same server.")
@click.option(
    "--growth",
    type=click.Choice([*SERIES, "all"]),
    show_default=False,
    help="Instead: CPU per request as this grows; --requests, --rounds and the limits of calls count.",
)
@click.option(
    "--paced",
    default="",
    callback=_rates,
    metavar="RATE,...",
    help="Instead: latency at so many requests a second; --clients, --latency and the limits of calls count.",
)
def main(**options: Unpack[_Options]) -> None:
    """Measure the service on a real broker, in turn with a bare loop of the same libraries.

    The broker is that of TEST_KAFKA_BOOTSTRAP, or one of its own; a bare loop warms it up.
    """
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH
    try:
        if options["gateway"]:
            measure_gateway(console)
        elif options["breakdown"]:
            _break_down(console, options)
        elif options["paced"]:
            measure_paced(console, options["paced"], options["clients"], options["latency"], _limits(options))
        elif options["growth"]:
            names = list(SERIES) if options["growth"] == "all" else [options["growth"]]
            measure_growth(console, names, options["requests"], options["rounds"], _limits(options))
        else:
            _measure(console, options)
    except (PartMissing, WrongResultsError) as trouble:
        raise click.ClickException(str(trouble)) from trouble


def _measure(console: Console, options: _Options) -> None:
    profiler = _profiler(options["profile"])
    workload = Workload(options["requests"], options["clients"], keyed=not options["no_key"])
    settings = {"RESYNC_LOG__REQUESTS": options["log"]}
    forms = [WITH_KEY, *([SIGNED] if options["signed"] else []), *(TRACED if options["traced"] else [])]
    with prepared(workload, options["partitions"], _limits(options), settings, forms=forms) as stage:
        runner = Runner(stage, profiler, options["processes"])
        click.echo("warming up", err=True)
        runner.bare(headers=True)
        empty_start_cpu = runner.empty_start()
        runs = _rounds(_programs(runner, options, empty_start_cpu), options["rounds"])
    report = Report(runs, to_95=options["tail"])
    report.show(console, _note(options, runs))
    if options["json_file"]:
        options["json_file"].write_text(
            json.dumps({"options": options, "report": report.as_json()}, indent=2, default=str)
        )
    if profiler:
        _show_profile(console, profiler)


def _limits(options: _Options) -> Limits:
    return Limits(options["products_per_call"], options["concurrent_calls"])


def _programs(runner: Runner, options: _Options, empty_start_cpu: float) -> dict[str, Callable[[], Run]]:
    """What runs in each round. Trouble is compared with the same without it, in the same round."""
    programs: dict[str, Callable[[], Run]] = {}
    if options["bare"]:
        programs[BARE] = lambda: runner.bare(headers=False)
        programs[BARE_WITH_HEADERS] = lambda: runner.bare(headers=True)
    for peer in map(Peer, options["peers"]):
        for name, behaviour in _behaviours(peer.value, options).items():
            programs[name] = partial(runner.peer, peer, behaviour)
    behaviours = _behaviours(SERVICE, options)
    for name, behaviour in behaviours.items():
        programs[name] = partial(runner.service, behaviour, empty_start_cpu)
    if options["signed"]:
        programs[f"{SERVICE}, signed"] = partial(runner.service, behaviours[SERVICE], empty_start_cpu, form=SIGNED)
    if options["traced"]:
        traced = partial(runner.service, behaviours[SERVICE], empty_start_cpu)
        programs[f"{SERVICE}, traces off"] = partial(traced, form=TRACED[0])
        for form in TRACED:
            programs[f"{SERVICE}, {form.sampled} % sampled"] = partial(traced, form=form, exporting=True)
    if options["rebalance"]:
        for name, behaviour in behaviours.items():
            programs[f"{name}, moved"] = partial(runner.service, behaviour, empty_start_cpu, rebalance=True)
    return programs


def _behaviours(program: str, options: _Options) -> dict[str, Mirakl]:
    """How Mirakl behaves, by what the program is called in the table."""
    behaviours = {program: Mirakl(options["latency"])}
    if options["tail"]:
        behaviours[f"{program}, slow tail"] = Mirakl(options["latency"], tail=TAIL)
    if options["dead"]:
        behaviours[f"{program}, one dead"] = Mirakl(options["latency"], dead=frozenset({0}))
    return behaviours


def _rounds(programs: dict[str, Callable[[], Run]], rounds: int) -> dict[str, Sequence[Run]]:
    """Run everything once a round, every other round in the opposite order: the machine's pace drifts."""
    runs: dict[str, list[Run]] = {name: [] for name in programs}
    for number in range(rounds):
        for name, program in list(programs.items())[:: -1 if number % 2 else 1]:
            click.echo(f"round {number + 1} of {rounds}: {name}", err=True)
            runs[name].append(program())
    return dict(runs.items())


def _note(options: _Options, runs: dict[str, Sequence[Run]]) -> str:
    spread = "spread over all partitions" if options["no_key"] else "keyed by client specification"
    stayed = [name for name, each in runs.items() if any(run.moments.keys() == {"joins"} for run in each)]
    given_up = [run.given_up for each in runs.values() for run in each if run.given_up]
    return (
        f"{options['requests']:,} requests for {options['clients']} client specifications, {spread}, "
        f"{options['partitions']} partitions. CM21 takes {options['latency']}; at most {options['products_per_call']} "
        f"products a call, and {options['concurrent_calls']} calls at once for each client specification. "
        f"Processes: {options['processes']}. Log lines: {options['log']}."
        + (f" Answered of the dead one's: {given_up}." if given_up else "")
        + (f" Over before the second replica left, for want of --requests: {stayed}." if stayed else "")
    )


def _profiler(file: Path | None) -> Profiler | None:
    if file is None:
        return None
    profiler = find_profiler(file)
    if profiler is None:
        raise click.UsageError("--profile needs py-spy: pip install py-spy")
    return profiler


def _show_profile(console: Console, profiler: Profiler) -> None:
    console.print(f"Of the last run, stacks in {profiler.file}; share in the function alone, and with what it called:")
    for frame, own, whole in profiler.busiest(40):
        console.print(f"  {own:6.1%} {whole:6.1%}  {frame}", markup=False)


def _break_down(console: Console, options: _Options) -> None:
    from tests.bench.breakdown import break_down, show

    workload = Workload(min(options["requests"], BREAKDOWN_REQUESTS), options["clients"], keyed=not options["no_key"])
    with prepared(workload, options["partitions"], _limits(options), {}) as stage:
        show(break_down(stage), console)


if __name__ == "__main__":
    main()
