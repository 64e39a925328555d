"""The fast path of the log: one line per answered request and per dead letter.

They are written after each commit, for thousands of outcomes at once, so a line may cost a microsecond or two and
not the fifty that a log call costs. Their shape is that of all other lines; a test holds the two together.
"""

import logging
import time
from collections.abc import Callable, Iterable
from json.encoder import encode_basestring_ascii as quote
from typing import Final, NamedTuple

from schemas.process.logs import Logs, utc
from schemas.settings.model import LoggedRequests, LogSettings

ANSWERED: Final = "request answered"
DEAD_LETTERED: Final = "request dead-lettered"
LOGGER: Final = "consumer.requests"


class AnsweredRequest(NamedTuple):
    """One published result; a plain tuple in this order does as well."""

    request_id: str
    topic: str
    partition: int
    offset: int
    client_specification_id: str | None
    status: str
    code: str | None
    """``None`` where the status is ``SYNCHRONIZED``."""
    duration_seconds: float
    """From being read to being published."""
    trace_id: str | None
    tenant: str | None
    api_key: str | None
    """The name of the key; ``None`` where no valid key asked."""


class DeadLetteredRecord(NamedTuple):
    """One published dead letter; a plain tuple in this order does as well."""

    reason: str
    message: str
    topic: str
    partition: int
    offset: int
    tenant: str | None


class RequestLog:
    """``write`` takes bytes and does not wait; ``console`` renders a line for people, ``None``: JSON."""

    def __init__(
        self,
        write: Callable[[bytes], object],
        *,
        level: int = logging.INFO,
        only_failed: bool = False,
        console: Callable[[dict[str, object]], str] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._write = write
        self._level = level
        self.only_failed = only_failed
        self._console = console
        self._clock = clock

    def write(self, lines: Iterable[AnsweredRequest]) -> None:
        """Log results that were published together, one line each, made without a logger: it is on the hot path."""
        if self._level > logging.INFO:
            return
        if self.only_failed:
            lines = [line for line in lines if line[5] != "SYNCHRONIZED"]
        if self._console:
            self._write_for_people(self._console, "info", ANSWERED, (AnsweredRequest(*line) for line in lines))
        else:
            self._write_all(_answered(self._head("info", ANSWERED), lines))

    def write_dead_letters(self, lines: Iterable[DeadLetteredRecord]) -> None:
        """Log dead letters that were published together, as warnings."""
        if self._level > logging.WARNING:
            return
        if self._console:
            records = (DeadLetteredRecord(*line) for line in lines)
            self._write_for_people(self._console, "warning", DEAD_LETTERED, records)
        else:
            self._write_all(_dead_lettered(self._head("warning", DEAD_LETTERED), lines))

    def _head(self, level: str, event: str) -> str:
        """Return the beginning of all lines of a batch."""
        return f'{{"timestamp":"{utc(self._clock())}","level":"{level}","logger":"{LOGGER}","event":"{event}",'

    def _write_for_people(
        self,
        render: Callable[[dict[str, object]], str],
        level: str,
        event: str,
        lines: Iterable[AnsweredRequest | DeadLetteredRecord],
    ) -> None:
        first = {"timestamp": utc(self._clock()), "level": level, "logger": LOGGER, "event": event}
        self._write_all([f"{render({**first, **line._asdict()})}\n" for line in lines])

    def _write_all(self, lines: list[str]) -> None:
        if lines:
            self._write("".join(lines).encode(errors="backslashreplace"))


def request_log(logs: Logs, settings: LogSettings) -> RequestLog:
    """Return the request log, which writes to the same sink as all other lines."""
    return RequestLog(
        logs.write,
        level=logs.level,
        only_failed=settings.requests is LoggedRequests.FAILED,
        console=logs.render_for_people,
    )


def _answered(head: str, lines: Iterable[AnsweredRequest]) -> list[str]:
    """Return the lines; fields that the requests of one call share are rendered once."""
    shared: dict[tuple[str | None, ...], str] = {}
    text = []
    for request_id, topic, partition, offset, specification, status, code, seconds, trace_id, tenant, name in lines:
        key = (topic, specification, status, code, tenant, name)
        begin = shared.get(key)
        if begin is None:
            begin = shared[key] = (
                f'{head}"topic":{quote(topic)},"client_specification_id":{_or_null(specification)},'
                f'"tenant":{_or_null(tenant)},"api_key":{_or_null(name)},"status":{quote(status)},"code":{_or_null(code)},"request_id":'
            )
        trace = "null" if trace_id is None else quote(trace_id)
        text.append(
            f'{begin}{quote(request_id)},"partition":{partition},"offset":{offset},'
            f'"duration_seconds":{seconds:.6f},"trace_id":{trace}}}\n'
        )
    return text


def _dead_lettered(head: str, lines: Iterable[DeadLetteredRecord]) -> list[str]:
    return [
        f'{head}"reason":{quote(reason)},"message":{quote(message)},"topic":{quote(topic)},'
        f'"partition":{partition},"offset":{offset},"tenant":{_or_null(tenant)}}}\n'
        for reason, message, topic, partition, offset, tenant in lines
    ]


def _or_null(text: str | None) -> str:
    return "null" if text is None else quote(text)
