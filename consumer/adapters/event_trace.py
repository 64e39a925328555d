"""The file that a trace of the engine's events is written to (``RESYNC_EVENT_TRACE_FILE``)."""

import logging
import os
from pathlib import Path

from schemas.settings import SettingsError

TRACE_BYTES = 64 << 20
"""Maximum size of a trace, some 300,000 requests. Only the beginning can be replayed, so the trace stops there."""

_log = logging.getLogger(__name__)


def open_trace(path: Path) -> "TraceFile":
    """Begin a trace in a new file that only its owner may read. Raises ``SettingsError`` if it cannot be written."""
    try:
        file = TraceFile(path)
    except OSError as problem:
        raise SettingsError(
            [f"RESYNC_EVENT_TRACE_FILE cannot be written: {problem.strerror}. Name a file in a writable directory."]
        ) from problem
    _log.warning("Events are traced to %s.", path)
    return file


class TraceFile:
    """Keeps lines until the file has its full size or cannot be written; the service goes on without it."""

    def __init__(self, path: Path, most_bytes: int = TRACE_BYTES) -> None:
        """Create the file, readable by its owner only; the former one keeps ``.1``. Raises ``OSError``."""
        self._path = path
        self._left = most_bytes
        if path.exists():  # the trace of a run that broke, and was started again
            path.replace(f"{path}.1")
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._file = os.fdopen(handle, "w", buffering=1, encoding="ascii")  # a process that is killed leaves all lines

    def write(self, line: str) -> bool:
        """Keep a line; ``False``: the file is full or broken, and no later line is kept either."""
        try:
            if len(line) <= self._left:
                self._file.write(line)
                self._left -= len(line)
                return True
            self.close()
        except OSError as problem:
            _log.warning("The event trace %s ends early: %s. Check the disk.", self._path, problem.strerror)
        else:
            _log.warning("The event trace %s is full and ends here. Restart the service for a new one.", self._path)
        return False

    def close(self) -> None:
        self._file.close()
