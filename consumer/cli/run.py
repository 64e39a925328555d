# ruff: noqa: PLC0415  heavy imports stand inside: --help answers at once
"""``run``: the service itself."""

from typing import NoReturn

import click

from consumer.cli.access import broker_troubles, read_all_settings, registry_troubles, store_troubles
from consumer.cli.failure import ExitCode, Failure
from consumer.cli.options import examples
from schemas.process.signals import StopSignals


@click.command(
    epilog=examples(
        "RESYNC_KAFKA__BOOTSTRAP_SERVERS=kafka:9092 RESYNC_ENCRYPTION_KEYS_FILE=encryption.key \\",
        "  mirakl-resync-consumer run",
    )
)
def run() -> NoReturn:
    """Answer requests until told to stop.

    SIGTERM or SIGINT stops it once what is out has come home; a second one leaves at once, which is safe.
    Nothing is created or migrated on the way: `doctor` says what is missing.
    """
    with StopSignals() as signals:  # before what takes time, imports included
        settings = read_all_settings()
        from consumer.adapters.schema_registry import SchemaNotRegisteredError
        from consumer.service import run as serve
        from schemas.process.health import AdminAddressError

        with store_troubles(), broker_troubles(), registry_troubles():
            try:
                serve(settings, signals)
            except (AdminAddressError, SchemaNotRegisteredError) as error:
                raise Failure(str(error), ExitCode.FAILED) from error
