"""``encryption-key``: the keys that encrypt stored secrets."""

import click

from consumer.adapters.stores.encryption import new_key
from consumer.adapters.stores.rotation import rotate as rotate_secrets
from consumer.cli.access import database, encryption_of, read_settings
from schemas.console.output import say
from schemas.console.program import examples
from schemas.exit_codes import ExitCode


@click.group(
    "encryption-key",
    invoke_without_command=True,
    epilog=examples(
        "(umask 077; mirakl-resync-consumer encryption-key > encryption.key)",
        "export RESYNC_ENCRYPTION_KEYS_FILE=$PWD/encryption.key",
    ),
)
@click.pass_context
def encryption_key(context: click.Context) -> None:
    """Print a new Fernet key, for RESYNC_ENCRYPTION_KEYS.

    To change keys, put the new one first and keep the old ones behind it, separated by commas. `rotate` then writes
    all stored secrets anew.
    """
    if context.invoked_subcommand is None:
        read_settings()
        click.echo(new_key())


@encryption_key.command(
    epilog=examples(
        "RESYNC_ENCRYPTION_KEYS=$NEW,$OLD mirakl-resync-consumer encryption-key rotate",
        "mirakl-resync-consumer encryption-key rotate --unbound   before a rollback to release 0.1",
    )
)
@click.option("--unbound", is_flag=True, help="Store Mirakl credentials as release 0.1 reads them.")
def rotate(*, unbound: bool) -> int:
    """Write every stored secret anew with the first key of RESYNC_ENCRYPTION_KEYS.

    One transaction, and safe to repeat. The service may run meanwhile, if it has the new key already. Exit code 1: a
    secret cannot be decrypted with any of the keys; all others are written anew.
    """
    settings = read_settings("database_url", "encryption_keys", needs=["RESYNC_ENCRYPTION_KEYS"])
    encryption = encryption_of(settings)
    with database(settings) as engine:
        done = rotate_secrets(engine, encryption, unbound=unbound)
    first, *others = encryption.fingerprints
    say(
        f"Wrote {_count(done.credentials, 'credential')} and {_count(done.signing_secrets, 'signing secret')} anew "
        f"with the first encryption key ({first})."
    )
    if unbound:
        say(
            "The credentials are bound to no client specification now, as in release 0.1. Run "
            "`mirakl-resync-consumer encryption-key rotate` when all replicas run this release again."
        )
    for row in done.undecryptable:
        say(f"error: The secret of {row} cannot be decrypted with any of the keys. Add its key, or set it anew.")
    if done.undecryptable:
        return ExitCode.FAILED
    if others:
        say(
            f"No secret needs {', '.join(others)} any more. A command that has another key first can still store one. "
            f"Put {first} first in every environment, and remove the others when `mirakl-resync-consumer doctor` or "
            "`config show` counts no secret of theirs."
        )
    return ExitCode.DONE


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
