"""``mirakl-resync send``."""

import click

from producer_tools.cli.options import Output, api_key_option, output_option, seconds, yes_option

EXAMPLES = """\b
Examples:
  mirakl-resync send --product MKL-001:SKU-42 --wait
  mirakl-resync send --file products.csv --reason "after the price import" --wait --output json
  jq -c '.stale[]' report.json | mirakl-resync send --file - --yes --output ids
  mirakl-resync send --file products.jsonl --batch-size 500 --dry-run

\b
Product files (UTF-8):
  .csv    a header with miraklProductId and productSku; other columns are ignored
  .json   [{"miraklProductId": "MKL-001", "productSku": "SKU-42"}, ...], or the body of the
          published operation: {"clientSpecificationId": ..., "products": [...]}
  .jsonl  one such object a line
  -       standard input, whichever of these it is
"""


@click.command(epilog=EXAMPLES)
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
@click.option("--requested-by", metavar="WHO", help="Who or what asks.  [default: user@host]")
@click.option("--wait", is_flag=True, help="Wait for the results and tell what came of each request.")
@click.option("--timeout", callback=seconds, default="330s", show_default=True, metavar="S", help="How long to --wait.")
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
    """Ask for products to be pushed to Mirakl again.

    All input is checked before anything is sent; each mistake is named with its line. Exact repeats are sent once.
    More than 500 products ask for confirmation, or need --yes where nobody can be asked.
    """
    from producer_tools.cli.ordering import Order  # noqa: PLC0415  heavy: Kafka, Avro
    from producer_tools.cli.sending import dry_run_order, send_order  # noqa: PLC0415  heavy: Kafka, Avro

    order = Order(products, file, client_specification, reason, requested_by, batch_size)
    if dry_run:
        return dry_run_order(order, Output(output))
    return send_order(order, timeout if wait else None, Output(output), yes=yes, api_key_file=api_key_file)
