"""``mirakl-resync alerts``."""

import click

from producer_tools.cli.options import Output, output_option

EXAMPLES = """\b
Examples:
  mirakl-resync alerts check rules.yaml
  mirakl-resync alerts check rules.yaml --payload notification.json
  mirakl-resync alerts check rules.yaml --payload - --output json < notification.json

\b
Exit codes:
  0    no errors
  2    errors, each with its line
"""


@click.group(epilog=EXAMPLES)
def alerts() -> None:
    """Check the rules by which the gateway turns alerts into requests."""


@alerts.command(epilog=EXAMPLES)
@click.argument("rules", type=click.Path(exists=True, dir_okay=False))
@click.option(
    "--payload",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    metavar="FILE",
    help="A notification of Alertmanager or Grafana (JSON); - is standard input.",
)
@output_option(Output.TABLE, Output.JSON)
def check(*, rules: str, payload: str | None, output: str) -> int:
    """Check a rules file, and show what a notification would become.

    Reports every error of the RULES with its line. With --payload, shows the requests that the alerts would become,
    and why each of the others would not. Product files are read; API keys are not. Needs no Kafka and sends nothing.
    """
    from producer_tools.cli.alert_check import check_rules  # noqa: PLC0415  heavy: YAML, Avro

    return check_rules(rules, payload, Output(output))
