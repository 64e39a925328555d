"""SIGTERM for commands.

The default action of a signal does not apply to the first process of a container: without a handler of its own a
command that runs there ignores SIGTERM, and is killed after the grace period.
"""

import os
import signal
from types import FrameType
from typing import Final, NoReturn

TERMINATED: Final = 128 + signal.SIGTERM
"""The exit code that a shell reports for a program that ends by SIGTERM."""


def end_on_sigterm() -> None:
    """End the command at SIGTERM, after it has closed what is open; at a second one at once."""
    signal.signal(signal.SIGTERM, _end)


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGTERM, _end_now)
    raise SystemExit(TERMINATED)


def _end_now(_number: int, _frame: FrameType | None) -> NoReturn:
    os._exit(TERMINATED)
