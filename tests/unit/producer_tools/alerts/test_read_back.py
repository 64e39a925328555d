"""Results of the past are read back before alerts are accepted."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest
from confluent_kafka import Message

from producer_tools.alerts import read_back
from producer_tools.alerts.asked import AskedRequests
from producer_tools.alerts.read_back import ReadBack, find_digests
from producer_tools.errors import UnreachableError
from tests.support.policies import adjust

OURS = [f"alert-{number:032x}" for number in range(3)]


class Record:
    """As much of a message as is looked at."""

    def __init__(self, key: str | None) -> None:
        self._key = key

    def key(self) -> bytes | None:
        return self._key.encode() if self._key else None


class Topic:
    """Results that are already there."""

    def __init__(self, *keys: str | None) -> None:
        self._keys = list(keys)
        self.closed = False

    @property
    def finished(self) -> bool:
        return not self._keys

    def read(self, timeout: float, *, follow: bool) -> Message | None:
        assert timeout > 0
        assert not follow
        return cast(Message, Record(self._keys.pop(0)))

    def close(self) -> None:
        self.closed = True


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - whoever changes it knows nothing of the loop
            await asyncio.sleep(0.01)


def test_what_has_a_result_is_remembered_and_results_of_others_are_not() -> None:
    asked, opened = AskedRequests(), list[datetime]()
    topic = Topic(OURS[0], None, "0191a7c2-5d1e-7c3a-9f00-1b2c3d4e5f60", OURS[1])

    def open_results(since: datetime) -> Topic:
        opened.append(since)
        return topic

    async def read() -> None:
        read_back = ReadBack(open_results, asked, lambda: 3600.0)
        assert not read_back.complete
        task = asyncio.create_task(read_back.run())
        await until(lambda: read_back.complete)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    asyncio.run(read())
    assert [True, True, False] == [request_id in asked for request_id in OURS]
    assert topic.closed
    assert timedelta(minutes=59) < datetime.now(UTC) - opened[0] < timedelta(minutes=61)


def test_a_broker_that_does_not_answer_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    adjust(monkeypatch, read_back, "ALERTS", read_back_retry_seconds=0.01)
    failures = [UnreachableError("away"), UnreachableError("away")]

    def open_results(_since: datetime) -> Topic:
        if failures:
            raise failures.pop()
        return Topic(OURS[0])

    async def read() -> None:
        reading = ReadBack(open_results, AskedRequests(), lambda: 60.0)
        task = asyncio.create_task(reading.run())
        await until(lambda: reading.complete)
        task.cancel()

    asyncio.run(read())
    assert not failures


def test_changed_rules_that_look_further_back_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    adjust(monkeypatch, read_back, "ALERTS", read_back_poll_seconds=0.01)
    needed = [60.0]
    asked = AskedRequests()
    topics = [Topic(OURS[0]), Topic(OURS[0], OURS[1])]

    async def read() -> None:
        reading = ReadBack(lambda _since: topics.pop(0), asked, lambda: needed[0])
        task = asyncio.create_task(reading.run())
        await until(lambda: reading.complete)
        needed[0] = 120.0
        assert not reading.complete
        await until(lambda: reading.complete)
        task.cancel()

    asyncio.run(read())
    assert OURS[1] in asked


def test_reading_ends_in_time_with_what_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    adjust(monkeypatch, read_back, "ALERTS", read_back_seconds=0.0)
    found = find_digests(lambda _since: Topic(OURS[0]), datetime.now(UTC), threading.Event())
    assert (0, False) == (len(found.digests), found.whole)


def test_reading_ends_when_the_gateway_stops() -> None:
    stopping = threading.Event()
    stopping.set()
    assert not find_digests(lambda _since: Topic(OURS[0]), datetime.now(UTC), stopping).whole
