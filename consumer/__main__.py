"""``python -m consumer`` and ``mirakl-resync-consumer``."""

import sys
from collections.abc import Callable

from consumer import compiled
from schemas.console.startup import start


def main() -> int:
    """Run a command and return its exit code."""
    return start(_load)


def _load() -> Callable[[], int]:
    compiled.use()
    from consumer.cli import main  # noqa: PLC0415 - takes a moment, in which somebody may interrupt

    return main


if __name__ == "__main__":
    sys.exit(main())
