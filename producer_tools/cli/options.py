"""Options that several commands take, and how their values are written."""

import sys
from pathlib import Path

import click

from producer_tools.errors import MisconfiguredError
from schemas.console.options import duration, moment
from schemas.console.text import decimal
from schemas.settings.secret_files import FileTooLargeError, read_limited, read_value

NO_TERMINAL = "There is no terminal to ask on: add --yes to send these, or --dry-run to look only."


def coordinates(text: str) -> tuple[int, int]:
    """Read ``PARTITION:OFFSET``. Raises ``click.BadParameter`` with an example of the right form."""
    written, _, place = text.partition(":")
    partition, offset = decimal(written), decimal(place)
    if partition is None or offset is None:
        raise click.BadParameter(
            f"{text!r} is not PARTITION:OFFSET, such as 0:17; `mirakl-resync dlq list` shows them."
        )
    return partition, offset


since_option = click.option(
    "--since",
    callback=moment,
    metavar="T",
    help="Only what is younger: a time (ISO 8601; UTC without an offset) or an age (2h).",
)
limit_option = click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Stop after N.")
api_key_option = click.option(
    "--api-key-file",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="File with the API key, instead of RESYNC_API_KEY.",
)
wait_option = click.option("--wait", is_flag=True, help="Wait for the results and show the result of each request.")
timeout_option = click.option(
    "--timeout", callback=duration, default="330s", show_default=True, metavar="S", help="How long to --wait."
)
yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask for confirmation.")


def api_key_from(file: str | None) -> str | None:
    """Read the key in ``file``; ``None`` without one: the settings decide. Raises ``MisconfiguredError``."""
    if file is None:
        return None
    try:
        with Path(file).open("rb") as raw:
            return read_value(read_limited(raw))
    except FileTooLargeError as error:
        problem = f"--api-key-file {file} is {error}."
        raise MisconfiguredError(problem, "Put the key, and nothing else, into it.") from None
    except UnicodeDecodeError:
        problem = f"--api-key-file {file} is not UTF-8 text."
        raise MisconfiguredError(problem, "Put the key, and nothing else, into it.") from None
    except OSError as error:
        problem = f"--api-key-file {file} cannot be read ({error.strerror})."
        raise MisconfiguredError(problem, "Name a file that you can read.") from None


def confirm(question: str, *, otherwise: str) -> None:
    """Ask on the terminal; raises ``click.Abort`` at a no, and ``click.UsageError(otherwise)`` without a terminal."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise click.UsageError(otherwise)
    click.confirm(question, abort=True, err=True)
