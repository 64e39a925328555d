"""``clients check``: one CM22 call for each client specification."""

import asyncio
from collections.abc import Sequence
from contextlib import closing

import click

from consumer.adapters.finding import Level
from consumer.adapters.mirakl.address import host_rules
from consumer.adapters.mirakl.check import CheckResult, check
from consumer.adapters.mirakl.policy import MIRAKL
from consumer.adapters.mirakl.way_out import WayOut
from consumer.adapters.stores import ClientSpecificationRow, ClientSpecifications, DirectoryReader
from consumer.cli.access import database, encryption_of, read_settings
from consumer.cli.options import output_option
from consumer.domain.model import ClientSpecification
from schemas.console.output import Output, show
from schemas.console.program import examples
from schemas.contract import canonical_uuid
from schemas.exit_codes import ExitCode
from schemas.explanation import Explanation
from schemas.settings import Settings

_COLUMNS = {"level": "", "tenant": "tenant", "name": "name", "message": "found", "remedy": "remedy"}
_GONE = Explanation("It was removed, or given another id, while this command ran.", "Run the command again.")


@click.command(
    "check",
    epilog=examples(
        "mirakl-resync-consumer clients check",
        "mirakl-resync-consumer clients check acme --tenant north",
        "mirakl-resync-consumer clients check --output json | jq -r '.[] | select(.level != \"OK\") | .name'",
    ),
)
@click.argument("rows", metavar="[ID|NAME]...", nargs=-1)
@click.option(
    "--tenant",
    metavar="T",
    help="The tenant, where a name needs it; without names, only those of this tenant.  [default: all]",
)
@output_option
def check_clients(rows: tuple[str, ...], tenant: str | None, output: str) -> int:
    """Check address and credential of client specifications.

    Asks each Mirakl for the state of a synchronization that cannot exist (CM22), with one request each. Nothing is
    synchronized. Suspended and inactive ones are checked as well.
    One that the service could not read fails.

    Exit code 0: all passed; 1: some failed.
    """
    settings = read_settings(
        *("database_url", "insecure_hosts", "mirakl", "call_timeout", "encryption_keys"),
        needs=["RESYNC_ENCRYPTION_KEYS"],
    )
    chosen = _chosen(settings, rows, tenant)
    results = asyncio.run(_check_all([found for _, found in chosen], settings))
    shown = [
        {
            "level": Level.OK if result.passed else Level.FAIL,
            "id": row.id,
            "tenant": row.tenant,
            "name": row.name,
            "message": result.message,
            "remedy": result.remedy,
        }
        for (row, _), result in zip(chosen, results, strict=True)
    ]
    show(shown, Output(output), columns=_COLUMNS, empty="There is no client specification. Add one with `clients add`.")
    return ExitCode.DONE if all(result.passed for result in results) else ExitCode.FAILED


def _chosen(
    settings: Settings, rows: Sequence[str], tenant: str | None
) -> list[tuple[ClientSpecificationRow, ClientSpecification | Explanation]]:
    """Return the named rows in the order given, each once; without names all, by tenant and name.

    With each its specification as the service reads it, or an explanation why there is none.
    """
    encryption, hosts = encryption_of(settings), host_rules(settings)
    with database(settings) as engine:
        stored = ClientSpecifications(engine)
        chosen = [stored.get(row, tenant) for row in rows] or stored.list(tenant)
        with closing(DirectoryReader(engine, encryption, hosts)) as reader:
            directory = reader.read(None)
            left_out = reader.left_out
    found = {} if directory is None else directory.specifications
    return [
        (row, found.get(canonical_uuid(str(row.id)) or "") or left_out.get(str(row.id), _GONE))
        for row in {row.id: row for row in chosen}.values()
    ]


async def _check_all(chosen: Sequence[ClientSpecification | Explanation], settings: Settings) -> list[CheckResult]:
    way_out, free = WayOut.of(settings.mirakl), asyncio.Semaphore(MIRAKL.concurrent_looks)

    async def one(specification: ClientSpecification | Explanation) -> CheckResult:
        if isinstance(specification, Explanation):
            return CheckResult.failed(*specification)
        async with free:
            return await check(specification, way_out, settings.call_timeout)

    return await asyncio.gather(*map(one, chosen))
