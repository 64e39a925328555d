"""``api-keys``: who may make requests."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import click

from consumer.adapters.stores import ApiKeys
from consumer.cli.access import InvalidInputError, database, encryption_of, read_settings
from consumer.cli.options import output_option, row_argument, tenant_filter, tenant_of_name, tenant_option
from consumer.domain.model import Role
from schemas.console.options import duration
from schemas.console.output import Output, say, show
from schemas.console.program import examples

_COLUMNS = {
    "id": "id",
    "tenant": "tenant",
    "name": "name",
    "role": "role",
    "created_at": "created",
    "expires_at": "expires",
    "revoked": "revoked",
    "can_sign": "can sign",
}


@contextmanager
def _api_keys(*, signing: bool = False) -> Iterator[ApiKeys]:
    if not signing:
        with database(read_settings("database_url")) as engine:
            yield ApiKeys(engine)
        return
    settings = read_settings("database_url", "encryption_keys", needs=["RESYNC_ENCRYPTION_KEYS"])
    with database(settings) as engine:
        yield ApiKeys(engine, encryption_of(settings))


@click.group("api-keys")
def api_keys() -> None:
    """API keys: who may make requests, for which tenant.

    A change takes effect within 5 seconds, without a restart.
    """


@api_keys.command(
    epilog=examples(
        "(umask 077; mirakl-resync-consumer api-keys issue --name monitoring > monitoring.key)",
        "mirakl-resync-consumer api-keys issue --name ada --tenant north --expires-in 90d",
        "(umask 077; mirakl-resync-consumer api-keys issue --name erp --signing > erp.key)",
    )
)
@click.option("--name", metavar="N", required=True, help="Its name, unique in the tenant.")
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    default=Role.OPERATOR.value,
    show_default=True,
    help="Only an OPERATOR may resynchronize.",
)
@tenant_option
@click.option(
    "--expires-in",
    callback=duration,
    metavar="D",
    help="How long it is valid, such as 12h or 90d.  [default: no limit]",
)
@click.option(
    "--signing",
    is_flag=True,
    help="Its holder can sign requests instead of sending the key. Needs RESYNC_ENCRYPTION_KEYS.",
)
def issue(name: str, role: str, tenant: str, expires_in: float | None, *, signing: bool) -> None:
    """Issue an API key and print it, once: it cannot be shown again."""
    expires_at = _from_now(expires_in)
    with _api_keys(signing=signing) as keys:
        issued = keys.issue(name, Role(role), tenant, expires_at, signing=signing, show=click.echo)
    until = f"until {issued.row.expires_at:%Y-%m-%d %H:%M} UTC" if issued.row.expires_at else "until it is revoked"
    say(
        f"API key {issued.row.name!r} ({issued.row.role}) of tenant {issued.row.tenant!r}, id {issued.row.id}, "
        f"valid {until}{', able to sign' if issued.row.can_sign else ''}. Store it now: it is never shown again."
    )


def _from_now(seconds: float | None) -> datetime | None:
    try:
        return None if seconds is None else datetime.now(UTC) + timedelta(seconds=seconds)
    except OverflowError:
        raise InvalidInputError(
            "--expires-in is beyond the year 9999.", "Leave it out for a key that never expires."
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
    """List the API keys, without the keys themselves."""
    with _api_keys() as keys:
        rows = [asdict(row) for row in keys.list(tenant)]
    show(rows, Output(output), columns=_COLUMNS, empty="There is no API key. Issue one with `api-keys issue`.")


@api_keys.command(
    epilog=examples(
        "mirakl-resync-consumer api-keys revoke ada --tenant north",
    )
)
@row_argument
@tenant_of_name
def revoke(row: str, tenant: str | None) -> None:
    """Revoke an API key for good."""
    with _api_keys() as keys:
        revoked = keys.revoke(row, tenant)
    say(f"Revoked API key {revoked.name!r} of tenant {revoked.tenant!r} ({revoked.id}).")
