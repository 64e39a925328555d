"""``schemas``: our schemas in a schema registry."""

import click


@click.group()
def schemas() -> None:
    """Our Avro schemas in the schema registry."""
