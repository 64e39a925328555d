"""Logs: one pipeline for our own lines and those of the libraries.

Lines go to stderr, for the service as for every command: stdout belongs to data. In a pipe a line is one JSON object in
ASCII, on a terminal it is formatted for people; in both, control characters in foreign text are escaped. Secrets are
kept out of log calls; redacting values by the names of their fields is only a second line of defence.

Logging never waits for the reader of stderr (``log_sink``).
"""

import atexit
import json
import logging
import math
import os
import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final, TypeAlias

import structlog
from structlog.dev import ConsoleRenderer, plain_traceback
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict, Processor, WrappedLogger

from schemas.console.text import printable
from schemas.process.log_sink import LogSink
from schemas.process.policy import PROCESS
from schemas.settings.model import LogFormat, LogSettings

STDERR: Final = 2

LIBRDKAFKA_LOGGER: Final = "librdkafka"
"""Name of the logger that every producer and consumer gets as ``logger``."""

_LIBRARY_LEVELS: Final = {
    "httpx": logging.WARNING,  # below: a line per call
    "httpcore": logging.WARNING,  # below: response headers
    "sqlalchemy": logging.WARNING,  # below: statements with their parameters
    "asyncio": logging.WARNING,
    "urllib3": logging.WARNING,  # below: a line per export of spans
}
_REDACTED: Final = "[redacted]"
_SECRET_NAME: Final = re.compile(
    r".*(password|secret|token|credentials?|authorization|cookie|api[-_]?keys?|encryption[-_]?keys?)", re.IGNORECASE
)
_DIGITS: Final = re.compile(r"\d+")


Render: TypeAlias = Callable[[EventDict], str]
"""One event as one line (tracebacks on a terminal: several), without the newline."""


class Logs:
    """The pipeline; one per process, since the registries of ``logging`` and ``structlog`` are global."""

    def __init__(self, settings: LogSettings, *, fd: int = STDERR) -> None:
        terminal = os.isatty(fd)
        console = settings.format is LogFormat.CONSOLE or (settings.format is LogFormat.AUTO and terminal)
        render = _for_people(colors=terminal and "NO_COLOR" not in os.environ) if console else _as_json
        level = logging.getLevelNamesMapping()[settings.level.upper()]
        self._sink = LogSink(fd, lambda lines: f"{render(_dropped(lines))}\n".encode())
        _route(_SinkHandler(self._sink, render), level)
        self.write = self._sink.write
        """Queues whole lines as they are; for logs that render their own."""
        self.level = level
        """As in ``logging``."""
        self.render_for_people = render if console else None
        """Renderer of an event; ``None``: as JSON."""
        atexit.register(self.close)

    def close(self) -> None:
        """Write the lines that wait, for at most the policy's ``close_seconds``. Idempotent; later lines are lost."""
        self._sink.close(PROCESS.close_seconds)


class _SinkHandler(logging.Handler):
    """Handler of every log record, ours and the libraries'."""

    def __init__(self, sink: LogSink, render: Render) -> None:
        super().__init__()
        self._sink = sink
        self.setFormatter(
            ProcessorFormatter(
                foreign_pre_chain=_CONTEXT,
                processors=[
                    ProcessorFormatter.remove_processors_meta,
                    structlog.processors.format_exc_info,
                    redact,
                    RepeatLimit(),
                    _first_keys_first,
                    lambda _logger, _method, event: render(event),
                ],
            )
        )

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._sink.write(f"{self.format(record)}\n".encode(errors="backslashreplace"))
        except structlog.DropEvent:
            return
        except Exception:  # noqa: BLE001 - as every handler: a line that cannot be formatted must not stop the caller
            self.handleError(record)


class RepeatLimit:
    """Lets a warning or error through once in ``repeat_seconds``; its next line says how many were ``suppressed``.

    In texts of librdkafka digits make no difference: it numbers its instances and counts milliseconds.
    The handler's lock guards it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[str, tuple[float, int]] = {}

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        if event["level"] not in {"warning", "error"}:
            return event
        key, now = _identity(event), self._clock()
        since, suppressed = self._known.pop(key, (-math.inf, 0))
        if now - since < PROCESS.repeat_seconds:
            self._known[key] = (since, suppressed + 1)
            raise structlog.DropEvent
        self._known[key] = (now, 0)
        if len(self._known) > PROCESS.repeats_known:
            del self._known[next(iter(self._known))]
        return {**event, "suppressed": suppressed} if suppressed else event


def utc(seconds: float) -> str:
    """Return a time in seconds since the epoch as RFC 3339 text in UTC, with microseconds."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Redact values whose names say that they are secret, at any depth of a log line; a structlog processor."""
    return _redacted(event)


def _redacted(fields: Mapping[str, object]) -> dict[str, object]:
    return {
        name: _REDACTED
        if _SECRET_NAME.fullmatch(str(name))
        else (_redacted(value) if isinstance(value, Mapping) else value)
        for name, value in fields.items()
    }


def _identity(event: EventDict) -> str:
    """Return a text that is equal for two lines that say the same."""
    same = str({name: value for name, value in event.items() if name != "timestamp"})
    return _DIGITS.sub("#", same) if event["logger"] == LIBRDKAFKA_LOGGER else same


def _timestamp(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {**event, "timestamp": utc(time.time())}


def _first_keys_first(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {**{name: event[name] for name in ("timestamp", "level", "logger", "event")}, **event}


_CONTEXT: Final[tuple[Processor, ...]] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    _timestamp,
)


def _route(handler: logging.Handler, level: int) -> None:
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_CONTEXT,
            structlog.stdlib.PositionalArgumentsFormatter(),
            ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(capture=True)
    for name, least in _LIBRARY_LEVELS.items():
        logging.getLogger(name).setLevel(max(least, level))


def _as_json(event: EventDict) -> str:
    return json.dumps(event, separators=(",", ":"), default=repr)


def _for_people(*, colors: bool) -> Render:
    # Not the default formatter of exceptions: it shows the values of local variables.
    renderer = ConsoleRenderer(colors=colors, exception_formatter=plain_traceback, sort_keys=False)

    def render(event: EventDict) -> str:
        return str(renderer(None, "", {name: _printable(name, value) for name, value in event.items()}))

    return render


def _printable(name: str, value: object) -> object:
    """A text without what moves a terminal's cursor; a traceback keeps its lines; seconds to the millisecond."""
    if isinstance(value, float):
        return round(value, 3)
    if not isinstance(value, str):
        return value
    return printable(value, keep="\n" if name == "exception" else "")


def _dropped(lines: int) -> EventDict:
    event = "log lines dropped: the reader of stderr is too slow"
    return {"timestamp": utc(time.time()), "level": "warning", "logger": __name__, "event": event, "lines": lines}
