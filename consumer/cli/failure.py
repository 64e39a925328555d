"""An expected failure: one clear text on stderr, no traceback, an exit code that scripts can rely on."""

from enum import IntEnum


class ExitCode(IntEnum):
    """CONTRACT, commands."""

    FAILED = 1
    """The database does not serve, a check failed, or something unexpected."""
    USAGE = 2
    """Wrong usage, input or settings."""
    UNREACHABLE = 6
    """No broker, or no registry, answers."""
    INTERRUPTED = 130


class Failure(Exception):  # noqa: N818  the command's, not the program's
    """Ends the command with this text."""

    def __init__(self, message: str, exit_code: ExitCode) -> None:
        super().__init__(message)
        self.exit_code = exit_code
