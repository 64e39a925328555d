"""Watch of the requests topic's id, which is looked up every few seconds on a separate thread.

A topic that was deleted and created again has the same name, and offsets that mean other records: only its id tells.
The owner thread must not wait for this query, so it gets the answers posted.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from consumer.adapters.kafka.policy import ADMIN

_log = logging.getLogger(__name__)


class TopicWatch:
    """Calls ``tell`` with the topic's id, on a separate thread; empty if the brokers do not report it."""

    def __init__(self, properties: Mapping[str, Any], topic: str, tell: Callable[[bytes], None]) -> None:
        self._properties = {**properties, "logger": logging.getLogger("librdkafka")}
        self._topic = topic
        self._tell = tell
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="topic-watch", daemon=True)

    def start(self) -> None:
        """Begin to query for the topic's id, on a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Query no more; does not wait for a query in progress."""
        self._stop.set()

    def _run(self) -> None:
        admin = AdminClient(self._properties)
        while not self._stop.is_set():
            self._tell(self._look(admin))
            self._stop.wait(ADMIN.topic_look)

    def _look(self, admin: AdminClient) -> bytes:
        try:
            answers: dict[str, Future[Any]] = admin.describe_topics(
                TopicCollection([self._topic]), request_timeout=ADMIN.topic_answer
            )
            found = answers[self._topic].result(2 * ADMIN.topic_answer).topic_id  # ``None`` from brokers without ids
        except (KafkaException, TimeoutError) as problem:
            _log.debug("the id of the topic %s is not known: %s", self._topic, problem)
            return b""
        return (
            b""
            if found is None
            else int(found.get_most_significant_bits()).to_bytes(ADMIN.topic_id_bytes, "big", signed=True)
        )
