"""``mirakl-resync``: ask for product resynchronizations, and read what came of them.

This module declares the commands and imports nothing heavy: ``--help`` and shell completion answer at once.
"""

from collections.abc import Sequence

import click

from producer_tools.cli.alerts import alerts
from producer_tools.cli.demo import demo
from producer_tools.cli.dlq import dlq
from producer_tools.cli.exit_codes import ExitCode, guarded
from producer_tools.cli.gateway import gateway
from producer_tools.cli.results import results
from producer_tools.cli.send import send

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
  mirakl-resync demo

\b
Exit codes:
  0    all synchronized (without --wait: all acknowledged by the broker)
  1    unexpected
  2    wrong usage or input
  3    some failed or partial
  4    all failed
  5    no result in time
  6    broker or registry unreachable
  130  interrupted
Where several hold: 130, 1, 6, 5, 4, 3.
"""


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name=PROGRAM, prog_name=PROGRAM)
def cli() -> None:
    """Ask Mirakl to take in products anew, and see what came of it."""


@cli.command(epilog="\b\n" + "\n".join(f"{shell}: {how}" for shell, how in _SETUP.items()))
@click.argument("shell", type=click.Choice(sorted(_SETUP)))
def completion(shell: str) -> None:
    """Print the completion script for your shell."""
    from click.shell_completion import get_completion_class  # noqa: PLC0415  rarely needed

    script = get_completion_class(shell)
    if script is not None:
        click.echo(script(cli, {}, PROGRAM, _COMPLETE_VARIABLE).source())


for command in (send, results, dlq, gateway, alerts, demo):
    cli.add_command(command)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the program; its exit code. Every expected trouble becomes one message on stderr."""
    return guarded(
        lambda: (
            cli.main(arguments, prog_name=PROGRAM, complete_var=_COMPLETE_VARIABLE, standalone_mode=False)
            or ExitCode.DONE
        )
    )
