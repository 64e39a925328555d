"""``clients``: the client specifications (Mirakl client configurations) of the tenants."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypedDict, TypeVar, Unpack

import click

from consumer.adapters.mirakl.address import host_rules
from consumer.adapters.stores import (
    ClientSpecificationRow,
    ClientSpecifications,
    EncryptionKeysNeededError,
    SpecificationChanges,
    read_credential,
)
from consumer.cli.access import InvalidInputError, database, encryption_of, read_settings
from consumer.cli.client_checks import check_clients
from consumer.cli.options import output_option, row_argument, tenant_filter, tenant_of_name, tenant_option
from consumer.domain.model import AuthScheme
from schemas.console.output import Output, say, show
from schemas.console.program import examples
from schemas.settings import Edge, Settings, SettingsError
from schemas.settings.secret_files import FileTooLargeError, read_limited

_Command = TypeVar("_Command", bound=Callable[..., Any])

_COLUMNS = {
    "id": "id",
    "tenant": "tenant",
    "name": "name",
    "base_url": "url",
    "auth_scheme": "auth",
    "active": "active",
    "suspended": "suspended",
    "products_per_call": "per call",
    "concurrent_calls": "at once",
    "calls_per_hour": "per hour",
}
_UNLIMITED = "unlimited"
_STORE: tuple[Edge, ...] = ("database_url", "insecure_hosts")
_HOSTS: tuple[Edge, ...] = (*_STORE, "mirakl")
_KEYS = ("RESYNC_ENCRYPTION_KEYS",)


def _rate(_context: click.Context, _parameter: click.Parameter, value: str | None) -> int | str | None:
    if value is None or value == _UNLIMITED:
        return value
    try:
        return int(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is neither a whole number nor `{_UNLIMITED}`.") from None


class _Given(TypedDict):
    """The options as click passes them; ``None``: not given."""

    name: str | None
    url: str | None
    credential_file: str | None
    auth: str | None
    active: bool | None
    id: str | None
    products_per_call: int | None
    concurrent_calls: int | None
    calls_per_hour: int | str | None


def _specification_options(*, adding: bool) -> Callable[[_Command], _Command]:
    def says(text: str, default: str) -> str:
        return f"{text}  [default: {default}]" if adding else text

    options = (
        click.option("--name", metavar="N", required=adding, help="Its name, unique in the tenant."),
        click.option("--url", metavar="URL", required=adding, help="The base URL of its Mirakl."),
        click.option(
            "--credential-file",
            metavar="F",
            required=adding,
            help="A file with Mirakl's key or token; `-`: standard input.",
        ),
        click.option(
            "--auth",
            type=click.Choice([scheme.value for scheme in AuthScheme]),
            help=says("How Mirakl wants the credential.", "bearer"),
        ),
        click.option(
            "--active/--inactive",
            "active",
            default=None,
            help=says("Whether it is used for requests that name none.", "active"),
        ),
        click.option("--id", metavar="UUID", help=says("Its id.", "a new one")),
        click.option(
            "--products-per-call",
            type=int,
            metavar="K",
            help=says("Maximum products in one CM21 call.", "1000"),
        ),
        click.option(
            "--concurrent-calls",
            type=int,
            metavar="C",
            help=says("Maximum concurrent CM21 calls, per replica.", "4"),
        ),
        click.option(
            "--calls-per-hour",
            callback=_rate,
            metavar="R",
            help=says(f"Maximum CM21 calls an hour, per replica, or `{_UNLIMITED}`.", _UNLIMITED),
        ),
    )

    def decorate(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _changes(given: _Given) -> SpecificationChanges:
    """Return what was given, by the names of the stores."""
    changes: dict[str, Any] = {
        "name": given["name"],
        "base_url": given["url"],
        "auth_scheme": given["auth"] and AuthScheme(given["auth"]),
        "active": given["active"],
        "id": given["id"],
        "products_per_call": given["products_per_call"],
        "concurrent_calls": given["concurrent_calls"],
        "calls_per_hour": given["calls_per_hour"],
    }
    changes = {name: value for name, value in changes.items() if value is not None}
    if changes.get("calls_per_hour") == _UNLIMITED:
        changes["calls_per_hour"] = None
    if given["credential_file"] is not None:
        changes["credential"] = read_credential(_content(given["credential_file"]))
    return changes  # type: ignore[return-value]  # the keys are those of the stores, which check the values


def _content(file: str) -> bytes:
    """Read the file; on a terminal, ask for the credential without showing what is typed."""
    if file == "-" and sys.stdin.isatty():
        return str(click.prompt("Credential", hide_input=True, err=True)).encode()
    try:
        with nullcontext(sys.stdin.buffer) if file == "-" else Path(file).open("rb") as raw:
            return read_limited(raw)
    except FileTooLargeError as error:
        problem = f"--credential-file: {file!r} is {error}."
        raise InvalidInputError(problem, "Name a file with Mirakl's key or token, and nothing else.") from None
    except OSError as error:
        problem = f"--credential-file: cannot read {file!r} ({error.strerror})."
        raise InvalidInputError(problem, "Name a file that you can read, or `-`.") from None


@contextmanager
def _specifications(*, encrypting: bool = False, hosts: bool = False) -> Iterator[ClientSpecifications]:
    """``hosts``: a base URL is given. ``encrypting``: a credential is given; otherwise no key is required.

    Keys are used if there are any: a changed row then gets the current form of encryption. A mistake in them must not
    keep anybody from suspending a client.
    """
    settings, mistake = _settings(_HOSTS if hosts else _STORE, encrypting=encrypting)
    encryption = encryption_of(settings) if settings.encryption_keys else None
    with database(settings) as engine:
        try:
            yield ClientSpecifications(engine, encryption, host_rules(settings))
        except EncryptionKeysNeededError:
            if mistake is None:
                raise
            raise mistake from None


def _settings(uses: tuple[Edge, ...], *, encrypting: bool) -> tuple[Settings, SettingsError | None]:
    """Read what is used; beside it, what is wrong with keys that are there and, so far, not required."""
    if encrypting:
        return read_settings(*uses, "encryption_keys", needs=_KEYS), None
    try:
        return read_settings(*uses, "encryption_keys"), None
    except SettingsError as mistake:
        return read_settings(*uses), mistake


@click.group()
def clients() -> None:
    """Client specifications: which Mirakl to call, and how.

    A change takes effect within 5 seconds, without a restart.
    """


clients.add_command(check_clients)


@clients.command(
    epilog=examples(
        "mirakl-resync-consumer clients add --name acme --url https://acme.mirakl.net --credential-file acme.key",
        "pass mirakl/acme | mirakl-resync-consumer clients add --name acme --url https://acme.mirakl.net \\",
        "  --credential-file - --auth api-key --products-per-call 500 --calls-per-hour 3600",
    )
)
@_specification_options(adding=True)
@tenant_option
def add(tenant: str, **given: Unpack[_Given]) -> None:
    """Add a client specification and print its id."""
    with _specifications(encrypting=True, hosts=True) as specifications:
        row = specifications.add(tenant=tenant, **_changes(given))
    say(f"Added client specification {row.name!r} of tenant {row.tenant!r}. {_check_it(row)}")
    click.echo(row.id)


@clients.command(
    "set",
    epilog=examples(
        "mirakl-resync-consumer clients set acme --concurrent-calls 2 --calls-per-hour unlimited",
        "mirakl-resync-consumer clients set acme --credential-file new.key",
    ),
)
@row_argument
@_specification_options(adding=False)
@tenant_of_name
def set_(row: str, tenant: str | None, **given: Unpack[_Given]) -> None:
    """Change the given values of a client specification, and nothing else."""
    changes = _changes(given)
    if not changes:
        raise InvalidInputError("Nothing to change.", "Give at least one option; see --help.")
    with _specifications(encrypting="credential" in changes, hosts="base_url" in changes) as specifications:
        changed = specifications.set(row, tenant, **changes)
    _tell("Changed", changed)
    say(_check_it(changed))


@clients.command(
    "list",
    epilog=examples(
        "mirakl-resync-consumer clients list",
        "mirakl-resync-consumer clients list --output json | jq -r '.[] | select(.suspended) | .name'",
    ),
)
@tenant_filter
@output_option
def list_(tenant: str | None, output: str) -> None:
    """List the client specifications, without their credentials."""
    with _specifications() as specifications:
        rows = [asdict(row) for row in specifications.list(tenant)]
    show(rows, Output(output), columns=_COLUMNS, empty="There is no client specification. Add one with `clients add`.")


def _check_it(row: ClientSpecificationRow) -> str:
    return f"Check it with `mirakl-resync-consumer clients check {row.id}`."


def _tell(deed: str, row: ClientSpecificationRow) -> None:
    say(f"{deed} client specification {row.name!r} of tenant {row.tenant!r} ({row.id}).")


@clients.command(
    epilog=examples(
        "mirakl-resync-consumer clients activate acme",
    )
)
@row_argument
@tenant_of_name
def activate(row: str, tenant: str | None) -> None:
    """Use it for requests that name no client specification."""
    with _specifications() as specifications:
        _tell("Activated", specifications.activate(row, tenant))


@clients.command(
    epilog=examples(
        "mirakl-resync-consumer clients deactivate acme",
    )
)
@row_argument
@tenant_of_name
def deactivate(row: str, tenant: str | None) -> None:
    """Use it only for requests that name it."""
    with _specifications() as specifications:
        _tell("Deactivated", specifications.deactivate(row, tenant))


@clients.command(
    epilog=examples(
        "mirakl-resync-consumer clients suspend acme --tenant north",
    )
)
@row_argument
@tenant_of_name
def suspend(row: str, tenant: str | None) -> None:
    """Stop calling its Mirakl: requests for it are answered 503 until it is resumed."""
    with _specifications() as specifications:
        _tell("Suspended", specifications.suspend(row, tenant))


@clients.command(
    epilog=examples(
        "mirakl-resync-consumer clients resume acme --tenant north",
    )
)
@row_argument
@tenant_of_name
def resume(row: str, tenant: str | None) -> None:
    """Call its Mirakl again."""
    with _specifications() as specifications:
        _tell("Resumed", specifications.resume(row, tenant))


@clients.command(
    epilog=examples(
        "mirakl-resync-consumer clients remove 7d9f0c52-6c1e-4b4f-9d0f-0c7c2f2f8f11",
    )
)
@row_argument
@tenant_of_name
def remove(row: str, tenant: str | None) -> None:
    """Delete it, with its credential."""
    with _specifications() as specifications:
        _tell("Removed", specifications.remove(row, tenant))
