"""Fetching of records from librdkafka, as many at a time as the core has room for."""

import time
from collections.abc import Callable

from confluent_kafka import Consumer, Message

from consumer.adapters.kafka.policy import READING
from consumer.adapters.kafka.reading import Reading
from consumer.adapters.kafka.records import RecordReader
from consumer.engine.records import Record
from consumer.engine.status import FetchBudget


class Fetching:
    """Polls within the core's fetch budget, in lists that the core can take at once; for the owner thread."""

    def __init__(self, consumer: Consumer, reading: Reading, budget: Callable[[], FetchBudget]) -> None:
        self._consumer = consumer
        self._reading = reading
        self._budget = budget
        self._reader = RecordReader()

    def fetch(self) -> list[Record | Message]:
        """Poll for one message, then take what is there already, up to the fetch budget.

        The poll has to go on without a budget, and brings one message each time; then it is slowed down.
        """
        first = self._consumer.poll(READING.poll)
        if first is None:
            return []
        fetched = self._reader.read([first])
        budget, reading = self._budget(), self._reading
        most = min(READING.list_records, budget.records - (reading.posted_records - budget.received_records))
        if most <= 1 or reading.posted_bytes - budget.received_bytes > READING.unreceived_bytes:
            time.sleep(READING.poll)
        else:
            self._take_more(fetched, most)
        return fetched

    def _take_more(self, fetched: list[Record | Message], most: int) -> None:
        enough = self._reader.bytes_read + READING.list_bytes
        while (wanted := min(READING.take_records, most - len(fetched))) > 0 and self._reader.bytes_read < enough:
            more = self._reader.read(self._consumer.consume(wanted, 0))
            fetched += more
            if len(more) < wanted:
                return
