"""``mirakl-resync``: request product resynchronizations, and read their results.

A command is imported when it is used: ``--help`` and completion of names answer at once.
"""

from collections.abc import Sequence

import click
from click.shell_completion import get_completion_class

from schemas.console.program import CONTEXT_SETTINGS, LazyCommand, LazyGroup, run

PROGRAM = "mirakl-resync"
_COMPLETE_VARIABLE = "_MIRAKL_RESYNC_COMPLETE"

_SETUP = {
    "bash": 'add to ~/.bashrc:  eval "$(mirakl-resync completion bash)"',
    "zsh": 'add to ~/.zshrc:   eval "$(mirakl-resync completion zsh)"',
    "fish": "run once: mirakl-resync completion fish > ~/.config/fish/completions/mirakl-resync.fish",
}

EPILOG = """\b
Needs RESYNC_KAFKA__BOOTSTRAP_SERVERS, and RESYNC_API_KEY (or --api-key-file) to send.

\b
Examples:
  mirakl-resync send --product MKL-001:SKU-42 --reason "price was stale" --wait
  mirakl-resync send --file products.csv --batch-size 1000 --wait --yes
  mirakl-resync results --since 2h --output jsonl
  mirakl-resync dlq list --since 1d
  mirakl-resync retry --since 2h --dry-run
  mirakl-resync demo

\b
Exit codes:
  0    all synchronized (without --wait: all acknowledged by the broker)
  1    unexpected error
  2    invalid usage or input
  3    some failed or partial
  4    all failed
  5    no result in time
  6    broker or registry unreachable
  130  interrupted
If several apply, the first of 130, 1, 6, 5, 4, 3.
"""


def _lazy(module: str, short_help: str) -> LazyCommand:
    return LazyCommand(f"{__name__}.{module}", module, short_help)


@click.group(
    cls=LazyGroup,
    lazy={
        "send": _lazy("send", "Request that products are pushed to Mirakl again."),
        "results": _lazy("results", "Show results, oldest first within each partition."),
        "dlq": _lazy("dlq", "Show dead letters, and send them again."),
        "retry": _lazy("retry", "Send the requests of results again that may have another chance."),
        "gateway": _lazy(
            "gateway",
            "Serve the published HTTP operation: one request on Kafka for each call, its result as the response.",
        ),
        "alerts": _lazy("alerts", "Check the rules by which the gateway turns alerts into requests."),
        "demo": _lazy("demo", "See the whole system at work, on embedded parts."),
    },
    epilog=EPILOG,
    context_settings=CONTEXT_SETTINGS,
)
@click.version_option(package_name=PROGRAM, prog_name=PROGRAM)
def cli() -> None:
    """Request that Mirakl synchronizes products again, and see the results."""


@cli.command(epilog="\b\n" + "\n".join(f"{shell}: {how}" for shell, how in _SETUP.items()))
@click.argument("shell", type=click.Choice(sorted(_SETUP)))
def completion(shell: str) -> None:
    """Print the completion script for your shell."""
    script = get_completion_class(shell)
    if script is not None:
        click.echo(script(cli, {}, PROGRAM, _COMPLETE_VARIABLE).source())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    return run(cli, PROGRAM, arguments)
