# ruff: noqa: PLC0415  heavy imports stand inside: --help answers at once
"""What the declarations of several commands share."""

import click


def examples(*lines: str) -> str:
    """Show them below a command's help, as they are."""
    return "\n".join(("\b", "Examples:", *(f"  {line}" for line in lines)))


tenant_option = click.option(
    "--tenant", metavar="T", default="default", show_default=True, help="Whose: the tenant of the requesters."
)
tenant_filter = click.option("--tenant", metavar="T", help="Only those of this tenant.  [default: all]")
tenant_of_name = click.option(
    "--tenant", metavar="T", help="The tenant, where a name needs it.  [default: the tenant 'default']"
)
row_argument = click.argument("row", metavar="ID|NAME")


def duration(_context: click.Context, _parameter: click.Parameter, value: str | None) -> float | None:
    """Read an option as seconds (click callback)."""
    from schemas.settings.durations import parse_duration

    try:
        return None if value is None else parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from None
