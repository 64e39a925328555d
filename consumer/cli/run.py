"""``run``: the service itself."""

from typing import NoReturn

import click

from schemas.console.program import examples
from schemas.process.signals import StopSignals


@click.command(
    epilog=examples(
        "RESYNC_KAFKA__BOOTSTRAP_SERVERS=kafka:9092 RESYNC_ENCRYPTION_KEYS_FILE=encryption.key \\",
        "  mirakl-resync-consumer run",
    )
)
def run() -> NoReturn:
    """Answer requests until told to stop.

    SIGTERM or SIGINT stops it once its work in flight has finished; a second one ends it at once, which is safe.
    It creates and migrates nothing: `doctor` says what is missing.
    """
    with StopSignals() as signals:  # before what takes time, imports included
        from consumer.cli.access import read_all_settings  # noqa: PLC0415 - takes a moment

        settings = read_all_settings()
        from consumer.service import run as serve  # noqa: PLC0415 - takes longer than to find wrong settings

        serve(settings, signals)
