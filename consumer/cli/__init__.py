"""``mirakl-resync-consumer``: the service and its administration.

A command is imported when it is used: ``--help`` and completion of names answer at once.
"""

from collections.abc import Sequence

import click

from consumer import __version__
from schemas.console.program import CONTEXT_SETTINGS, LazyCommand, LazyGroup
from schemas.console.program import run as run_program

PROGRAM = "mirakl-resync-consumer"


def _lazy(module: str, name: str, short_help: str) -> LazyCommand:
    return LazyCommand(f"{__name__}.{module}", name, short_help)


@click.group(
    cls=LazyGroup,
    lazy={
        "run": _lazy("run", "run", "Answer requests until told to stop."),
        "doctor": _lazy("doctor", "doctor", "Check everything that a run needs."),
        "db": _lazy("db", "db", "The database of client specifications and keys."),
        "topics": _lazy("topics", "topics", "The topics of requests, results and dead letters."),
        "schemas": _lazy("registry", "schemas", "Our Avro schemas in the schema registry."),
        "clients": _lazy("clients", "clients", "Client specifications: which Mirakl to call, and how."),
        "api-keys": _lazy("api_keys", "api_keys", "API keys: who may make requests, for which tenant."),
        "config": _lazy("config", "config", "The settings, as this environment gives them."),
        "encryption-key": _lazy(
            "encryption_key", "encryption_key", "Print a new Fernet key, for RESYNC_ENCRYPTION_KEYS."
        ),
    },
    context_settings=CONTEXT_SETTINGS,
    epilog="""
    \b
    To begin with:
      mirakl-resync-consumer encryption-key          a key for RESYNC_ENCRYPTION_KEYS
      mirakl-resync-consumer db upgrade              the tables
      mirakl-resync-consumer topics ensure           the topics
      mirakl-resync-consumer clients add --help      a Mirakl to call
      mirakl-resync-consumer api-keys issue --help   a key for requests
      mirakl-resync-consumer doctor                  a check of everything
      mirakl-resync-consumer run

    Settings come from the environment (RESYNC_…, each also as RESYNC_…_FILE): `config show` lists them.
    A command reads only those that it uses.

    \b
    Exit codes:
      0    done
      1    the database is not usable, a check failed, or something unexpected happened
      2    invalid usage, input or settings
      6    broker or registry unreachable
      130  interrupted

    \b
    Completion of commands and options, in ~/.bashrc (zsh: ~/.zshrc and zsh_source; fish: fish_source):
      eval "$(_MIRAKL_RESYNC_CONSUMER_COMPLETE=bash_source mirakl-resync-consumer)"
    """,
)
@click.version_option(__version__, prog_name=PROGRAM)
def commands() -> None:
    """Answer resync requests from Kafka with CM21 calls to Mirakl, and administer what that needs."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    return run_program(commands, PROGRAM, arguments)
