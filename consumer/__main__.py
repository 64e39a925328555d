"""``python -m consumer`` and ``mirakl-resync-consumer``: imports as little as can be before it listens to Ctrl-C."""

import sys

_INTERRUPTED = 130


def main() -> int:
    """Run a command and return its exit code."""
    try:
        from consumer.cli import main as run  # noqa: PLC0415 - takes a moment, in which somebody may interrupt

        return run()
    except KeyboardInterrupt:
        return _INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
