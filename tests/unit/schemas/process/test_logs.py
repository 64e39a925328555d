import json
import logging
import os
import pty
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from datetime import datetime

import pytest
import structlog
from confluent_kafka import Producer
from hypothesis import given
from hypothesis import strategies as st

from consumer.adapters.observability.request_log import AnsweredRequest, request_log
from schemas.process.log_sink import LogSink
from schemas.process.logs import LIBRDKAFKA_LOGGER, Logs, RepeatLimit
from schemas.process.policy import PROCESS
from schemas.settings.model import LogFormat, LoggedRequests, LogLevel, LogSettings
from tests.support.policies import adjust

SETTINGS = LogSettings()
HOSTILE = 'a\n{"level":"error"}\r\x1b[2J\x00\u2028\u202e"\\é😀'
ANSWER = AnsweredRequest("r-1", "requests", 3, 42, None, "FAILED", "API_KEY_INVALID", 0.0125, None, None, HOSTILE)


@pytest.fixture(autouse=True)
def _global_registries_are_restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def logged(act: Callable[[Logs], object], settings: LogSettings | None = None) -> str:
    """All that is written to a pipe while ``act`` runs."""
    reader, writer = os.pipe()
    logs = Logs(settings or LogSettings(), fd=writer)
    act(logs)
    logs.close()
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as lines:
        return lines.read()


def events(act: Callable[[Logs], object], settings: LogSettings | None = None) -> list[dict[str, object]]:
    return [json.loads(line) for line in logged(act, settings).splitlines()]


def on_a_terminal(act: Callable[[Logs], object], settings: LogSettings | None = None) -> str:
    parent, child = pty.openpty()
    logs = Logs(settings or LogSettings(), fd=child)
    act(logs)
    logs.close()
    time.sleep(0.05)
    shown = os.read(parent, 100_000).decode()
    os.close(parent)
    os.close(child)
    return shown


def test_in_a_pipe_a_line_is_one_json_object() -> None:
    (event,) = events(lambda _: structlog.get_logger("consumer.run").info("started", partitions=[1, 2], group="g"))

    assert list(event)[:4] == ["timestamp", "level", "logger", "event"]
    assert (event["level"], event["logger"], event["event"]) == ("info", "consumer.run", "started")
    assert event["partitions"] == [1, 2]
    assert str(event["timestamp"]).endswith("Z")
    assert datetime.fromisoformat(str(event["timestamp"])).tzinfo is not None


def test_lines_of_libraries_look_like_ours() -> None:
    (event,) = events(lambda _: logging.getLogger("alembic.runtime").info("Running upgrade %s -> %s", "a", "b"))

    assert list(event) == ["timestamp", "level", "logger", "event"]
    assert event["event"] == "Running upgrade a -> b"


def test_what_was_bound_once_is_on_every_line() -> None:
    def act(_: Logs) -> None:
        structlog.contextvars.bind_contextvars(group="mirakl-resync")
        structlog.get_logger().info("ours")
        logging.getLogger("alembic").info("theirs")

    assert [event["group"] for event in events(act)] == ["mirakl-resync", "mirakl-resync"]


@pytest.mark.parametrize("name", ["httpx", "httpcore.http11", "sqlalchemy.engine.Engine"])
def test_chatty_libraries_are_silent_below_a_warning_even_when_we_debug(name: str) -> None:
    def act(_: Logs) -> None:
        logging.getLogger(name).debug("send_request_headers")
        logging.getLogger(name).info("HTTP Request: POST https://mirakl.example/")
        logging.getLogger(name).warning("odd")

    assert [event["event"] for event in events(act, LogSettings(level=LogLevel.DEBUG))] == ["odd"]


def test_the_level_is_the_least_that_is_written() -> None:
    def act(logs: Logs) -> None:
        structlog.get_logger().info("no")
        structlog.get_logger().warning("yes")
        request_log(logs, SETTINGS).write([ANSWER])

    assert [event["event"] for event in events(act, LogSettings(level=LogLevel.WARNING))] == ["yes"]


def test_an_exception_is_told_with_its_traceback_in_the_same_line_and_without_variables() -> None:
    def act(_: Logs) -> None:
        hidden = "s3cret-value" * 2
        try:
            int(hidden[:1])
        except ValueError:
            structlog.get_logger().exception("failed")

    for written in (logged(act), on_a_terminal(act)):
        assert "ValueError: invalid literal" in written
        assert "test_logs.py" in written
        assert "s3cret-values3cret-value" not in written
    assert len(events(act)) == 1


def test_warnings_of_python_are_logged() -> None:
    def act(_: Logs) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            logging.captureWarnings(capture=True)
            warnings.warn("old thing", UserWarning, stacklevel=1)

    assert "old thing" in str(events(act)[0]["event"])


@pytest.mark.parametrize(
    "name", ["password", "sasl.password", "Authorization", "dj-api-key", "api_key", "encryption_keys", "access_token"]
)
def test_values_under_secret_names_are_redacted(name: str) -> None:
    written = logged(lambda _: structlog.get_logger().info("x", **{name: "hush-1"}, nested={name: "hush-2"}, n=1))

    assert "hush" not in written
    assert written.count("[redacted]") == 2


def test_names_of_what_is_no_secret_are_kept() -> None:
    (event,) = events(lambda _: structlog.get_logger().info("api key revoked", api_key_id="7", token_bucket=3))

    assert (event["api_key_id"], event["token_bucket"]) == ("7", 3)


def test_hostile_text_stays_in_its_line_and_field() -> None:
    def act(_: Logs) -> None:
        structlog.get_logger().info(HOSTILE, field=HOSTILE)
        logging.getLogger("alembic").info("%s", HOSTILE)

    written = logged(act)

    assert written.isascii()
    assert [json.loads(line)["event"] for line in written.splitlines()] == [HOSTILE, HOSTILE]
    assert json.loads(written.splitlines()[0])["field"] == HOSTILE


def test_hostile_text_moves_no_cursor_of_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    def act(logs: Logs) -> None:
        structlog.get_logger().info(HOSTILE, field=HOSTILE)
        request_log(logs, SETTINGS).write([ANSWER._replace(request_id=HOSTILE)])

    shown = on_a_terminal(act)

    assert shown.count("\n") == 2
    assert "\x1b" not in shown
    assert "\x00" not in shown
    assert "\u202e" not in shown
    assert "é😀" in shown


def test_a_terminal_gets_lines_for_people_and_a_setting_overrules() -> None:
    def act(logs: Logs) -> None:
        request_log(logs, SETTINGS).write([ANSWER])

    as_json = LogSettings(format=LogFormat.JSON)
    for_people = LogSettings(format=LogFormat.CONSOLE)

    assert not on_a_terminal(act).startswith("{")
    assert "request answered" in on_a_terminal(act)
    assert json.loads(on_a_terminal(act, as_json))["request_id"] == "r-1"
    assert "API_KEY_INVALID" in logged(act, for_people)
    assert not logged(act, for_people).startswith("{")
    assert "\x1b" not in logged(act, for_people)


def test_people_read_durations_to_the_millisecond() -> None:
    slow = ANSWER._replace(duration_seconds=0.2309819680012879)

    shown = logged(lambda logs: request_log(logs, SETTINGS).write([slow]), LogSettings(format=LogFormat.CONSOLE))

    assert "duration_seconds=0.231 " in shown


def test_only_failed_requests_are_logged_where_so_set() -> None:
    answers = [ANSWER._replace(status="SYNCHRONIZED", code=None), ANSWER]
    only_failed = LogSettings(requests=LoggedRequests.FAILED)

    assert [event["status"] for event in events(lambda logs: request_log(logs, SETTINGS).write(answers))] == [
        "SYNCHRONIZED",
        "FAILED",
    ]
    assert [event["status"] for event in events(lambda logs: request_log(logs, only_failed).write(answers))] == [
        "FAILED"
    ]


def test_a_broker_that_is_down_does_not_flood_the_log() -> None:
    """The library repeats itself, instance by instance, with other numbers in the text."""
    settings = {"bootstrap.servers": "127.0.0.1:1", "logger": logging.getLogger(LIBRDKAFKA_LOGGER)}

    def act(_: Logs) -> None:
        for producer in [Producer(settings) for _replica in range(3)]:
            producer.poll(0.3)

    refused = [event for event in events(act) if "Connection refused" in str(event["event"])]

    assert [event["logger"] for event in refused] == [LIBRDKAFKA_LOGGER]


class Repeats:
    """What a limit lets through, at times of our own."""

    def __init__(self) -> None:
        self.now = 0.0
        self._limit = RepeatLimit(lambda: self.now)

    def passes(self, event: str, level: str = "warning", **fields: object) -> bool:
        return self.line(event, level, **fields) is not None

    def line(self, event: str, level: str = "warning", **fields: object) -> dict[str, object] | None:
        line = {"timestamp": str(self.now), "level": level, "logger": "consumer", "event": event, **fields}
        try:
            return dict(self._limit(None, "", line))
        except structlog.DropEvent:
            return None


def test_a_repeated_warning_passes_once_in_a_while_and_tells_how_often_it_came() -> None:
    repeats = Repeats()
    passed = []
    for second in range(int(PROCESS.repeat_seconds) + 1):
        repeats.now = float(second)
        passed.append(repeats.line("database is locked"))

    assert [line is not None for line in passed] == [True] + [False] * (int(PROCESS.repeat_seconds) - 1) + [True]
    assert (passed[-1] or {})["suppressed"] == int(PROCESS.repeat_seconds) - 1


def test_different_warnings_do_not_silence_each_other() -> None:
    repeats = Repeats()

    assert repeats.passes("offsets 10 to 20 are lost", partition=1)
    assert repeats.passes("offsets 10 to 21 are lost", partition=1)
    assert repeats.passes("offsets 10 to 20 are lost", partition=2)
    assert repeats.passes("offsets 10 to 20 are lost", "error", partition=1)
    assert not repeats.passes("offsets 10 to 20 are lost", partition=1)


def test_numbers_in_texts_of_librdkafka_make_no_difference() -> None:
    repeats = Repeats()

    assert repeats.passes("rdkafka#producer-1 failed (after 3ms)", logger=LIBRDKAFKA_LOGGER)
    assert not repeats.passes("rdkafka#producer-2 failed (after 0ms)", logger=LIBRDKAFKA_LOGGER)


def test_information_and_the_gravest_errors_are_never_suppressed() -> None:
    repeats = Repeats()

    assert all(repeats.passes("x", level) for level in ("info", "info", "critical", "critical"))


def test_the_limit_forgets_rather_than_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    adjust(monkeypatch, "schemas.process.logs", "PROCESS", repeats_known=2)
    repeats = Repeats()
    for name in ("a", "b", "c"):
        repeats.passes(name)

    assert repeats.passes("a")
    assert not repeats.passes("c")


def full_pipe() -> tuple[int, int]:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, b"x" * 4095 + b"\n")
    except BlockingIOError:
        os.set_blocking(writer, True)
    return reader, writer


def test_a_reader_that_stands_still_blocks_nobody_and_learns_what_it_missed() -> None:
    reader, writer = full_pipe()
    sink = LogSink(writer, lambda lines: b"dropped %d\n" % lines, max_pending_bytes=1_000)
    started = time.monotonic()
    for number in range(200):
        sink.write(b"line %03d\n" % number)
    assert time.monotonic() - started < 1

    text: list[bytes] = []
    with os.fdopen(reader, "rb") as lines:
        draining = threading.Thread(target=lambda: text.extend(lines))
        draining.start()
        sink.close(5)
        os.close(writer)
        draining.join(5)

    told = [line.strip() for line in text if not line.startswith(b"x")]
    assert told == [*(b"line %03d" % number for number in range(111)), b"dropped 89"]


def test_closing_waits_no_longer_than_it_may() -> None:
    reader, writer = full_pipe()
    sink = LogSink(writer, lambda _: b"")
    sink.write(b"never read\n")
    started = time.monotonic()
    sink.close(0.2)

    assert time.monotonic() - started < 2
    os.close(reader)  # wakes the writing thread with EPIPE
    sink.close(2)
    os.close(writer)


def test_a_descriptor_that_others_made_non_blocking_loses_nothing() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    sink = LogSink(writer, lambda _: b"")
    sink.write(b"x" * 1_000_000 + b"\n")
    received = 0
    while received < 1_000_001:
        received += len(os.read(reader, 100_000))
    sink.close(2)
    os.close(reader)
    os.close(writer)

    assert received == 1_000_001


def test_lines_written_last_are_not_lost_at_the_exit() -> None:
    program = (
        "from schemas.process.logs import Logs; from schemas.settings import LogSettings\n"
        "import logging\n"
        "Logs(LogSettings()); logging.getLogger('x').warning('goodbye')"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=True)

    assert json.loads(ended.stderr)["event"] == "goodbye"
    assert ended.stdout == ""


@given(st.text(), st.text())
def test_a_text_of_any_kind_comes_back_as_it_was(event: str, field: str) -> None:
    (line,) = events(lambda _: structlog.get_logger().info(event, field=field))

    assert (line["event"], line["field"]) == (event, field)
