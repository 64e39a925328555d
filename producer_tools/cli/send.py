"""``mirakl-resync send``: sends all requests, then waits for their results if asked to."""

import sys
import time
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import click

from producer_tools.cli.options import api_key_from, api_key_option, yes_option
from producer_tools.cli.result_rows import answer_row, answer_table, event_json, result_json, warn_undecodable
from producer_tools.cli.send_plan import SendOptions, SendPlan, plan_requests
from producer_tools.environment import SENDING, tool_settings
from producer_tools.errors import ResyncToolError, UnreachableError
from producer_tools.publisher import ResyncPublisher, encoded
from producer_tools.sender import Acknowledgement
from producer_tools.subscriber import POLL_SECONDS, ReceivedResult, ResyncResults
from schemas.avro.codec import RequestEncoder
from schemas.console.options import duration
from schemas.console.output import Cell, JsonObject, Output, Stream, Table, output_option, progress, say, streaming
from schemas.console.program import examples
from schemas.errors import exit_code_of
from schemas.events import ProductResyncRequested, ResyncStatus
from schemas.exit_codes import ExitCode, foremost
from schemas.settings import format_duration

PRODUCT_FILES = """\b
Product files (UTF-8):
  .csv    a header with miraklProductId and productSku; other columns are ignored
  .json   [{"miraklProductId": "MKL-001", "productSku": "SKU-42"}, ...], or the body of the
          published operation: {"clientSpecificationId": ..., "products": [...]}
  .jsonl  one such object a line
  -       standard input, whichever of these it is
"""

CONFIRM_ABOVE = 500
"""Products that are sent without confirmation."""

NAMED_AT_MOST = 20
"""Request ids in a message for people; the data contains all."""


@dataclass(slots=True)
class Dispatch:
    """One request that is being sent."""

    request: ProductResyncRequested
    acknowledgement: Acknowledgement | None = None
    failure: BaseException | None = None
    """Why it is not acknowledged; ``None`` also while nobody knows."""
    result: ReceivedResult | None = None

    @property
    def request_id(self) -> str:
        return self.request.request_id


@click.command(
    epilog=examples(
        "mirakl-resync send --product MKL-001:SKU-42 --wait",
        'mirakl-resync send --file products.csv --reason "after the price import" --wait --output json',
        "jq -c '.stale[]' report.json | mirakl-resync send --file - --yes --output ids",
        "mirakl-resync send --file products.jsonl --batch-size 500 --dry-run",
        more=PRODUCT_FILES,
    )
)
@click.option("--product", "products", multiple=True, metavar="MIRAKL_ID:SKU", help="A product; may be repeated.")
@click.option(
    "--file",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    metavar="FILE",
    help="A list of products, see below; - is standard input.",
)
@click.option(
    "--client-specification",
    metavar="UUID",
    help="The Mirakl client configuration; without it the only active one is used.",
)
@click.option("--reason", metavar="TEXT", help="Why, for people.")
@click.option("--requested-by", metavar="WHO", help="Who or what makes the request.  [default: user@host]")
@click.option("--wait", is_flag=True, help="Wait for the results and show the result of each request.")
@click.option(
    "--timeout", callback=duration, default="330s", show_default=True, metavar="S", help="How long to --wait."
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    metavar="N",
    help="Products per request.  [default: as many as one request may hold]",
)
@click.option("--dry-run", is_flag=True, help="Check everything and show what would be sent; send nothing.")
@yes_option
@api_key_option
@output_option(Output.TABLE, Output.JSON, Output.JSONL, Output.IDS)
def send(  # noqa: PLR0913  one argument per option
    *,
    products: tuple[str, ...],
    file: str | None,
    client_specification: str | None,
    reason: str | None,
    requested_by: str | None,
    wait: bool,
    timeout: float,
    batch_size: int | None,
    dry_run: bool,
    yes: bool,
    api_key_file: str | None,
    output: str,
) -> int:
    """Request that products are pushed to Mirakl again.

    All input is checked before anything is sent; each mistake is named with its line. Exact duplicates are sent once.
    More than 500 products require confirmation on a terminal, or --yes without one.
    """
    options = SendOptions(products, file, client_specification, reason, requested_by, batch_size)
    if dry_run:
        return _dry_run(options, Output(output))
    return _send_all(options, timeout if wait else None, Output(output), yes=yes, api_key_file=api_key_file)


def _dry_run(options: SendOptions, output: Output) -> int:
    """Check everything, and show what would be sent."""
    settings = tool_settings(SENDING, needs=())
    plan = plan_requests(options, settings.max_products_per_request)
    for request in plan.requests:
        encoded(request, RequestEncoder(), settings.max_request_bytes)
    _say_notes(plan)
    table = Table("request", "products", "first", "last", "client specification")
    with streaming(Stream(output, table, _planned_row)) as stream:
        for number, request in enumerate(plan.requests, 1):
            stream.add(_planned_json(number, request))
    products, requests = _count(plan.product_count, "product"), _count(len(plan.requests), "request")
    say(f"dry run: would send {products} in {requests}; nothing was sent")
    return ExitCode.DONE


def _send_all(
    options: SendOptions, timeout: float | None, output: Output, *, yes: bool, api_key_file: str | None
) -> int:
    """Send; ``timeout``: seconds to wait for the results, ``None``: do not wait."""
    settings = tool_settings(SENDING)
    plan = plan_requests(options, settings.max_products_per_request)
    publisher = ResyncPublisher(settings, api_key=api_key_from(api_key_file))
    _say_notes(plan)
    _confirm(plan, settings.topics.requests, yes=yes)
    dispatches = [Dispatch(request) for request in plan.requests]
    if timeout is None:
        return _send(publisher, dispatches, output)
    ids = [dispatch.request_id for dispatch in dispatches]
    # Watching begins before sending, so that no result can be missed.
    with ResyncResults(settings, start="end", request_ids=ids, follow=True, on_undecodable=warn_undecodable) as watch:
        return _send_and_wait(publisher, watch, dispatches, timeout, output)


def _send(publisher: ResyncPublisher, dispatches: list[Dispatch], output: Output) -> int:
    codes = _deliver(publisher, dispatches)
    with streaming(Stream(output, Table("request", "products", "partition", "offset"), _sent_row)) as stream:
        for dispatch in dispatches:
            if dispatch.acknowledgement:
                stream.add(_sent_json(dispatch, dispatch.acknowledgement))
    return foremost(codes)


def _send_and_wait(
    publisher: ResyncPublisher, watch: ResyncResults, dispatches: list[Dispatch], timeout: float, output: Output
) -> int:
    codes = _deliver(publisher, dispatches)
    acknowledged = [dispatch for dispatch in dispatches if dispatch.acknowledgement]
    with streaming(Stream(output, answer_table(), answer_row)) as stream:
        if output is Output.IDS:
            for dispatch in acknowledged:
                stream.add({"requestId": dispatch.request_id})
        if ExitCode.INTERRUPTED not in codes:
            codes |= _await_results(watch, acknowledged, timeout, stream if output is Output.JSONL else None)
        if output is not Output.IDS:
            for dispatch in acknowledged:
                if not (dispatch.result and output is Output.JSONL):
                    stream.add(_answer_json(dispatch))
    codes |= _result_codes(acknowledged)
    _say_answers(acknowledged, timeout, interrupted=ExitCode.INTERRUPTED in codes)
    return foremost(codes)


def _deliver(publisher: ResyncPublisher, dispatches: list[Dispatch]) -> set[ExitCode]:
    """Send all and wait for the acknowledgement of each; raises only while nothing has been sent yet."""
    deliveries: list[Future[Acknowledgement]] = []
    codes: set[ExitCode] = set()
    records = [publisher.prepare(dispatch.request) for dispatch in dispatches]
    try:
        with publisher, progress("sending", len(records)) as advance:
            deliveries += map(publisher.submit_record, records)
            for done, delivery in enumerate(deliveries, 1):
                delivery.exception()
                advance(done)
    except KeyboardInterrupt:
        codes.add(ExitCode.INTERRUPTED)
    for dispatch, delivery in zip(dispatches, deliveries, strict=False):  # fewer deliveries: interrupted
        dispatch.failure = delivery.exception(0)
        dispatch.acknowledgement = None if dispatch.failure else delivery.result(0)
    return codes | _delivery_codes(dispatches)


def _delivery_codes(dispatches: list[Dispatch]) -> set[ExitCode]:
    missing = [dispatch for dispatch in dispatches if dispatch.acknowledgement is None]
    failures = [dispatch.failure for dispatch in missing if dispatch.failure]
    if missing:
        why = f": {failures[0]}" if failures else ", the rest was not sent"
        say(f"error: {len(missing)} of {_count(len(dispatches), 'request')} not acknowledged{why}")
        say(f"not acknowledged: {_named(missing)}")
    if any(isinstance(failure, UnreachableError) for failure in failures):
        return {ExitCode.UNREACHABLE}
    if failures and len(missing) == len(dispatches):
        return {exit_code_of(failures[0])}
    return {ExitCode.FAILED} if failures else set()


def _await_results(
    watch: ResyncResults, acknowledged: Sequence[Dispatch], timeout: float, stream: Stream | None
) -> set[ExitCode]:
    waiting = {dispatch.request_id: dispatch for dispatch in acknowledged}
    deadline = time.monotonic() + timeout
    show = stream is None or not sys.stdout.isatty()
    try:
        with progress("waiting for results", len(waiting), enabled=show) as advance:
            while waiting and (left := deadline - time.monotonic()) > 0:
                result = watch.read(min(POLL_SECONDS, left))
                dispatch = waiting.pop(result.value.request_id, None) if result else None
                if dispatch is None or result is None:
                    continue
                dispatch.result = result
                advance(len(acknowledged) - len(waiting))
                if stream:
                    stream.add(result_json(result))
        if waiting:
            watch.check_reachable()
    except KeyboardInterrupt:
        return {ExitCode.INTERRUPTED}
    except ResyncToolError as error:
        say(f"error: {error}")
        return {error.exit_code}
    return set()


def _result_codes(acknowledged: Collection[Dispatch]) -> set[ExitCode]:
    statuses = [dispatch.result.value.status for dispatch in acknowledged if dispatch.result]
    codes: set[ExitCode] = set()
    if len(statuses) < len(acknowledged):
        codes.add(ExitCode.NO_RESULT_IN_TIME)
    if statuses and all(status is ResyncStatus.FAILED for status in statuses):
        codes.add(ExitCode.ALL_FAILED)
    elif any(status is not ResyncStatus.SYNCHRONIZED for status in statuses):
        codes.add(ExitCode.SOME_FAILED)
    return codes


def _say_answers(acknowledged: Sequence[Dispatch], timeout: float, *, interrupted: bool) -> None:
    statuses = Counter(dispatch.result.value.status.value for dispatch in acknowledged if dispatch.result)
    told = ", ".join(f"{count} {status.lower().replace('_', ' ')}" for status, count in statuses.items())
    say(f"{statuses.total()} of {_count(len(acknowledged), 'request')} answered{': ' + told if told else ''}")
    unanswered = [dispatch for dispatch in acknowledged if dispatch.result is None]
    if unanswered:
        when = "yet" if interrupted else f"within {format_duration(timeout)}"
        say(f"no result {when}: {_named(unanswered)}")
        say(f"look again with `mirakl-resync results --request-id {unanswered[0].request_id}`")


def _confirm(plan: SendPlan, topic: str, *, yes: bool) -> None:
    if yes or plan.product_count <= CONFIRM_ABOVE:
        return
    what = f"{_count(plan.product_count, 'product')} in {_count(len(plan.requests), 'request')}"
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise click.UsageError(
            f"{what} are more than {CONFIRM_ABOVE} products, and there is no terminal to ask on: add --yes."
        )
    click.confirm(f"Send {what} to {topic}?", abort=True, err=True)


def _say_notes(plan: SendPlan) -> None:
    for note in plan.notes:
        say(f"note: {note}")


def _planned_json(number: int, request: ProductResyncRequested) -> JsonObject:
    event = event_json(request)
    return {"request": number} | {name: event[name] for name in event if name not in ("requestId", "requestedAt")}


def _planned_row(item: JsonObject) -> Sequence[Cell]:
    products = [f"{product['miraklProductId']}:{product['productSku']}" for product in item["products"]]
    return str(item["request"]), str(len(products)), products[0], products[-1], item["clientSpecificationId"] or "-"


def _sent_json(dispatch: Dispatch, at: Acknowledgement) -> JsonObject:
    return {
        "requestId": dispatch.request_id,
        "clientSpecificationId": dispatch.request.client_specification_id,
        "products": len(dispatch.request.products),
        "topic": at.topic,
        "partition": at.partition,
        "offset": at.offset,
    }


def _sent_row(item: JsonObject) -> Sequence[Cell]:
    return item["requestId"], str(item["products"]), str(item["partition"]), str(item["offset"])


def _answer_json(dispatch: Dispatch) -> JsonObject:
    """Return the result, or what is known without one; then ``status`` is null."""
    return result_json(dispatch.result) if dispatch.result else {"requestId": dispatch.request_id, "status": None}


def _named(dispatches: Iterable[Dispatch]) -> str:
    ids = [dispatch.request_id for dispatch in dispatches]
    more = len(ids) - NAMED_AT_MOST
    return ", ".join(ids[:NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
