"""``mirakl-resync-consumer``: the service and its administration."""

import sys
from collections.abc import Sequence

import click

from consumer import __version__
from consumer.cli.api_keys import api_keys
from consumer.cli.clients import clients
from consumer.cli.config import config, encryption_key
from consumer.cli.db import db
from consumer.cli.doctor import doctor
from consumer.cli.failure import ExitCode, Failure
from consumer.cli.output import message, show_usage_error
from consumer.cli.registry import schemas
from consumer.cli.run import run
from consumer.cli.topics import topics
from schemas.console.streams import STDOUT, give_up, lost_output

_PROGRAM = "mirakl-resync-consumer"


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""
    \b
    To begin with:
      mirakl-resync-consumer encryption-key          a key for RESYNC_ENCRYPTION_KEYS
      mirakl-resync-consumer db upgrade              the tables
      mirakl-resync-consumer topics ensure           the topics
      mirakl-resync-consumer clients add --help      a Mirakl to call
      mirakl-resync-consumer api-keys issue --help   somebody who may ask
      mirakl-resync-consumer doctor                  is all there?
      mirakl-resync-consumer run

    Settings come from the environment (RESYNC_…, each also as RESYNC_…_FILE): `config show` lists them.
    A command reads only those that it uses.

    \b
    Exit codes:
      0    done
      1    the database does not serve, a check failed, or something unexpected
      2    wrong usage, input or settings
      6    broker or registry unreachable
      130  interrupted

    \b
    Completion of commands and options, in ~/.bashrc (zsh: ~/.zshrc and zsh_source; fish: fish_source):
      eval "$(_MIRAKL_RESYNC_CONSUMER_COMPLETE=bash_source mirakl-resync-consumer)"
    """,
)
@click.version_option(__version__, prog_name=_PROGRAM)
def commands() -> None:
    """Answer resync requests from Kafka with CM21 calls to Mirakl, and administer what that needs."""


for _command in (run, doctor, db, topics, schemas, clients, api_keys, config, encryption_key):
    commands.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    try:
        code = commands.main(arguments, prog_name=_PROGRAM, standalone_mode=False)
        sys.stdout.flush()
    except Failure as failure:
        message(f"error: {failure}")
        return failure.exit_code
    except click.ClickException as error:
        show_usage_error(error)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    except OSError as error:
        reason = lost_output(error)
        if reason is None:
            raise
        give_up(STDOUT)
        if reason:
            message(f"error: the output could not be written: {reason}")
        return ExitCode.FAILED
    return code if isinstance(code, int) else 0
