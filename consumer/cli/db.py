# ruff: noqa: PLC0415  heavy imports stand inside: --help answers at once
"""``db``: the tables of the stores."""

import click

from consumer.cli.access import database, read_settings
from consumer.cli.options import examples
from consumer.cli.output import message


@click.group()
def db() -> None:
    """The database of client specifications and keys."""


@db.command(
    epilog=examples(
        "mirakl-resync-consumer db upgrade",
        "RESYNC_DATABASE_URL=postgresql+psycopg://resync@db/resync mirakl-resync-consumer db upgrade",
    )
)
def upgrade() -> None:
    """Make the tables, or bring them to this release. Once more does no harm."""
    with database(read_settings("database_url")) as engine:
        from consumer.adapters.stores import redacted
        from consumer.adapters.stores.schema import upgrade as upgrade_schema

        changed = upgrade_schema(engine)
        shown = redacted(engine.url.render_as_string(hide_password=True))
    message(f"{shown}: {'upgraded to this release' if changed else 'already of this release'}.")
