"""``mirakl-resync results``."""

from datetime import datetime

import click

from producer_tools.cli.options import Output, limit_option, output_option, since_option

EXAMPLES = """\b
Examples:
  mirakl-resync results --since 2h
  mirakl-resync results --request-id 0f6f… --output json
  mirakl-resync results --follow --since 0s --output jsonl | jq 'select(.status != "SYNCHRONIZED")'
"""


@click.command(epilog=EXAMPLES)
@click.option("--request-id", "request_ids", multiple=True, metavar="ID", help="Only this request; may be repeated.")
@since_option
@click.option("--follow", "-f", is_flag=True, help="Go on with new results until interrupted (or --limit).")
@limit_option
@output_option(Output.TABLE, Output.JSON, Output.JSONL)
def results(
    *, request_ids: tuple[str, ...], since: datetime | None, follow: bool, limit: int | None, output: str
) -> int:
    """Show results, oldest first within each partition.

    Reads what is in the results topic now, and with --follow also what comes; `--since 0s` leaves out the past.
    """
    from producer_tools.cli.listing import run_results  # noqa: PLC0415  heavy: Kafka and Avro

    return run_results(frozenset(request_ids), since, follow=follow, limit=limit, output=Output(output))
