"""``mirakl-resync send``: sends all requests, then waits for their results if asked to."""

from collections.abc import Sequence

import click

from producer_tools.cli.delivery import counted
from producer_tools.cli.dispatch import Dispatch, dispatch
from producer_tools.cli.options import api_key_from, api_key_option, confirm, timeout_option, wait_option, yes_option
from producer_tools.cli.result_rows import event_json
from producer_tools.cli.send_plan import SendOptions, SendPlan, plan_requests
from producer_tools.environment import SENDING, tool_settings
from producer_tools.policy import TOOLS
from producer_tools.publisher import ResyncPublisher, encoded
from schemas.avro.codec import RequestEncoder
from schemas.console.output import Cell, JsonObject, Output, Stream, Table, output_option, say, streaming
from schemas.console.program import examples
from schemas.events import ProductResyncRequested
from schemas.exit_codes import ExitCode, foremost

PRODUCT_FILES = """\b
Product files (UTF-8):
  .csv    a header with miraklProductId and productSku; other columns are ignored
  .json   [{"miraklProductId": "MKL-001", "productSku": "SKU-42"}, ...], or the body of the
          published operation: {"clientSpecificationId": ..., "products": [...]}
  .jsonl  one such object a line
  -       standard input, whichever of these it is
"""


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
@wait_option
@timeout_option
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
    products, requests = counted(plan.product_count, "product"), counted(len(plan.requests), "request")
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
    records = list(map(publisher.prepare, plan.requests))
    return foremost(dispatch(publisher, list(map(Dispatch.of, plan.requests)), records, output, timeout=timeout))


def _confirm(plan: SendPlan, topic: str, *, yes: bool) -> None:
    if yes or plan.product_count <= TOOLS.confirm_above:
        return
    what = f"{counted(plan.product_count, 'product')} in {counted(len(plan.requests), 'request')}"
    problem = f"{what} are more than {TOOLS.confirm_above} products, and there is no terminal to ask on: add --yes."
    confirm(f"Send {what} to {topic}?", otherwise=problem)


def _say_notes(plan: SendPlan) -> None:
    for note in plan.notes:
        say(f"note: {note}")


def _planned_json(number: int, request: ProductResyncRequested) -> JsonObject:
    event = event_json(request)
    return {"request": number} | {name: event[name] for name in event if name not in ("requestId", "requestedAt")}


def _planned_row(item: JsonObject) -> Sequence[Cell]:
    products = [f"{product['miraklProductId']}:{product['productSku']}" for product in item["products"]]
    return str(item["request"]), str(len(products)), products[0], products[-1], item["clientSpecificationId"] or "-"
