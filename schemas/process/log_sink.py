"""Sink of log lines: a queue of bytes, and one thread that writes them to a file descriptor.

Logging never waits for the reader. If the reader stalls and the policy's ``pending_bytes`` wait, further lines are
dropped, and the next line that gets through says how many. A process that is killed loses the lines that wait: those of
some milliseconds, as long as somebody reads.
"""

import os
import select
import threading
from collections.abc import Callable

from schemas.process.policy import PROCESS


class LogSink:
    """Writes log lines to a file descriptor on a thread of its own.

    ``dropped_line`` renders the line that says how many were lost while the reader stalled.
    """

    def __init__(
        self, fd: int, dropped_line: Callable[[int], bytes], *, max_pending_bytes: int = PROCESS.pending_bytes
    ) -> None:
        self._fd = fd
        self._dropped_line = dropped_line
        self._max_pending_bytes = max_pending_bytes
        self._changed = threading.Condition()  # its lock is reentrant: a destructor may log amid a write
        self._queue: list[bytes] = []
        self._pending_bytes = 0
        self._dropped_lines = 0
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def write(self, lines: bytes) -> None:
        """Queue whole lines, each with its newline.

        Callable on any thread; never waits, and drops lines beyond the bound.
        """
        with self._changed:
            if self._pending_bytes + len(lines) > self._max_pending_bytes:
                self._dropped_lines += lines.count(b"\n")
                return
            self._queue.append(lines)
            self._pending_bytes += len(lines)
            self._changed.notify()

    def close(self, timeout: float) -> None:
        """Write what waits, for at most ``timeout`` seconds, and end the thread. Idempotent."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout)

    def _run(self) -> None:
        written = 0
        while True:
            with self._changed:
                self._pending_bytes -= written
                self._changed.wait_for(lambda: self._queue or self._dropped_lines or self._closed)
                lines, self._queue = self._queue, []
                dropped, self._dropped_lines = self._dropped_lines, 0
            if not lines and not dropped:
                return
            data = b"".join(lines)
            written = len(data)
            self._write_out(data + self._dropped_line(dropped) if dropped else data)

    def _write_out(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._fd, rest) :]
            except BlockingIOError:  # somebody who shares the descriptor made it non-blocking
                select.select([], [self._fd], [])
            except OSError:  # the reader is gone for good: there is nobody to tell
                return
