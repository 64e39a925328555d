"""The brokers' clock, as far as a client can see it.

No request of Kafka's protocol in librdkafka returns a broker's time. But the records of a topic with
``message.timestamp.type=LogAppendTime`` have times of its brokers, and none of these can lie in the future.
"""

from collections.abc import Iterable

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, yet not marked as re-exported
    AdminClient,
    OffsetSpec,
)

from consumer.adapters.clocks import ClockReading
from consumer.adapters.kafka.policy import ADMIN
from consumer.adapters.kafka.topic_admin import TopicFacts


def brokers_clock(admin: AdminClient, topics: Iterable[TopicFacts], now: float) -> ClockReading | None:
    """Return by how much the brokers' clock is ahead of ours at least; ``None``: nothing shows that it is.

    ``now``: seconds since the epoch, read before the call.
    """
    partitions = [
        TopicPartition(each.name, number)
        for each in topics
        if each.limits is not None and each.limits.log_append_time
        for number in range(each.partitions)
    ]
    if not partitions:
        return None
    newest = max(_newest(admin, partitions), default=0) / 1000
    return ClockReading("the brokers", newest - now) if newest > now else None


def _newest(admin: AdminClient, partitions: list[TopicPartition]) -> Iterable[int]:
    """Return the newest time of each partition, in milliseconds since the epoch; -1: it is empty."""
    newest = OffsetSpec.max_timestamp()  # type: ignore[no-untyped-call]
    specs = dict.fromkeys(partitions, newest)
    for future in admin.list_offsets(specs, request_timeout=ADMIN.clock_answer).values():
        try:
            yield future.result().timestamp
        except KafkaException:  # hidden from this user, or a broker that does not know the question
            continue
