# ruff: noqa: PLC0415  heavy imports stand inside: --help answers at once
"""``api-keys``: who may ask for a resynchronization."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from consumer.cli.access import database, read_settings
from consumer.cli.failure import ExitCode, Failure
from consumer.cli.options import duration, examples, row_argument, tenant_filter, tenant_of_name, tenant_option
from consumer.cli.output import message, output_option, show
from consumer.domain.model import Role

if TYPE_CHECKING:
    from consumer.adapters.stores import ApiKeys

_COLUMNS = {
    "id": "id",
    "tenant": "tenant",
    "name": "name",
    "role": "role",
    "created_at": "created",
    "expires_at": "expires",
    "revoked": "revoked",
}


@contextmanager
def _api_keys() -> Iterator[ApiKeys]:
    from consumer.adapters.stores import ApiKeys

    with database(read_settings("database_url")) as engine:
        yield ApiKeys(engine)


@click.group("api-keys")
def api_keys() -> None:
    """API keys: who may ask, for which tenant.

    A change takes effect within 5 seconds, without a restart.
    """


@api_keys.command(
    epilog=examples(
        "(umask 077; mirakl-resync-consumer api-keys issue --name monitoring > monitoring.key)",
        "mirakl-resync-consumer api-keys issue --name ada --tenant north --expires-in 90d",
    )
)
@click.option("--name", metavar="N", required=True, help="What people call the key.")
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    default=Role.OPERATOR.value,
    show_default=True,
    help="Only an OPERATOR may resynchronize.",
)
@tenant_option
@click.option("--expires-in", callback=duration, metavar="D", help="Its life, such as 12h or 90d.  [default: endless]")
def issue(name: str, role: str, tenant: str, expires_in: float | None) -> None:
    """Make an API key and print it, this once: nobody can show it again."""
    expires_at = _from_now(expires_in)
    with _api_keys() as keys:
        issued = keys.issue(name, Role(role), tenant, expires_at, show=click.echo)
    until = f"until {issued.row.expires_at:%Y-%m-%d %H:%M} UTC" if issued.row.expires_at else "until it is revoked"
    message(
        f"API key {issued.row.name!r} ({issued.row.role}) of tenant {issued.row.tenant!r}, id {issued.row.id}, "
        f"valid {until}. Keep it now: it is never shown again."
    )


def _from_now(seconds: float | None) -> datetime | None:
    try:
        return None if seconds is None else datetime.now(UTC) + timedelta(seconds=seconds)
    except OverflowError:
        raise Failure(
            "--expires-in lies beyond the year 9999: leave it out for a key without end.", ExitCode.USAGE
        ) from None


@api_keys.command(
    "list",
    epilog=examples(
        "mirakl-resync-consumer api-keys list",
        "mirakl-resync-consumer api-keys list --tenant north --output json",
    ),
)
@tenant_filter
@output_option
def list_(tenant: str | None, output: str) -> None:
    """List the API keys: everything but the keys themselves."""
    with _api_keys() as keys:
        rows = [asdict(row) for row in keys.list(tenant)]
    show(rows, output, columns=_COLUMNS, empty="No API key. Make one: `api-keys issue`.")


@api_keys.command(
    epilog=examples(
        "mirakl-resync-consumer api-keys revoke ada --tenant north",
    )
)
@row_argument
@tenant_of_name
def revoke(row: str, tenant: str | None) -> None:
    """Refuse an API key from now on, for ever."""
    with _api_keys() as keys:
        revoked = keys.revoke(row, tenant)
    message(f"Revoked API key {revoked.name!r} of tenant {revoked.tenant!r} ({revoked.id}).")
