"""``db``: the tables of the stores."""

import click

from consumer.adapters.stores import OURS, check_schema, redacted
from consumer.adapters.stores.schema import upgrade as upgrade_schema
from consumer.cli.access import database, read_settings
from schemas.console.output import say
from schemas.console.program import examples


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
    """Create or migrate the tables. Safe to repeat."""
    with database(read_settings("database_url")) as engine:
        changed = upgrade_schema(engine)
        newest = check_schema(engine)
        shown = redacted(engine.url.render_as_string(hide_password=True))
    if changed:
        say(f"{shown}: upgraded to this release (schema {newest}).")
    elif newest == OURS:
        say(f"{shown}: already of this release (schema {newest}).")
    else:
        say(f"{shown}: already of a newer release (schema {newest}), which supports this one (schema {OURS}).")
