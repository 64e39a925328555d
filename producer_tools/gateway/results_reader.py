"""Reads the whole results topic, ``read_committed`` and without a group, on a separate thread.

Every gateway reads every partition, so a result reaches its caller at any gateway. Positions are fixed when the reader
is created, before any request is written, so a later result cannot be missed. Records are matched by their key;
the reader decodes nothing.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from producer_tools.connection import PARTITION_EOF, Connection
from producer_tools.gateway.known_results import ResultRecord, made_over_http
from producer_tools.gateway.policy import GatewayPolicy
from producer_tools.registry_access import schema_header
from producer_tools.topic_reader import headers_of

Listener: TypeAlias = Callable[[Sequence[ResultRecord]], None]
"""Gets the records of one batch, in the order of each partition; runs on the event loop and must not wait."""


_log = logging.getLogger(__name__)


class ResultsReader:
    """Reads from ``positions`` (partition -> offset) on, and calls its listeners on the event loop.

    ``progress`` may be read on any thread.
    """

    def __init__(self, connection: Connection, topic: str, positions: Mapping[int, int], policy: GatewayPolicy) -> None:
        self._topic = topic
        self._policy = policy
        self._consumer = connection.consumer(
            defaults={
                "queued.max.messages.kbytes": policy.fetch_queue_kilobytes,
                "queued.min.messages": policy.batch_records,
            }
        )
        self._consumer.assign([TopicPartition(topic, partition, at) for partition, at in positions.items()])
        self.progress = dict(positions)
        """Partition -> offset of the next record to read."""
        self.read_records = 0
        """Since the start, of anybody's requests."""
        self.kept_records = 0
        """Of these, results of requests made over HTTP."""
        self.turned_at = time.monotonic()
        """Time of the last turn of the thread, monotonic."""
        self._listeners: list[Listener] = []
        self._added: list[int] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="results-reader", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None

    def subscribe(self, listener: Listener) -> None:
        """Call ``listener`` for each result of a request made over HTTP. To be called before ``start``."""
        self._listeners.append(listener)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to read on a thread of its own; listeners are called on ``loop``, with lists of records."""
        self._loop = loop
        self._thread.start()

    def stop(self) -> None:
        """Let the thread end, which closes the consumer; does not wait."""
        self._stopping.set()

    def add_partitions(self, partitions: Sequence[int]) -> None:
        """Read partitions that were added to the topic, from their first record on; on any thread."""
        self._added.extend(partitions)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.turned_at = time.monotonic()
            try:
                self._assign_added()
                self._turn()
            except KafkaException as exception:
                _log.warning("the results cannot be read at the moment: %s", exception.args[0].str())
                self._stopping.wait(self._policy.retry_seconds)
        self._consumer.close()

    def _turn(self) -> None:
        # consume() by itself would wait for a full batch, or its whole timeout
        first = self._consumer.poll(self._policy.poll_seconds)
        if first is None:
            return
        found: list[ResultRecord] = []
        for message in (first, *self._consumer.consume(self._policy.batch_records, 0)):
            error = message.error()
            if error is not None:
                self._take_error(error, message)
                continue
            self.read_records += 1
            self.progress[message.partition() or 0] = (message.offset() or 0) + 1
            key = message.key()
            if key is not None and made_over_http(key):
                header = schema_header(headers_of(message) or ())
                found.append(ResultRecord(key.decode(), message.value(), header, message.timestamp()[1]))
        if found:
            self.kept_records += len(found)
            self._tell(found)

    def _assign_added(self) -> None:
        while self._added:
            partition = self._added.pop()
            if partition not in self.progress:
                self._consumer.incremental_assign([TopicPartition(self._topic, partition, 0)])
                self.progress[partition] = 0

    def _take_error(self, error: KafkaError, message: Message) -> None:
        if error.code() == PARTITION_EOF:
            self.progress[message.partition() or 0] = message.offset() or 0
        elif error.code() != KafkaError.GROUP_AUTHORIZATION_FAILED:  # the group is a formality
            _log.warning("the results cannot be read at the moment: %s", error.str())

    def _tell(self, records: Sequence[ResultRecord]) -> None:
        assert self._loop is not None  # noqa: S101 - start() gave it
        for listener in self._listeners:
            try:
                self._loop.call_soon_threadsafe(listener, records)
            except RuntimeError:  # the loop has ended, and with it everybody who waits
                return
