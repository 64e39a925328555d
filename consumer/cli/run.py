# ruff: noqa: PLC0415  heavy imports stand inside: --help answers at once
"""``run``: the service itself."""

import click

from consumer.cli.access import read_all_settings
from consumer.cli.options import examples


@click.command(
    epilog=examples(
        "RESYNC_KAFKA__BOOTSTRAP_SERVERS=kafka:9092 RESYNC_ENCRYPTION_KEYS_FILE=encryption.key \\",
        "  mirakl-resync-consumer run",
    )
)
def run() -> int:
    """Answer requests until told to stop.

    SIGTERM or SIGINT stops it once what is out has come home; a second one leaves at once, which is safe.
    Nothing is created or migrated on the way: `doctor` says what is missing.
    """
    settings = read_all_settings()
    from consumer.bootstrap import run as serve

    code: int = serve(settings)
    return code
