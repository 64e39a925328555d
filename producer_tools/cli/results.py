"""``mirakl-resync results``."""

from datetime import datetime

import click

from producer_tools.cli.options import limit_option, since_option
from producer_tools.cli.result_rows import result_json, result_row, result_table, show_warnings, warn_undecodable
from producer_tools.policy import TOOLS
from producer_tools.subscriber import ResyncResults
from schemas.console.output import Output, Stream, output_option, progress, say, streaming
from schemas.console.program import examples
from schemas.exit_codes import ExitCode


@click.command(
    epilog=examples(
        "mirakl-resync results --since 2h",
        "mirakl-resync results --request-id 0f6f… --output json",
        "mirakl-resync results --follow --since 0s --output jsonl | jq 'select(.status != \"SYNCHRONIZED\")'",
    )
)
@click.option("--request-id", "request_ids", multiple=True, metavar="ID", help="Only this request; may be repeated.")
@since_option
@click.option("--follow", "-f", is_flag=True, help="Continue with new results until interrupted (or --limit).")
@limit_option
@output_option(Output.TABLE, Output.JSON, Output.JSONL)
def results(
    *, request_ids: tuple[str, ...], since: datetime | None, follow: bool, limit: int | None, output: str
) -> int:
    """Show results, oldest first within each partition.

    Reads what is in the results topic now, and with --follow also new results; `--since 0s` leaves out the past.
    """
    reader = ResyncResults(
        start=since or "beginning",
        request_ids=request_ids or None,
        follow=follow,
        on_undecodable=warn_undecodable,
    )
    show_warnings()
    form = Output(output)
    stream = Stream(form, result_table(), result_row, flush_rows=follow)
    with reader, streaming(stream):
        found = _copy(reader, stream, limit, show_progress=not follow and form is Output.TABLE)
    if not found and not follow:
        say("no results" + (" for " + ", ".join(sorted(request_ids)) if request_ids else ""))
    return ExitCode.DONE


def _copy(reader: ResyncResults, stream: Stream, limit: int | None, *, show_progress: bool) -> int:
    found = 0
    with progress("reading results", enabled=show_progress) as advance:
        while not reader.finished and found != limit:
            if result := reader.read(TOOLS.poll_seconds):
                stream.add(result_json(result))
                found += 1
                advance(found)
    return found
