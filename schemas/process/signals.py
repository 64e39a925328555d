"""SIGTERM and SIGINT, received by a thread of their own from the first moment on.

Python runs a signal handler on the main thread, between two of its instructions. So it does not run while that thread
blocks in C code, and an exception that it raises is lost if it interrupts a destructor or a weak reference's callback
("Exception ignored in ..."): about one in twenty services that were stopped while they collected the garbage of their
start ran on for ever. A thread that waits for the signals gets them at once, whatever the others do.
"""

import os
import signal
import threading
from collections.abc import Callable
from typing import Final, Self

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class StopSignals:
    """A context: within it the first signal begins a stop, the second one ends the process at once.

    Both are safe at any time: uncommitted work is redelivered. Before ``on_first`` was called there is nothing to
    finish: the first signal ends the process with 0. Enter it on the main thread before others start, since they
    inherit that the signals are blocked. ``exit_process`` must not return.
    """

    def __init__(self, *, exit_process: Callable[[int], object] = os._exit) -> None:
        self._exit_process = exit_process
        self._begin_stop: Callable[[], None] | None = None
        self._before_exit: Callable[[], None] = lambda: None
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

    def on_first(self, begin_stop: Callable[[], None], before_exit: Callable[[], None] = lambda: None) -> None:
        """From now on call ``begin_stop`` at the first signal, and ``before_exit`` at the second one.

        They run on the thread of the signals and must neither wait nor raise.
        """
        self._before_exit = before_exit
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
                self._before_exit()
                self._exit_process(128 + number)
