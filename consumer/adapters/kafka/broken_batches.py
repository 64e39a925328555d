"""Batches that librdkafka cannot decompress: their offsets become dead letters, and reading continues after them."""

import logging
import time
from collections.abc import Mapping

from confluent_kafka import KafkaException

from consumer.adapters.kafka.batch_search import BatchSearch
from consumer.adapters.kafka.policy import READING
from consumer.adapters.kafka.reading import Reading
from consumer.adapters.kafka.records import unreadable_record
from consumer.adapters.kafka.topic_consumer import TopicConsumer

_log = logging.getLogger(__name__)


class BrokenBatches:
    """Searches for the ends of unreadable batches, one per partition at a time; for the owner thread.

    The methods add to ``sought`` the partitions that are read from another offset since the current list was fetched:
    their later records in this list are out of date.
    """

    def __init__(self, partitions: TopicConsumer, reading: Reading) -> None:
        self._partitions = partitions
        self._reading = reading
        self._passed_at: dict[int, float] = {}
        """Partition -> when it last came past an unreadable batch, in monotonic seconds."""
        self._ask_from = 0.0
        """Monotonic time of the next query to brokers that respond slowly or not at all, in seconds."""
        self.searches: dict[int, BatchSearch] = {}
        """Partitions that stand before an unreadable batch."""

    def met(self, partition: int, begins: int, epoch: int, sought: set[int]) -> None:
        """A batch cannot be decompressed: find out where it ends, then give each of its offsets an outcome.

        Nothing is done at the first error: librdkafka fetches the batch again after a pause
        (``fetch.error.backoff.ms``, 500 ms), and often that heals it. Behind another unreadable batch it is asked for
        at once, so that many of them do not cost a pause each.
        """
        search = self.searches.get(partition)
        if search is None:
            search = self._begin(partition, begins)
            if search is None or time.monotonic() - self._passed_at.get(partition, 0.0) > READING.suspicion:
                self._reading.read_to.pop(partition, None)
                return
        elif search.end is None:
            if begins == search.begins:
                search.inside()
            elif search.confirmed:
                search.outside(begins)
        sought.add(partition)
        self._go_on(partition, search, epoch)

    def _begin(self, partition: int, begins: int) -> BatchSearch | None:
        """Return a new search, or ``None`` where the log's end is not known: the error comes again.

        While the brokers are slow, one query has to do for a whole list, which may hold errors of many partitions: the
        group hears from us only when we poll.
        """
        began = time.monotonic()
        if began < self._ask_from:
            return None
        try:
            _, log_end = self._partitions.watermarks(partition)
        except KafkaException as problem:
            _log.warning("the log's end of partition %d is not known: %s", partition, problem.args[0].str())
            return None
        finally:
            now = time.monotonic()
            if now - began > READING.positions_budget:
                self._ask_from = now + READING.retry
        read_to = self._reading.read_to.get(partition, begins)
        search = self.searches[partition] = BatchSearch(begins, read_to, log_end)
        return search

    def passed(self, partition: int, offset: int, epochs: Mapping[int, int], sought: set[int]) -> bool:
        """Something readable arrived; return ``True`` if it is out of order, behind an unreadable batch."""
        if partition in sought:
            return True
        search = self.searches.get(partition)
        if search is None or partition not in epochs:
            return False
        if search.confirmed:
            search.outside()
        elif offset == search.read_to or partition in self._reading.read_to:  # from the search's begin without an error
            del self.searches[partition]
            return False
        sought.add(partition)
        self._go_on(partition, search, epochs[partition])
        return True

    def _go_on(self, partition: int, search: BatchSearch, epoch: int) -> None:
        if search.end is None:
            self._reading.seek(partition, epoch, search.probe)
            return
        position = min(search.end, search.first + READING.unreadable_records)
        lost = [unreadable_record(partition, offset) for offset in range(search.first, position)]
        self._reading.read_to[partition] = search.read_to
        self._reading.post_records({partition: epoch}, lost)
        search.first = search.read_to = position
        if position == search.end:
            del self.searches[partition]
            self._passed_at[partition] = time.monotonic()
        self._reading.seek(partition, epoch, position)

    def forget(self, partition: int) -> None:
        """Abandon the search in a partition: it is read from elsewhere, or no longer ours."""
        self.searches.pop(partition, None)
