"""The standard streams of a program, also if they are closed, the disk is full, or the reader of a pipe has left.

A supervisor or a cron wrapper may start a program without descriptor 0, 1 or 2. The next file or socket that is
opened then gets that number, and log lines and tracebacks are written into it.
"""

import errno
import io
import os
import sys
from typing import Final

STDIN: Final = 0
STDOUT: Final = 1
STDERR: Final = 2

_WHILE_CLOSED: Final = {STDIN: os.O_WRONLY, STDOUT: os.O_RDONLY, STDERR: os.O_WRONLY}
"""Mode in which the null device replaces a closed stream. It is the wrong one for the first two: reading input that is
not there, and writing output that nobody receives, fail (EBADF) instead of seeming to succeed. Messages are lost."""

_LOST: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EBADF, errno.EIO})
"""Errors of a destination that is full, closed, or a terminal that has gone."""


def prepare() -> None:
    """Occupy closed descriptors, and escape characters that the encoding lacks. To be called first."""
    for descriptor, flags in _WHILE_CLOSED.items():
        if not _is_open(descriptor):
            opened = os.open(os.devnull, flags)  # the lowest free number, which is this one
            os.set_inheritable(opened, True)  # noqa: FBT003 - the standard library's own signature
    if sys.stdin is None:
        sys.stdin = os.fdopen(STDIN, "r", closefd=False)
    if sys.stdout is None:
        sys.stdout = os.fdopen(STDOUT, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(STDERR, "w", closefd=False, errors="backslashreplace")
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal that knows ASCII only gets `\xe9`, not a traceback
        sys.stdout.reconfigure(errors="backslashreplace")


def lost_output(error: OSError) -> str | None:
    """Return why the output could not be written; ``None``: the error is about something else.

    Empty if the reader of a pipe has left, which deserves no message.
    """
    if isinstance(error, BrokenPipeError):
        return ""
    return error.strerror if error.errno in _LOST else None


def give_up(descriptor: int) -> None:
    """Discard what is still buffered for a stream, so that the interpreter's last flush does not complain."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)


def write_message(text: str) -> None:
    """Write a line for people to stderr. If it cannot be written, the work continues without it."""
    try:
        print(text, file=sys.stderr, flush=True)  # noqa: T201 - the one place that does
    except OSError:
        give_up(STDERR)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True
