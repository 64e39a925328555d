"""Properties that the service's consumer and producer are created with.

Three layers, the later ones win: our defaults, the operator's ``RESYNC_KAFKA__PROPERTIES``, and what the guarantees
depend on. Names and ranges are those of librdkafka's CONFIGURATION.md.
"""

import logging
import uuid
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import Consumer, KafkaException, Producer

from consumer.adapters.kafka.policy import CLIENTS
from schemas.settings import Delivery, GroupProtocol, Settings

DEFAULT_MESSAGE_BYTES: Final = 1_048_588
"""``max.message.bytes`` of a topic whose configuration cannot be read (Apache Kafka's default)."""


@dataclass(frozen=True, slots=True)
class TopicSizes:
    """``max.message.bytes`` of the three topics, in bytes, as the brokers report it or as the default."""

    requests: int = DEFAULT_MESSAGE_BYTES
    results: int = DEFAULT_MESSAGE_BYTES
    dead_letters: int = DEFAULT_MESSAGE_BYTES
    request_partitions: int = 1
    """Number of partitions of the requests topic."""


@dataclass(frozen=True, slots=True)
class Times:
    """Times of our clients that brokers limit, in milliseconds; ``None``: the group protocol has no such time."""

    session: int | None
    """``None``: the broker decides it (KIP-848)."""
    transaction: int


def consumer_properties(settings: Settings, sizes: TopicSizes | None = None) -> dict[str, Any]:
    """Return the properties of the service's consumer; without ``sizes``, those of topics with Kafka's defaults.

    A response holds the bytes of a fetch, or one larger batch. librdkafka does not decompress a batch of zstd or snappy
    that exceeds a response. A fetch has room for every partition: otherwise those at its end are not read while those
    at its beginning have a backlog.
    """
    sizes = sizes or TopicSizes()
    kafka = settings.kafka
    given = kafka.consumer_properties()
    session = given.get("session.timeout.ms", "")
    fetch = _number(given.get("fetch.max.bytes"), CLIENTS.fetch_bytes)
    largest = fetch + max(sizes.requests, settings.max_request_bytes)
    share = fetch // sizes.request_partitions
    properties: dict[str, Any] = {
        "client.id": "mirakl-resync",
        "fetch.wait.max.ms": 100,
        "fetch.queue.backoff.ms": 20,
        "fetch.max.bytes": fetch,
        "fetch.message.max.bytes": min(max(share, CLIENTS.partition_fetch_least), CLIENTS.partition_fetch_most),
        "receive.message.max.bytes": min(largest + CLIENTS.response_headroom_bytes, CLIENTS.receive_limit_bytes),
        "queued.max.messages.kbytes": 4 * 1024,
        "queued.min.messages": 5_000,
        "topic.metadata.refresh.interval.ms": 60_000,
        "max.poll.interval.ms": max(int(CLIENTS.poll_interval * 1000), _number(session, 0)),
        "logger": logging.getLogger("librdkafka"),
    }
    if kafka.group_protocol is GroupProtocol.CLASSIC:
        properties |= {
            "session.timeout.ms": int(CLIENTS.session * 1000),
            "heartbeat.interval.ms": int(CLIENTS.heartbeat * 1000),
            "partition.assignment.strategy": "cooperative-sticky",
        }
    properties |= given
    properties |= {
        "group.id": kafka.group_id,
        "group.protocol": kafka.group_protocol.value,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "isolation.level": "read_committed",
        "enable.partition.eof": True,
    }
    if kafka.group_instance_id is not None:
        properties["group.instance.id"] = kafka.group_instance_id
    return properties


def _number(given: str | None, default: int) -> int:
    """Return the number, or the default: anything else is left to librdkafka, which reports it."""
    usable = given and given.isascii() and given.isdecimal() and len(given) < CLIENTS.longest_number
    return int(given) if given and usable else default


def producer_properties(settings: Settings, sizes: TopicSizes | None = None) -> dict[str, Any]:
    """Return the properties of the service's producer, without its transactional id.

    ``sizes``: those of the topics, where they are known. The producer must accept the largest record that any of
    the topics accepts; otherwise a dead letter could never be written.
    """
    sizes = sizes or TopicSizes()
    properties: dict[str, Any] = {
        "client.id": "mirakl-resync",
        "linger.ms": 50,  # in a large transaction, batches fill; at its end a flush sends what is left at once
        "batch.num.messages": 10_000,
        "batch.size": min(CLIENTS.batch_bytes, sizes.results, sizes.dead_letters),
        "queue.buffering.max.messages": 200_000,
        "queue.buffering.max.kbytes": 512 * 1024,
        "retry.backoff.ms": 5,
        "logger": logging.getLogger("librdkafka"),
    }
    if settings.kafka.delivery is Delivery.EXACTLY_ONCE:
        properties["transaction.timeout.ms"] = int(CLIENTS.transaction * 1000)
    properties |= settings.kafka.producer_properties()
    properties |= {
        "enable.idempotence": True,
        "acks": "all",
        "message.max.bytes": max(1_000_000, sizes.results, sizes.dead_letters),
    }
    return properties


def transactional_id(settings: Settings) -> str:
    """Return the transactional id of this process; it begins with the group id.

    It is stable where the replica has an instance id: the next start then aborts what this one left open. Otherwise
    it is new at each start, and fencing between replicas is done by the group metadata.
    """
    return f"{settings.kafka.group_id}-{settings.kafka.group_instance_id or uuid.uuid4().hex}"


def refused_properties(settings: Settings) -> list[str]:
    """Return what librdkafka objects to in the operator's properties, one sentence each.

    Only librdkafka can tell: it parses the values itself. Clients are created without brokers and thrown away.
    """
    alone = {"bootstrap.servers": "", "log_level": 0}
    written = producer_properties(settings)
    if settings.kafka.delivery is Delivery.EXACTLY_ONCE:
        written["transactional.id"] = "none"
    mistakes = []
    for make, properties in ((Consumer, consumer_properties(settings)), (Producer, written)):
        try:
            make({**properties, **alone})
        except KafkaException as problem:
            mistakes.append(f"RESYNC_KAFKA__PROPERTIES: {problem.args[0].str().strip()}.")
    return list(dict.fromkeys(mistakes))


def broker_times(settings: Settings) -> Times:
    """Return the times of the service's clients that brokers limit."""
    classic = settings.kafka.group_protocol is GroupProtocol.CLASSIC
    return Times(
        session=int(consumer_properties(settings)["session.timeout.ms"]) if classic else None,
        transaction=int(producer_properties(settings).get("transaction.timeout.ms", 0)),
    )


def drain_seconds(settings: Settings) -> float:
    """Return the seconds that a revocation may take: within the poll interval and the session."""
    properties = consumer_properties(settings)
    session = float(properties.get("session.timeout.ms", CLIENTS.session * 1000)) / 1000
    poll = float(properties["max.poll.interval.ms"]) / 1000
    return min(CLIENTS.drain_share_of_poll_interval * poll, CLIENTS.drain_share_of_session * session)
