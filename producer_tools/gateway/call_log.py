"""One log line for each call, rendered here: a call of a logger costs as much as the rest of the response."""

import json
import logging
import time
from http import HTTPStatus
from typing import Final

from producer_tools.gateway.app import AnsweredCall
from schemas.process.logs import Logs, utc
from schemas.settings import LoggedRequests, LogSettings

LOGGER: Final = "producer_tools.gateway.calls"
ANSWERED: Final = "call answered"


class CallLog:
    """Writes to the destination of all other lines. With ``failed``, calls with a status below 400 leave no line."""

    def __init__(self, logs: Logs, settings: LogSettings) -> None:
        self._logs = logs
        self._only_failed = settings.requests is LoggedRequests.FAILED
        self._silent = logs.level > logging.INFO

    def write(self, call: AnsweredCall) -> None:
        """Log one call as a line, without keys, bodies or query; never waits."""
        if self._silent or (self._only_failed and call.status < HTTPStatus.BAD_REQUEST):
            return
        event: dict[str, object] = {
            "timestamp": utc(time.time()),
            "level": "info",
            "logger": LOGGER,
            "event": ANSWERED,
            "method": call.method,
            "path": call.path,
            "status": call.status,
            "code": call.code,
            "request_id": call.request_id,
            "duration_seconds": round(call.seconds, 6),
            "trace_id": call.trace_id,
        }
        render = self._logs.render_for_people
        line = json.dumps(event, separators=(",", ":")) if render is None else render(event)
        self._logs.write(f"{line}\n".encode(errors="backslashreplace"))
