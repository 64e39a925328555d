"""``mirakl-resync gateway``."""

from typing import NoReturn

import click

from schemas.console.program import examples
from schemas.process.signals import StopSignals

EXIT_CODES = """\b
Exit codes:
  0    stopped by SIGTERM or SIGINT
  1    a topic or a right is missing, an address is in use, or a defect
  2    wrong usage or settings
  6    broker or registry unreachable
  130, 143  a second SIGINT or SIGTERM: left at once
"""


@click.command(
    epilog=examples(
        "RESYNC_KAFKA__BOOTSTRAP_SERVERS=kafka:9092 mirakl-resync gateway",
        "RESYNC_GATEWAY__HOST=0.0.0.0 RESYNC_GATEWAY__PORT=8000 mirakl-resync gateway",
        more=EXIT_CODES,
    )
)
def gateway() -> NoReturn:
    """Serve the published HTTP operation: one request on Kafka for each call, its result as the response.

    Runs until it is stopped: SIGTERM or SIGINT lets the calls that wait have their result, for RESYNC_SHUTDOWN_TIMEOUT
    at most; a second one leaves at once. Health and metrics are at RESYNC_ADMIN__HOST and __PORT.
    """
    with StopSignals() as signals:  # before what takes time, imports included
        from producer_tools.environment import SERVING, tool_settings  # noqa: PLC0415 - takes a moment

        settings = tool_settings(SERVING)
        from producer_tools.bootstrap import run  # noqa: PLC0415 - takes longer than to find wrong settings

        run(settings, signals)
