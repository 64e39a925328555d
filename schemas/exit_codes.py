"""Exit codes of both programs, as the contract lists them."""

from collections.abc import Collection
from enum import IntEnum
from typing import Final


class ExitCode(IntEnum):
    """Exit codes of the commands, for scripts.

    They are part of the contract and listed in docs/operate/exit-codes.md.
    """

    DONE = 0
    """Done; for requests: all synchronized, or without ``--wait`` all acknowledged by the broker."""
    FAILED = 1
    """The database is not usable, a check failed, or something unexpected happened."""
    USAGE = 2
    """Invalid usage, input or settings."""
    SOME_FAILED = 3
    """Some requests failed or were synchronized in part."""
    ALL_FAILED = 4
    NO_RESULT_IN_TIME = 5
    UNREACHABLE = 6
    """The broker or the schema registry is unreachable."""
    INTERRUPTED = 130
    """128 and SIGINT, as a shell reports it."""
    TERMINATED = 143
    """128 and SIGTERM, as a shell reports it."""


_PRECEDENCE: Final = (
    ExitCode.INTERRUPTED,
    ExitCode.FAILED,
    ExitCode.UNREACHABLE,
    ExitCode.NO_RESULT_IN_TIME,
    ExitCode.ALL_FAILED,
    ExitCode.SOME_FAILED,
    ExitCode.USAGE,
)


def foremost(codes: Collection[ExitCode]) -> ExitCode:
    """Return the code to exit with if several apply: the first of 130, 1, 6, 5, 4, 3, and 2; 0 if there are none."""
    return next((code for code in _PRECEDENCE if code in codes), ExitCode.DONE)


def of_failures(failed: int, of: int) -> set[ExitCode]:
    """Return the code of a part, or of all, that failed; none if nothing did."""
    if not failed:
        return set()
    return {ExitCode.ALL_FAILED if failed == of else ExitCode.SOME_FAILED}
