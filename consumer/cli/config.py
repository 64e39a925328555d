"""``config`` and ``encryption-key``: the settings, and a value for one of them."""

import os
from dataclasses import asdict

import click

from consumer.adapters.stores.encryption import new_key
from consumer.cli.access import read_settings
from consumer.cli.options import output_option
from schemas.console.output import Output, show
from schemas.console.program import examples
from schemas.settings import describe, load


@click.group()
def config() -> None:
    """The settings, as this environment gives them."""


@config.command(
    "show",
    epilog=examples(
        "mirakl-resync-consumer config show",
        "mirakl-resync-consumer config show --output json | jq '.[] | select(.source != \"default\")'",
    ),
)
@output_option
def show_(output: str) -> None:
    """Show every setting, its value and where it comes from; secrets as ***."""
    rows = [asdict(row) for row in describe(load(os.environ), os.environ)]
    show(rows, Output(output), columns={"name": "name", "value": "value", "source": "source"})


@click.command(
    "encryption-key",
    epilog=examples(
        "(umask 077; mirakl-resync-consumer encryption-key > encryption.key)",
        "export RESYNC_ENCRYPTION_KEYS_FILE=$PWD/encryption.key",
    ),
)
def encryption_key() -> None:
    """Print a new Fernet key, for RESYNC_ENCRYPTION_KEYS.

    To change keys, put the new one first and keep the old ones behind it, separated by commas.
    """
    read_settings()
    click.echo(new_key())
