"""``results``, at work."""

from datetime import datetime

from producer_tools.cli.exit_codes import ExitCode, say, show_warnings
from producer_tools.cli.options import Output
from producer_tools.cli.presentation import Stream, progress, streaming
from producer_tools.cli.result_rows import result_json, result_row, result_table
from producer_tools.subscriber import POLL_SECONDS, ResyncResults, UndecodableResult


def run_results(
    request_ids: frozenset[str], since: datetime | None, *, follow: bool, limit: int | None, output: Output
) -> int:
    results = ResyncResults(
        start=since or "beginning",
        request_ids=request_ids or None,
        follow=follow,
        on_undecodable=warn_undecodable,
    )
    show_warnings()
    stream = Stream(output, result_table(), result_row, flush_rows=follow)
    with results, streaming(stream):
        found = _copy(results, stream, limit, show_progress=not follow and output is Output.TABLE)
    if not found and not follow:
        say("no results" + (" for " + ", ".join(sorted(request_ids)) if request_ids else ""))
    return ExitCode.DONE


def warn_undecodable(undecodable: UndecodableResult) -> None:
    say(f"warning: {undecodable}")


def _copy(results: ResyncResults, stream: Stream, limit: int | None, *, show_progress: bool) -> int:
    found = 0
    with progress("reading results", enabled=show_progress) as advance:
        while not results.finished and found != limit:
            if result := results.read(POLL_SECONDS):
                stream.add(result_json(result))
                found += 1
                advance(found)
    return found
