"""The first moments of a program: streams and signals, before anything that takes time to import.

Imports the standard library only: whoever interrupts a program while it is being loaded must not see a traceback.
"""

from collections.abc import Callable

from schemas.console.streams import prepare
from schemas.console.termination import end_on_sigterm
from schemas.exit_codes import ExitCode


def start(load: Callable[[], Callable[[], int]]) -> int:
    """Run a program and return its exit code; ``load`` imports it and returns its main function."""
    prepare()
    try:
        end_on_sigterm()
        return load()()
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
