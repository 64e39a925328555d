"""The id of the requests topic, looked up again and again on a thread of its own.

A topic that was deleted and made anew has the same name, and offsets that mean other records: only its id tells. The
owner thread must not wait for this question, so it is told of the answers.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, Final

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

LOOK_SECONDS: Final = 5.0
"""Between two looks: as long may requests of a topic made anew be passed over before it is read from its start."""
ANSWER_SECONDS: Final = 2.0
"""For one look. The first one holds up the start; a broker without topic ids (the embedded one) never answers."""
ID_BYTES: Final = 8
"""Of the 16 random bytes of a topic id: enough to tell two topics of one name apart."""

_log = logging.getLogger(__name__)


class TopicWatch:
    """Tells the topic's id to ``tell``, on a thread of its own; empty where the brokers do not tell it."""

    def __init__(self, properties: Mapping[str, Any], topic: str, tell: Callable[[bytes], None]) -> None:
        self._properties = {**properties, "logger": logging.getLogger("librdkafka")}
        self._topic = topic
        self._tell = tell
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="topic-watch", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; does not wait for the look that is under way."""
        self._stop.set()

    def _run(self) -> None:
        admin = AdminClient(self._properties)
        while not self._stop.is_set():
            self._tell(self._look(admin))
            self._stop.wait(LOOK_SECONDS)

    def _look(self, admin: AdminClient) -> bytes:
        try:
            answers: dict[str, Future[Any]] = admin.describe_topics(
                TopicCollection([self._topic]), request_timeout=ANSWER_SECONDS
            )
            found = answers[self._topic].result(2 * ANSWER_SECONDS).topic_id  # ``None`` from brokers without ids
        except (KafkaException, TimeoutError) as problem:
            _log.debug("the id of the topic %s is not known: %s", self._topic, problem)
            return b""
        return b"" if found is None else int(found.get_most_significant_bits()).to_bytes(ID_BYTES, "big", signed=True)
