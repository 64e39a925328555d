"""What a run has shown, as tables for people and as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from tests.chaos.audit import SHOWN, Account, who_answered
from tests.chaos.run import Recovery, Report


def show(report: Report, console: Console) -> None:
    """The recovery times by kind, then the account."""
    console.print(_recoveries(report.recoveries))
    show_account(report.account, console)
    console.print(f"{report.restarts} times a replica could not start, since a part was away, and was started again")
    console.print(f"seed {report.seed}, {report.seconds:.0f} s, {len(report.violations)} violations")


def show_account(account: Account, console: Console) -> None:
    """Outcomes of all requests, and what Mirakl took in."""
    outcomes = ", ".join(f"{count} {code}" for code, count in account.outcomes.most_common())
    console.print(f"{account.requests} requests, each with exactly one outcome but for the violations: {outcomes}")
    share = account.repeated_entries / max(1, account.entries)
    console.print(
        f"{account.calls} CM21 calls took {account.entries} pairs in, "
        f"{account.repeated_entries} of them again ({share:.2%})"
    )


def show_violations(violations: Sequence[str], account: Account, folder: Path, console: Console) -> None:
    """What was broken, and where to look."""
    for violation in violations[:SHOWN]:
        console.print(f"VIOLATION: {violation}")
    if len(violations) > SHOWN:
        console.print(f"… and {len(violations) - SHOWN} more")
    for line in who_answered(folder, account.offending):
        console.print(f"  {line}")
    console.print(f"The logs of all replicas: {folder}")


def as_json(report: Report) -> str:
    """Everything."""
    account = report.account
    return json.dumps(
        {
            "seed": report.seed,
            "seconds": report.seconds,
            "restarts": report.restarts,
            "requests": account.requests,
            "outcomes": account.outcomes,
            "calls": account.calls,
            "entries": account.entries,
            "repeated_entries": account.repeated_entries,
            "violations": report.violations,
            "recovery": {kind: _figures(each) for kind, each in _by_kind(report.recoveries).items()},
            "faults": [asdict(each) for each in report.recoveries],
        },
        indent=1,
    )


def _recoveries(recoveries: Sequence[Recovery]) -> Table:
    table = Table("fault", title="Seconds from each fault, or its end, to the first result of a later request")
    for column in ("n", "undisturbed", "median", "max", "on all partitions: median", "max"):
        table.add_column(column, justify="right")
    for kind, found in sorted(_by_kind(recoveries).items()):
        figures = _figures(found)
        table.add_row(kind, *(f"{value:.2f}" if isinstance(value, float) else str(value) for value in figures.values()))
    return table


def _by_kind(recoveries: Sequence[Recovery]) -> dict[str, list[Recovery]]:
    kinds: dict[str, list[Recovery]] = {}
    for each in recoveries:
        kinds.setdefault(each.kind, []).append(each)
    return kinds


def _figures(recoveries: Sequence[Recovery]) -> dict[str, float | int | None]:
    pure = [each for each in recoveries if not each.disturbed]
    first = [each.first for each in pure if each.first is not None]
    last = [each.last for each in pure if each.last is not None]
    return {
        "n": len(recoveries),
        "undisturbed": len(pure),
        "first_median": median(first) if first else None,
        "first_max": max(first, default=None),
        "all_median": median(last) if last else None,
        "all_max": max(last, default=None),
    }
