# ruff: noqa: PLC0415  heavy imports stand inside: --help answers at once
"""``config`` and ``encryption-key``: what can be set, and what is."""

import os
from dataclasses import asdict

import click

from consumer.cli.access import read_settings, wrong_settings
from consumer.cli.options import examples
from consumer.cli.output import output_option, show


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
    from schemas.settings import SettingsError, describe, load

    try:
        rows = describe(load(os.environ), os.environ)
    except SettingsError as error:
        raise wrong_settings(error.mistakes) from None
    show([asdict(row) for row in rows], output, columns={"name": "name", "value": "value", "source": "source"})


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
    from consumer.adapters.stores.encryption import new_key

    click.echo(new_key())
