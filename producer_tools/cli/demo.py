"""``mirakl-resync demo``."""

import click

from producer_tools.errors import MisconfiguredError
from schemas.console.program import examples

EXIT_CODES = """\b
Exit codes:
  0    every answer was correct
  1    one was not, or a part of the system failed
  130  interrupted
"""


@click.command(
    epilog=examples(
        "mirakl-resync demo",
        "mirakl-resync demo --verbose",
        "mirakl-resync demo --keep && less /tmp/mirakl-resync-demo-*/service.log",
        more=EXIT_CODES,
    )
)
@click.option("--keep", is_flag=True, help="Keep the folder with the database and the service's log.")
@click.option("--verbose", is_flag=True, help="Show what the service logs, as it does.")
def demo(*, keep: bool, verbose: bool) -> int:
    """See the whole system at work, on embedded parts.

    Starts an embedded broker, the service on SQLite, and a simulated Mirakl, on free ports of this machine; sends
    requests of every kind, shows the answers as they come, and says at the end what each case showed and whether its
    answer was the right one. Takes half a minute, needs nothing installed and no network, ignores your settings, and
    leaves nothing behind.

    The embedded broker has no transactions, so the service runs at-least-once here instead of exactly-once.
    """
    try:
        from producer_tools.sandbox.demo.performance import perform  # noqa: PLC0415 - the sandbox may be missing
    except ModuleNotFoundError as missing:
        if missing.name is None or not missing.name.endswith("producer_tools.sandbox"):
            raise
        raise MisconfiguredError(
            "This installation does not contain the demo.", "Use the image's target `sandbox`, or `make demo`."
        ) from None

    return perform(keep=keep, verbose=verbose)
