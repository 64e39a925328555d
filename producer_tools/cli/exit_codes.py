"""What the shell is told."""

import io
import logging
from collections.abc import Callable, Collection
from enum import IntEnum

import click

from schemas.console.streams import STDOUT, give_up, lost_output, write_message
from schemas.console.text import printable


class ExitCode(IntEnum):
    """The contract's exit codes."""

    DONE = 0
    """All synchronized; without ``--wait``: all acknowledged by the broker."""
    UNEXPECTED = 1
    WRONG_INPUT = 2
    SOME_FAILED = 3
    ALL_FAILED = 4
    NO_RESULT_IN_TIME = 5
    UNREACHABLE = 6
    INTERRUPTED = 130


_PRECEDENCE = (
    ExitCode.INTERRUPTED,
    ExitCode.UNEXPECTED,
    ExitCode.UNREACHABLE,
    ExitCode.NO_RESULT_IN_TIME,
    ExitCode.ALL_FAILED,
    ExitCode.SOME_FAILED,
)


def foremost(codes: Collection[ExitCode]) -> ExitCode:
    """The one to leave with, where several hold."""
    return next((code for code in _PRECEDENCE if code in codes), ExitCode.DONE)


def guarded(action: Callable[[], int]) -> int:
    """Do it; an expected trouble is said on stderr and becomes its exit code."""
    try:
        return action()
    except click.Abort:
        say("interrupted")
        return ExitCode.INTERRUPTED
    except click.ClickException as error:
        text = io.StringIO()
        error.show(text)
        say(text.getvalue().rstrip("\n"))
        return ExitCode.WRONG_INPUT
    except Exception as error:
        if isinstance(error, OSError) and (reason := lost_output(error)) is not None:
            give_up(STDOUT)
            if reason:
                say(f"error: the output could not be written: {reason}")
            return ExitCode.UNEXPECTED
        code = code_of(error)
        if code is None:
            raise
        say(f"error: {error}")
        return code


def code_of(error: BaseException) -> ExitCode | None:
    """The exit code of an expected trouble; ``None``: it is a bug, to be seen with its stack."""
    from producer_tools import errors  # noqa: PLC0415  not for --help

    if isinstance(error, errors.UnreachableError):
        return ExitCode.UNREACHABLE
    if isinstance(error, errors.InvalidRequest | errors.MisconfiguredError):
        return ExitCode.WRONG_INPUT
    return ExitCode.UNEXPECTED if isinstance(error, errors.ResyncToolError) else None


class _ToPeople(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        say(f"warning: {record.getMessage()}")


def show_warnings() -> None:
    """Put the library's own warnings on stderr; librdkafka's lines stay unseen."""
    log = logging.getLogger("producer_tools.topic_reader")
    if not log.handlers:
        log.addHandler(_ToPeople())


def say(message: str) -> None:
    """For people, on stderr; what strangers wrote into it cannot steer the terminal."""
    write_message(printable(message, keep="\n"))
