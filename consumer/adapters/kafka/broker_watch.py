"""Watch for brokers that are all down, and for the first that is back: without records nothing else shows it."""

import time
from collections.abc import Callable

from confluent_kafka import Consumer, KafkaError, KafkaException

from consumer.adapters.kafka.policy import READING
from consumer.engine.events import BrokerTrouble, Event

UNREACHABLE = "No Kafka broker is reachable. Check the brokers and RESYNC_KAFKA__BOOTSTRAP_SERVERS."


class BrokerWatch:
    """Posts ``BrokerTrouble`` once all brokers are down, and again when one answers; for the owner thread."""

    def __init__(self, topic: str, post: Callable[[Event], None]) -> None:
        self._topic = topic
        self._post = post
        self._look_at: float | None = None
        """Monotonic time of the next look, in seconds; ``None``: as far as is known, a broker is up."""

    def on_error(self, error: KafkaError) -> None:
        """Take an error that concerns no partition (callback ``error_cb``); all others are librdkafka's to retry."""
        if error.code() == KafkaError._ALL_BROKERS_DOWN and self._look_at is None:  # noqa: SLF001 - librdkafka's own name
            self._look_at = time.monotonic()

    def look(self, consumer: Consumer) -> None:
        """Ask the brokers again and again once all were down, since the library does not report their return."""
        if self._look_at is None or time.monotonic() < self._look_at:
            return
        try:
            consumer.list_topics(self._topic, timeout=READING.look_timeout)
        except KafkaException:
            self._look_at = time.monotonic() + READING.look_interval
            self._post(BrokerTrouble(UNREACHABLE))
        else:
            self._look_at = None
            self._post(BrokerTrouble(None))
