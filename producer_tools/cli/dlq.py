"""``mirakl-resync dlq``: records that could not be read as a request."""

from datetime import datetime

import click

from producer_tools.cli.options import (
    Output,
    api_key_option,
    coordinates,
    limit_option,
    output_option,
    since_option,
    yes_option,
)

LIST_EXAMPLES = """\b
Examples:
  mirakl-resync dlq list --since 1d
  mirakl-resync dlq list --reason UNKNOWN_SCHEMA --output json
"""
REDRIVE_EXAMPLES = """\b
Examples:
  mirakl-resync dlq redrive 0:17 2:3
  mirakl-resync dlq redrive --all --reason UNKNOWN_SCHEMA --dry-run
  mirakl-resync dlq redrive --all --reason UNKNOWN_SCHEMA --yes
"""

reason_option = click.option("--reason", metavar="R", help="Only this dlq.reason: UNREADABLE or UNKNOWN_SCHEMA.")


@click.group()
def dlq() -> None:
    """Look at dead letters, and send them once more."""


@dlq.command("list", epilog=LIST_EXAMPLES)
@since_option
@reason_option
@limit_option
@output_option(Output.TABLE, Output.JSON)
def list_(*, since: datetime | None, reason: str | None, limit: int | None, output: str) -> int:
    """List dead letters, oldest first within each partition."""
    from producer_tools.cli.dead_lettering import run_list  # noqa: PLC0415  heavy: Kafka

    return run_list(since, reason, limit, Output(output))


@dlq.command(epilog="\b\nExample:\n  mirakl-resync dlq show 0:17")
@click.argument("at", metavar="PARTITION:OFFSET")
@output_option(Output.TABLE, Output.JSON)
def show(*, at: str, output: str) -> int:
    """Show one dead letter whole."""
    from producer_tools.cli.dead_lettering import run_show  # noqa: PLC0415  heavy: Kafka

    return run_show(coordinates(at), Output(output))


@dlq.command(epilog=REDRIVE_EXAMPLES)
@click.argument("at", nargs=-1, metavar="[PARTITION:OFFSET]...")
@click.option("--all", "everything", is_flag=True, help="Every dead letter.")
@reason_option
@click.option("--again", is_flag=True, help="Also those that were redriven before.")
@click.option(
    "--unverified", is_flag=True, help="Also those whose API key was unknown: they are sent with your authority."
)
@click.option("--dry-run", is_flag=True, help="Show what would be sent; send nothing.")
@yes_option
@api_key_option
def redrive(
    *,
    at: tuple[str, ...],
    everything: bool,
    reason: str | None,
    again: bool,
    unverified: bool,
    dry_run: bool,
    yes: bool,
    api_key_file: str | None,
) -> int:
    """Send dead letters once more.

    They go to the requests topic under your own API key. Those whose key the service did not know are left out
    unless --unverified: anybody who can write to the requests topic could have written them.

    Each is sent at most once, unless --again. That is known from the requests topic itself, as far back as it is kept:
    what is older is only sent --again. A value too large for the dead-letter topic is gone and cannot be sent.

    Exit code 3 where some could not be sent, 4 where none could; what was redriven before does not count as such.
    """
    from producer_tools.cli.dead_lettering import RedriveOptions, run_redrive  # noqa: PLC0415  heavy: Kafka

    if bool(at) == everything:
        raise click.UsageError("Name dead letters as PARTITION:OFFSET, or say --all.")
    chosen = tuple(map(coordinates, at))
    return run_redrive(
        RedriveOptions(
            chosen,
            reason=reason,
            again=again,
            unverified=unverified,
            dry_run=dry_run,
            yes=yes,
            api_key_file=api_key_file,
        )
    )
