"""``config``: the settings."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict

import click

from consumer.adapters.stores.rotation import count_key_uses
from consumer.cli.access import database, encryption_of
from consumer.cli.options import output_option
from schemas.console.output import Output, say, show
from schemas.console.program import examples
from schemas.errors import ExplainedError
from schemas.settings import Settings, describe, load


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
    """Show every setting, its value and where it comes from; secrets as ***.

    Encryption keys are told apart by fingerprints, each with the number of stored secrets that it encrypts.
    """
    settings = load(os.environ)
    rows = [asdict(row) for row in describe(settings, os.environ)]
    if settings.encryption_keys:
        (keys,) = (row for row in rows if row["name"] == "RESYNC_ENCRYPTION_KEYS")
        keys["value"] = ", ".join(_key_uses(settings))
    show(rows, Output(output), columns={"name": "name", "value": "value", "source": "source"})


def _key_uses(settings: Settings) -> Iterator[str]:
    """Yield each key as ***, its fingerprint and its use; without a database, the use is unknown."""
    encryption = encryption_of(settings)
    try:
        with database(settings) as engine:
            secrets: Mapping[str, int] = count_key_uses(engine, encryption).secrets
    except ExplainedError as error:
        say(f"It is not known which encryption keys are in use: {error}")
        secrets = {}
    for each in encryption.fingerprints:
        yield f"*** ({each}: {secrets[each]} secrets)" if secrets else f"*** ({each})"
