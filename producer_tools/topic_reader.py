"""Reads a whole topic without a group: every partition, and without commits."""

import logging
import time
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from operator import methodcaller
from typing import Literal, TypeAlias

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from producer_tools.connection import PARTITION_EOF, Connection
from producer_tools.policy import TOOLS

Start: TypeAlias = Literal["beginning", "end"] | datetime
"""The position to start from; a ``datetime`` (aware): the first record of that time or later."""

Headers: TypeAlias = tuple[tuple[str, bytes | None], ...]

HIGHEST_PARTITION = 2**31 - 2
HIGHEST_OFFSET = 2**63 - 2
"""One below what Kafka's protocol can carry: the next one is computed."""


_log = logging.getLogger(__name__)

_headers_of = methodcaller("headers")
"""A name that is not UTF-8 makes ``Message.headers()`` raise ``SystemError``; called like this, immediately."""


class TopicReader:
    """The records of one topic from ``start`` on; ``finished`` once everything is read that was there when it was made.

    Making one asks the brokers and pins the positions: a record written afterwards cannot be missed.
    ``partitions``: read only these. ``earlier``: partition -> offset to begin at where that is before ``start``.
    Raises what ``Connection.partitions`` raises.
    """

    def __init__(
        self,
        connection: Connection,
        topic: str,
        start: Start,
        *,
        read_committed: bool = True,
        partitions: Collection[int] | None = None,
        earlier: Mapping[int, int] | None = None,
    ) -> None:
        self._connection = connection
        self._topic = topic
        self._consumer = connection.consumer(read_committed=read_committed)
        try:
            found = connection.partitions(self._consumer, topic)
            self._known = [partition for partition in found if partitions is None or partition in partitions]
            self.bounds = {partition: self._bounds(partition) for partition in self._known}
            """Partition -> (first offset, offset behind the last), as of the start."""
            positions = {
                partition: max(self.bounds[partition][0], min(at, (earlier or {}).get(partition, at)))
                for partition, at in self._positions(start).items()
            }
        except BaseException:
            self._consumer.close()
            raise
        self._consumer.assign([TopicPartition(topic, partition, at) for partition, at in positions.items()])
        self._unfinished = {partition for partition, at in positions.items() if at < self.bounds[partition][1]}
        self._progress_at = self._growth_at = time.monotonic()
        self._silent = False

    @property
    def finished(self) -> bool:
        return not self._unfinished

    def seek(self, partition: int, offset: int) -> None:
        """Continue in ``partition`` from ``offset`` up to its end as of the start; all other partitions are left."""
        self._consumer.assign([TopicPartition(self._topic, partition, offset)])
        self._unfinished = {partition} if offset < self.bounds[partition][1] else set()

    def read(self, timeout: float, *, follow: bool) -> Message | None:
        """Return the next record, or ``None`` if none came within ``timeout`` seconds (or there is no more).

        ``follow``: also records that were written after the start, and partitions that were added.
        """
        if follow:
            self._find_new_partitions()
        elif self.finished:
            return None
        message = self._consumer.poll(timeout)
        if message is None:
            self._check_life(follow=follow)
            return None
        self._progress_at = time.monotonic()
        if error := message.error():
            self._take_error(error, message)
            return None
        return self._accept(message, follow=follow)

    def to_end(self) -> Iterator[Message]:
        """Iterate over all records up to the end as of the start, records without a value included."""
        while not self.finished:
            message = self.read(0.2, follow=False)
            if message is not None:  # a message without value is falsy
                yield message

    def close(self) -> None:
        self._consumer.close()

    def _accept(self, message: Message, *, follow: bool) -> Message | None:
        partition, offset = message.partition() or 0, message.offset() or 0
        _, end = self.bounds.get(partition, (0, 0))
        if offset + 1 >= end:
            self._unfinished.discard(partition)
        return message if follow or offset < end else None

    def _take_error(self, error: KafkaError, message: Message) -> None:
        if error.code() == PARTITION_EOF:
            self._unfinished.discard(message.partition() or 0)
        elif error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
            pass  # the group is a formality, see Connection.consumer
        elif error.fatal() or error.code() in (
            KafkaError.TOPIC_AUTHORIZATION_FAILED,
            KafkaError.UNKNOWN_TOPIC_OR_PART,
        ):
            raise self._connection.explain(error, self._topic)
        else:
            _log.debug("%s", error.str())

    def _check_life(self, *, follow: bool) -> None:
        """Stop waiting for records that are known to exist if the brokers no longer answer."""
        if not follow and time.monotonic() - self._progress_at > TOOLS.stall_seconds:
            self.check_reachable()
            self._progress_at = time.monotonic()

    def check_reachable(self) -> None:
        """Raise ``UnreachableError`` if no broker answers any more, within the policy's ``connect_seconds``."""
        self._connection.partitions(self._consumer, self._topic)

    def _note_silence(self, error: KafkaError | None) -> None:
        """Log once that the brokers do not answer, and once that they do again."""
        if error is not None and not self._silent:
            _log.warning("no answer from the brokers (%s); waiting for them", error.str())
        elif error is None and self._silent:
            _log.warning("the brokers answer again")
        self._silent = error is not None

    def _bounds(self, partition: int) -> tuple[int, int]:
        place = TopicPartition(self._topic, partition)
        consumer = self._consumer
        return self._connection.ask(
            lambda: consumer.get_watermark_offsets(place, timeout=TOOLS.attempt_seconds),
            consumer,
            self._topic,
            _deadline(),
        )

    def _positions(self, start: Start) -> dict[int, int]:
        if start == "beginning":
            return {partition: first for partition, (first, _) in self.bounds.items()}
        if start == "end":
            return {partition: end for partition, (_, end) in self.bounds.items()}
        milliseconds = max(0, int(start.timestamp() * 1000))  # the brokers reject negative ones, but commands
        times = [TopicPartition(self._topic, partition, milliseconds) for partition in self._known]
        consumer = self._consumer
        found = self._connection.ask(
            lambda: consumer.offsets_for_times(times, timeout=TOOLS.attempt_seconds), consumer, self._topic, _deadline()
        )
        # A negative offset: nothing that young in this partition.
        return {at.partition: at.offset if at.offset >= 0 else self.bounds[at.partition][1] for at in found}

    def _find_new_partitions(self) -> None:
        if time.monotonic() - self._growth_at < TOOLS.growth_seconds:
            return
        self._growth_at = time.monotonic()
        try:
            topic = self._consumer.list_topics(self._topic, timeout=TOOLS.attempt_seconds).topics[self._topic]
        except KafkaException as exception:
            self._note_silence(exception.args[0])
            return
        self._note_silence(None)
        new = sorted(set(topic.partitions) - set(self._known))
        if new:
            self._known += new
            self._consumer.incremental_assign([TopicPartition(self._topic, partition, 0) for partition in new])


def headers_of(message: Message) -> Headers | None:
    """Return all headers of a message in order; ``None`` if one of their names is not UTF-8."""
    try:
        return tuple(_headers_of(message) or ())
    except (SystemError, UnicodeDecodeError):
        return None


def _deadline() -> float:
    return time.monotonic() + TOOLS.connect_seconds
