"""``python -m tests.chaos``: faults on a real Kafka under load, then an account of every request."""

import json
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TypedDict, Unpack

import click
from rich.console import Console

from tests.chaos.faults import ALL, Fault
from tests.chaos.report import as_json, show, show_account, show_violations
from tests.chaos.run import Run
from tests.chaos.stage import Plan, new_folder, prepared
from tests.chaos.workload import clients
from tests.support.parts import PartMissing

CALL_TIMEOUT = "5s"
"""Short, so that a hanging Mirakl is noticed while the fault lasts."""


def _chosen(_context: click.Context, _option: click.Parameter, names: str) -> list[Fault]:
    wanted = [each.strip() for each in names.split(",") if each.strip()]
    unknown = set(wanted) - {fault.kind for fault in ALL}
    if unknown:
        raise click.BadParameter(f"there is no fault {', '.join(sorted(unknown))}")
    return [fault for fault in ALL if fault.kind in wanted or not wanted]


class _Options(TypedDict):
    faults: int
    seed: int | None
    protocol: str
    static: bool
    database: str
    registry: bool
    rate: float
    partitions: int
    specifications: int
    replicas: int
    only: list[Fault]
    json_file: Path | None
    keep: bool


_POSITIVE = click.IntRange(min=1)
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.group(name="python -m tests.chaos", invoke_without_command=True, context_settings={"show_default": True})
@click.option("--faults", default=100, type=_POSITIVE, help="How many, one after the other.")
@click.option("--seed", type=int, help="Decides which, when and whom.  [default: a new one, printed]")
@click.option("--protocol", default="classic", type=click.Choice(["classic", "consumer"]), help="Of the group.")
@click.option("--static", is_flag=True, help="Replicas have group instance ids.")
@click.option("--database", default="sqlite", type=click.Choice(["sqlite", "postgres"]))
@click.option("--registry", is_flag=True, help="Requests and results are framed with ids of a schema registry.")
@click.option("--rate", default=400.0, type=click.FloatRange(1), help="Requests a second.")
@click.option("--partitions", default=6, type=_POSITIVE)
@click.option("--specifications", default=8, type=_POSITIVE, help="Client specifications that share the load.")
@click.option("--replicas", default=3, type=_POSITIVE)
@click.option("--only", default="", callback=_chosen, help=f"Comma-separated: {', '.join(each.kind for each in ALL)}.")
@click.option("--json", "json_file", type=_FILE, help="Gets all figures.")
@click.option("--keep", is_flag=True, help="Keep the logs although nothing was broken.")
@click.pass_context
def main(context: click.Context, **options: Unpack[_Options]) -> None:
    """Run replicas of the service on a broker of their own, under load, while faults follow each other.

    At the end every request must have exactly one outcome for a read_committed subscriber. Exits with 1 where one
    has not, and says which logs to look at.
    """
    if context.invoked_subcommand is not None:
        return
    console = _console()
    faults = [each for each in options["only"] if each.needs != "registry" or options["registry"]]
    seed = secrets.randbits(32) if options["seed"] is None else options["seed"]
    folder = new_folder()
    console.print(f"seed {seed}, {options['protocol']} protocol, logs in {folder}")
    plan = Plan(
        options["partitions"],
        clients(options["specifications"]),
        options["replicas"],
        protocol=options["protocol"],
        static=options["static"],
        database=options["database"],
        registry=options["registry"],
        settings={"RESYNC_CALL_TIMEOUT": CALL_TIMEOUT},
    )
    try:
        with prepared(plan, folder) as stage:
            report = Run(stage, faults, seed, options["rate"], console).execute(options["faults"])
    except PartMissing as missing:
        raise click.ClickException(str(missing)) from missing
    show(report, console)
    if options["json_file"] is not None:
        options["json_file"].write_text(as_json(report))
    if report.violations:
        show_violations(report.violations, report.account, folder, console)
        context.exit(1)
    if not options["keep"]:
        shutil.rmtree(folder)


@main.command()
@click.option("--protocol", default="classic", type=click.Choice(["classic", "consumer"]), help="Of the group.")
@click.option("--rounds", default=9, type=_POSITIVE, help="Kills with each kind of membership.")
@click.option("--rebalances", default=2, type=click.IntRange(min=0), help="Replicas that join and leave, likewise.")
@click.option("--members", default="both", type=click.Choice(["dynamic", "static", "both"]), help="Of the group.")
@click.option("--only", type=click.Choice(["kills", "rebalances"]), help="Leave out the other.")
@click.option("--rate", default=300.0, type=click.FloatRange(1), help="Requests a second.")
@click.option("--json", "json_file", type=_FILE, help="Gets all figures.")
@click.pass_context
def recovery(
    context: click.Context,
    protocol: str,
    rounds: int,
    rebalances: int,
    members: str,
    only: str | None,
    rate: float,
    json_file: Path | None,
) -> None:
    """Measure how long results stand still: after kill -9, in a rolling restart, while replicas join and leave."""
    from tests.chaos import rebalances as joins
    from tests.chaos.recovery import Conditions, measure, table

    memberships = [static for static in (True, False) if members in ("both", "static" if static else "dynamic")]
    measured = []
    with _folder() as folder:
        if only != "rebalances":
            measured += measure(folder, Conditions(memberships, protocol, rounds, rate), _console())
        if only != "kills":
            measured += joins.measure(folder, Conditions(memberships, protocol, rebalances, rate), _console())
    _console().print(table(measured, protocol))
    _write(json_file, [asdict(each) for each in measured])
    context.exit(0 if all(each.held for each in measured) else 1)


@main.command()
@click.option("--rounds", default=3, type=_POSITIVE, help="Of each comparison; medians count.")
@click.option("--seconds", default=20.0, type=click.FloatRange(1), help="Of each turn.")
@click.option("--json", "json_file", type=_FILE, help="Gets all figures.")
@click.pass_context
def isolation(context: click.Context, rounds: int, seconds: float, json_file: Path | None) -> None:
    """Measure what the trouble of some clients costs the others, while replicas join and leave as well."""
    from tests.chaos import rebalances, recovery
    from tests.chaos.isolation import measure, slow_backlog, table

    with _folder() as folder:
        codes = slow_backlog(folder, _console())
        comparisons = measure(folder, rounds, seconds, _console())
        silences = rebalances.measure(folder, recovery.Conditions([False], rate=400), _console())
    _console().print(table(comparisons))
    _console().print(recovery.table(silences, "classic"))
    _write(
        json_file,
        {"backlog": codes, "comparisons": list(map(asdict, comparisons)), "rebalances": list(map(asdict, silences))},
    )
    well = all(each.held for each in comparisons) and all(each.held for each in silences)
    held = well and set(codes) == {"SYNCHRONIZED"}
    context.exit(0 if held else 1)


@main.command()
@click.option("--requests", default=1_000_000, type=_POSITIVE, help="Waiting when the service starts.")
@click.option("--json", "json_file", type=_FILE, help="Gets all figures.")
@click.pass_context
def bounds(context: click.Context, requests: int, json_file: Path | None) -> None:
    """Let requests wait for a Mirakl that is away: what they are answered, when, and how much memory it takes."""
    from tests.chaos.bounds import measure

    with _folder() as folder:
        measured = measure(folder, requests, _console())
    _write(json_file, asdict(measured))
    context.exit(0 if measured.held else 1)


@main.command()
@click.option("--from", "reference", help="Commit or tag to upgrade from.  [default: the last one in CHANGELOG.md]")
@click.option("--dynamic", is_flag=True, help="Replicas have no group instance ids.")
@click.option("--protocol", default="classic", type=click.Choice(["classic", "consumer"]), help="Of the group.")
@click.option("--database", default="postgres", type=click.Choice(["sqlite", "postgres"]))
@click.option("--rate", default=300.0, type=click.FloatRange(1), help="Requests a second.")
@click.option("--json", "json_file", type=_FILE, help="Gets all figures.")
@click.pass_context
def upgrade(
    context: click.Context,
    reference: str | None,
    *,
    dynamic: bool,
    protocol: str,
    database: str,
    rate: float,
    json_file: Path | None,
) -> None:
    """Upgrade three replicas of the former release to this one under load, one by one, and roll them back."""
    from tests.chaos.recovery import Conditions, table
    from tests.chaos.releases import CHANGELOG, checked_out, last_release
    from tests.chaos.upgrade import upgrade_and_back

    console = _console()
    with _folder() as folder:
        former = checked_out(reference or last_release(CHANGELOG.read_text()), folder)
        console.print(f"from {former.name} to this tree and back, logs in {folder}")
        found = upgrade_and_back(former, folder, console, Conditions([not dynamic], protocol, rate=rate), database)
        console.print(table(found.measured, protocol))
        show_account(found.account, console)
        _write(json_file, {"silence": [asdict(each) for each in found.measured], "outcomes": found.account.outcomes})
        if found.account.violations:
            show_violations(found.account.violations, found.account, folder, console)
        if not found.held:
            context.exit(1)


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder for logs, which stays where something goes wrong, and is named then."""
    folder = new_folder()
    try:
        yield folder
    except PartMissing as missing:
        raise click.ClickException(str(missing)) from missing
    except BaseException:
        click.echo(f"The logs: {folder}", err=True)
        raise
    shutil.rmtree(folder)


def _console() -> Console:
    return Console(soft_wrap=True, highlight=False)


def _write(file: Path | None, figures: object) -> None:
    if file is not None:
        file.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
