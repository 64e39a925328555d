"""SIGTERM and SIGINT, waited for by a thread of their own from the first moment on.

A handler of Python's runs on the main thread, between two of its instructions. So it does not run while that thread
stands in C code, and what it raises is lost where it happens to interrupt a destructor or a weak reference's callback
("Exception ignored in ..."): services that were told to stop while they collected the garbage of their start, a
twentieth of it, ran on for ever. A thread that waits for the signals is told at once, whatever the others do.
"""

import os
import signal
import threading
from collections.abc import Callable
from typing import Final, Self

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class StopSignals:
    """A context: within it the first signal begins a stop, the second one ends the process at once.

    Both are safe at any time: what is not committed does not count. Before anybody has said how to stop, there is
    nothing to finish either: the first signal ends the process, with 0. To be entered on the main thread, before there
    are others, which inherit that the signals are not for them. ``exit_process`` must not return.
    """

    def __init__(self, *, exit_process: Callable[[int], object] = os._exit) -> None:
        self._exit_process = exit_process
        self._begin_stop: Callable[[], None] | None = None
        self._over = False
        self._thread = threading.Thread(target=self._wait, name="stop-signals", daemon=True)

    def __enter__(self) -> Self:
        self._former = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        signal.pthread_kill(self._thread.ident or 0, signal.SIGTERM)
        self._thread.join()
        signal.pthread_sigmask(signal.SIG_SETMASK, self._former)

    def on_first(self, begin_stop: Callable[[], None]) -> None:
        """From now on the first signal calls this, on the thread of the signals: it must not wait, nor raise."""
        self._begin_stop = begin_stop

    def _wait(self) -> None:
        told = 0
        while True:
            number = signal.sigwait(STOP_SIGNALS)
            if self._over:
                return
            told += 1
            if self._begin_stop is None:
                self._exit_process(0)
            elif told == 1:
                self._begin_stop()
            else:
                self._exit_process(128 + number)
