"""``python -m producer_tools`` and ``mirakl-resync``: imports as little as can be before it listens to Ctrl-C."""

import sys

from schemas.console.streams import prepare
from schemas.console.termination import end_on_sigterm

_INTERRUPTED = 130


def main() -> int:
    """Run a command and return its exit code."""
    prepare()
    try:
        end_on_sigterm()
        from producer_tools.cli import run  # noqa: PLC0415 - takes a moment, in which somebody may interrupt

        return run()
    except KeyboardInterrupt:
        return _INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
