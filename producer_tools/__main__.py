"""``python -m producer_tools`` and ``mirakl-resync``."""

import sys
from collections.abc import Callable

from schemas.console.startup import start


def main() -> int:
    """Run a command and return its exit code."""
    return start(_load)


def _load() -> Callable[[], int]:
    from producer_tools.cli import main  # noqa: PLC0415 - takes a moment, in which somebody may interrupt

    return main


if __name__ == "__main__":
    sys.exit(main())
