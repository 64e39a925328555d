"""Reads the results of requests."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Self

from confluent_kafka import Message

from producer_tools.connection import Connection
from producer_tools.environment import READING, tool_settings
from producer_tools.policy import TOOLS
from producer_tools.registry_access import ResultReader
from producer_tools.topic_reader import Headers, Start, TopicReader, headers_of
from schemas.console.text import moment
from schemas.contract import TENANT_HEADER
from schemas.events import ProductResyncResult
from schemas.settings import Settings

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ReceivedResult:
    """A result, and of the record that carried it the place, the time (aware, UTC) and the headers."""

    value: ProductResyncResult
    partition: int
    offset: int
    timestamp: datetime
    headers: Headers = field(repr=False)

    def header(self, name: str) -> str | None:
        """Return the last header of this exact name as text, with undecodable bytes replaced; ``None`` without one."""
        found = dict(self.headers).get(name)
        return None if found is None else found.decode(errors="replace")

    @property
    def tenant(self) -> str | None:
        """The tenant of the requester; ``None`` if the service did not know the API key."""
        return self.header(TENANT_HEADER)


@dataclass(frozen=True, slots=True)
class UndecodableResult:
    """A record of the results topic that cannot be read as a result; it is left out of the iteration."""

    partition: int
    offset: int
    reason: str

    def __str__(self) -> str:
        return f"the record at {self.partition}:{self.offset} of the results topic is left out: {self.reason}"


def log_undecodable(undecodable: UndecodableResult) -> None:
    """Write a warning to the log ``producer_tools.subscriber``: what ``ResyncResults`` does unless told otherwise."""
    _log.warning("%s", undecodable)


class ResyncResults:
    """The results, of all tenants, as a ``read_committed`` subscriber sees them.

    ::

        for result in ResyncResults(follow=True):
            print(result.value.request_id, result.value.status)

    Also ``async for``. Reads every partition, joins no group and commits nothing: whoever wants to go on where it
    stopped keeps a time for ``start``. In a ``with`` block the place to begin is fixed on entering: a result that comes
    afterwards cannot be missed, so watch first, then ask.

    Args:
        settings: from the environment unless given.
        start: ``"beginning"``, ``"end"``, or the (aware) time of the oldest result to give.
        request_ids: only the results of these requests; ``None``: all.
        follow: go on for ever with what comes; otherwise stop at the end as of the start.
        on_undecodable: called with each record that is not a result.

    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        start: Start = "beginning",
        request_ids: Collection[str] | None = None,
        follow: bool = False,
        on_undecodable: Callable[[UndecodableResult], None] = log_undecodable,
    ) -> None:
        self._settings = tool_settings(READING) if settings is None else settings
        self._start = start
        self._keys = None if request_ids is None else {request_id.encode() for request_id in request_ids}
        self._follow = follow
        self._on_undecodable = on_undecodable
        self._decoder = ResultReader(self._settings.schema_registry)
        self._reader: TopicReader | None = None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __iter__(self) -> Iterator[ReceivedResult]:
        with self:
            while not self.finished:
                if result := self.read(TOOLS.poll_seconds):
                    yield result

    async def __aiter__(self) -> AsyncIterator[ReceivedResult]:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1, thread_name_prefix="resync-results") as thread:
            try:
                await loop.run_in_executor(thread, self.open)
                while not self.finished:
                    for result in await loop.run_in_executor(thread, self.read_some):
                        yield result
            finally:
                thread.submit(self.close)  # behind what is still being read

    @property
    def finished(self) -> bool:
        """Whether everything that existed at the start has been read. Always ``False`` while following."""
        return not self._follow and self._reader is not None and self._reader.finished

    def open(self) -> None:
        """Reach the brokers and fix the position to start from. Idempotent.

        A result that is written afterwards cannot be missed. Raises ``UnreachableError`` or ``MisconfiguredError``.
        """
        if self._reader is None:
            self._reader = TopicReader(Connection(self._settings.kafka), self._settings.topics.results, self._start)

    def close(self) -> None:
        """Close the connection to the brokers and to the registry; the next iteration starts over."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        self._decoder.close()

    def read(self, timeout: float) -> ReceivedResult | None:
        """Return the next result, or ``None`` if none was read within ``timeout`` seconds; needs ``open``."""
        deadline = time.monotonic() + timeout
        while True:
            message = self._opened().read(max(0.0, deadline - time.monotonic()), follow=self._follow)
            if message is not None and (result := self._received(message)):
                return result
            if message is None or time.monotonic() > deadline:
                return None

    def read_some(self, at_most: int = 500) -> list[ReceivedResult]:
        """Return the available results, at most ``at_most``, after a short wait for the first; possibly none.

        Needs ``open``. For a thread that has to look at something else between two calls.
        """
        results: list[ReceivedResult] = []
        timeout = TOOLS.poll_seconds
        for _ in range(at_most):
            message = self._opened().read(timeout, follow=self._follow)
            if message is None:
                break
            if result := self._received(message):
                results.append(result)
            timeout = 0.0
        return results

    def check_reachable(self) -> None:
        """Ask the brokers for the topic's leaders, and raise ``UnreachableError`` if none answers any more.

        Silence alone does not mean that there are no results: a reader that waits cannot tell the two apart.
        """
        self._opened().check_reachable()

    def _opened(self) -> TopicReader:
        if self._reader is None:
            raise RuntimeError("ResyncResults is not open: use it in a with block, or iterate")
        return self._reader

    def _received(self, message: Message) -> ReceivedResult | None:
        if self._keys is not None and message.key() not in self._keys:
            return None
        headers = headers_of(message) or ()
        partition, offset = message.partition() or 0, message.offset() or 0
        value = self._decoder.decode(message.value(), headers)
        if isinstance(value, str):
            self._on_undecodable(UndecodableResult(partition, offset, value))
            return None
        _, milliseconds = message.timestamp()
        timestamp = moment(milliseconds)
        return ReceivedResult(value, partition, offset, timestamp, headers)
