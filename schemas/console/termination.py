"""SIGTERM for commands.

The default action of a signal does not apply to the first process of a container: without a handler of its own, a
command that runs there ignores SIGTERM and is killed after the grace period.
"""

import os
import signal
from types import FrameType
from typing import NoReturn

from schemas.exit_codes import ExitCode


def end_on_sigterm() -> None:
    """End the command at SIGTERM after closing what is open; at a second one, at once."""
    signal.signal(signal.SIGTERM, _end)


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(ExitCode.TERMINATED))
    raise SystemExit(ExitCode.TERMINATED)
