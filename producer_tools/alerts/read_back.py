"""Reads the results of the past: a request that was answered before the gateway's start is not made again."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

import structlog
from confluent_kafka import Message

from producer_tools.alerts.asked import AskedRequests, digest_of
from producer_tools.alerts.policy import ALERTS
from producer_tools.errors import ResyncToolError

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


class PastResults(Protocol):
    """The results topic from some time on, up to its end when it was opened."""

    @property
    def finished(self) -> bool: ...

    def read(self, timeout: float, *, follow: bool) -> Message | None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Found:
    """The newest request ids of ours among the results that were read, and whether all were read in time."""

    digests: Collection[bytes]
    whole: bool
    """False: the time was over before the end was reached."""


class ReadBack:
    """Reads back as far as the rules need, on a thread, and again where changed rules need more.

    ``open_results`` opens the results topic from a time on, and raises ``ResyncToolError``.
    ``needed`` returns the age in seconds of results that matter.
    """

    def __init__(
        self, open_results: Callable[[datetime], PastResults], asked: AskedRequests, needed: Callable[[], float]
    ) -> None:
        self._open_results = open_results
        self._asked = asked
        self._needed = needed
        self._covered = 0.0
        self._stopping = threading.Event()

    @property
    def complete(self) -> bool:
        """Whether all results have been read that may keep an alert from asking again."""
        return self._covered >= self._needed()

    async def run(self) -> None:
        """Read results of the past whenever rules make older ones matter, until cancelled."""
        try:
            while True:
                if self.complete:
                    await asyncio.sleep(ALERTS.read_back_poll_seconds)
                elif not await self._read(self._needed()):
                    await asyncio.sleep(ALERTS.read_back_retry_seconds)
        finally:
            self._stopping.set()

    async def _read(self, seconds: float) -> bool:
        since = datetime.now(UTC) - timedelta(seconds=seconds)
        try:
            found = await _on_a_thread(lambda: find_digests(self._open_results, since, self._stopping))
        except ResyncToolError as error:
            _log.warning("results cannot be read back; alerts wait", reason=str(error))
            return False
        for digest in found.digests:
            self._asked.add_digest(digest)
        self._covered = seconds
        if not found.whole:
            _log.warning(
                "not all results could be read back in time; some alerts may ask again",
                seconds=ALERTS.read_back_seconds,
            )
        return True


def find_digests(open_results: Callable[[datetime], PastResults], since: datetime, stopping: threading.Event) -> Found:
    """Read all results since a time, for the policy's ``read_back_seconds`` at most."""
    digests: deque[bytes] = deque(maxlen=ALERTS.remembered_ids)
    until = time.monotonic() + ALERTS.read_back_seconds
    results = open_results(since)
    try:
        while not results.finished and time.monotonic() < until and not stopping.is_set():
            message = results.read(ALERTS.read_seconds, follow=False)
            if message is not None and (digest := digest_of(message.key())) is not None:
                digests.append(digest)
        return Found(digests, results.finished)
    finally:
        results.close()


async def _on_a_thread(work: Callable[[], Found]) -> Found:
    """Run on a daemon thread: a question to brokers that do not answer must not delay the end of the process."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Found] = loop.create_future()

    def settle(found: Found | BaseException) -> None:
        if done.cancelled():
            return
        if isinstance(found, Found):
            done.set_result(found)
        else:
            done.set_exception(found)

    def run() -> None:
        try:
            outcome: Found | BaseException = work()
        except BaseException as error:  # noqa: BLE001 - raised where it is awaited
            outcome = error
        with suppress(RuntimeError):  # the loop has ended, and with it whoever waited
            loop.call_soon_threadsafe(settle, outcome)

    threading.Thread(target=run, name="results-read-back", daemon=True).start()
    return await done
