"""An embedded Kafka broker: the mock cluster that librdkafka carries inside it.

It lives in this process and listens on a free TCP port of this machine, so that other processes reach it as they
reach any broker. It keeps records and committed offsets with their metadata in memory, knows consumer groups, and has
no transactions worth the name, no controller and no topic configuration: it shows a system at work and proves nothing
about recovery. A group's first member waits 3 s for others before it gets its partitions.
"""

import logging
from types import TracebackType
from typing import Self

from confluent_kafka import Producer

START_SECONDS = 10.0
"""The broker answers at once; this is for a machine that is starved."""

PARTITIONS = 4
"""Of each topic: what the mock cluster makes of one that it is asked about."""

_log = logging.getLogger("producer_tools.kafka")


class EmbeddedBroker:
    """One broker; as a context manager it ends with the block."""

    def __init__(self) -> None:
        self._host = Producer({"test.mock.num.brokers": 1, "log_level": 0}, logger=_log)
        brokers = self._host.list_topics(timeout=START_SECONDS).brokers.values()
        self.bootstrap_servers = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def create_topic(self, name: str) -> None:
        """Make a topic of ``PARTITIONS`` partitions; one that exists stays as it is."""
        self._host.list_topics(name, timeout=START_SECONDS)

    def close(self) -> None:
        """End the broker; all records that it kept are gone."""
        self._host.close()
