# ruff: noqa: SLF001  librdkafka's local error codes begin with an underscore
"""The tools' connection to the brokers: configuration, a first answer within a limit, and errors with remedies."""

import logging
import socket
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, ClusterMetadata, TopicMetadata  # type: ignore[attr-defined]  # public, yet not marked

from producer_tools.errors import (
    MisconfiguredError,
    MissingRightError,
    MissingTopicError,
    ResyncToolError,
    UnreachableError,
)
from producer_tools.policy import TOOLS
from schemas.explanation import Explanation
from schemas.rights import Right, missing_right
from schemas.settings import KafkaSettings

kafka_log = logging.getLogger("producer_tools.kafka")
"""The log of librdkafka's own lines, instead of stderr."""

logging.getLogger("producer_tools").addHandler(logging.NullHandler())

_TRANSIENT = {
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.KAFKA_STORAGE_ERROR,
}
"""Errors of a partition that is new or moves; ``KafkaError.retriable()`` is false for all of them."""
PARTITION_EOF: int = KafkaError._PARTITION_EOF
UNCONFIRMED = {KafkaError._MSG_TIMED_OUT, KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT}

_NETWORK = {
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TIMED_OUT,
    KafkaError._RESOLVE,
    KafkaError._SSL,
}
_CREDENTIALS = {KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED}
_RIGHTS = {KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED}
_NO_TOPIC = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION}
_CONFIGURATION = {
    KafkaError._INVALID_ARG,
    KafkaError._UNSUPPORTED_FEATURE,
    KafkaError.UNSUPPORTED_SASL_MECHANISM,
}

Answer = TypeVar("Answer")


class Connection:
    """The settings of the brokers, and the last error that librdkafka reported of them."""

    def __init__(self, settings: KafkaSettings, log: logging.Logger = kafka_log) -> None:
        """Check that brokers are configured; connects to nothing yet.

        ``log`` gets librdkafka's own lines. Raises ``MisconfiguredError``.
        """
        if not settings.bootstrap_servers:
            raise MisconfiguredError("RESYNC_KAFKA__BOOTSTRAP_SERVERS is not set.", "Name the brokers as host:port.")
        self._settings = settings
        self._log = log
        self._trouble: KafkaError | None = None
        self.all_down_at = 0.0
        """Monotonic time of the last report that a handle lost all brokers, in seconds; 0: never."""

    def producer(self, max_message_bytes: int, defaults: Mapping[str, object] | None = None) -> Producer:
        """Make an idempotent producer, which writes each record once although it may send it several times.

        ``defaults`` are librdkafka properties that the operator's own override.
        """
        return self._made(
            Producer,
            {"delivery.timeout.ms": TOOLS.delivery_milliseconds, **(defaults or {})}
            | self._settings.producer_properties()
            | {
                "enable.idempotence": True,
                "acks": "all",
                # Where Java producers put the same key, so that a client specification keeps its partition.
                "partitioner": self._settings.properties.get("partitioner", "murmur2_random"),
                "message.max.bytes": max_message_bytes,
            },
        )

    def admin(self) -> AdminClient:
        """Make a handle for questions about topics, which needs no rights beyond describing them."""
        return self._made(AdminClient, self._settings.admin_properties())

    def consumer(self, *, read_committed: bool = True, defaults: Mapping[str, object] | None = None) -> Consumer:
        """Make a consumer that joins no group and commits nothing; the group id is a formality of the library.

        ``defaults`` are librdkafka properties that the operator's own override.
        """
        return self._made(
            Consumer,
            {
                "fetch.wait.max.ms": TOOLS.end_seen_milliseconds,
                "fetch.message.max.bytes": TOOLS.partition_fetch_bytes,
                "topic.metadata.refresh.interval.ms": TOOLS.refresh_milliseconds,
                **(defaults or {}),
            }
            | self._settings.consumer_properties()
            | {
                "group.id": "mirakl-resync-tools",
                "isolation.level": "read_committed" if read_committed else "read_uncommitted",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",  # what expired while we read is gone for everybody
            },
        )

    def partitions(self, handle: Producer | Consumer | AdminClient, topic: str, right: Right = Right.READ) -> list[int]:
        """Return the partitions of ``topic``; ``right``: what it is wanted for, named where Kafka refuses the topic.

        Raises ``UnreachableError`` if no broker answers within ``connect_seconds``, and ``MisconfiguredError`` if
        the topic is missing or the credentials do not suffice.
        """
        self._trouble = None
        unknown_until = time.monotonic() + TOOLS.unknown_topic_seconds
        deadline = time.monotonic() + TOOLS.connect_seconds
        while True:
            metadata = self.ask(
                lambda: handle.list_topics(topic, timeout=TOOLS.attempt_seconds), handle, topic, deadline
            )
            found = metadata.topics[topic]
            if found.error is None and found.partitions:
                self._reach_a_leader(found, metadata, deadline)
                return sorted(found.partitions)
            code = found.error.code() if found.error else None
            give_up = unknown_until if code in _NO_TOPIC else deadline
            if time.monotonic() > give_up or code == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                raise self.explain(found.error, topic, right)
            time.sleep(TOOLS.retry_seconds)

    def _reach_a_leader(self, topic: TopicMetadata, metadata: ClusterMetadata, deadline: float) -> None:
        """Connect to a leader at its advertised address: records are read and written there only.

        Raises ``UnreachableError`` if none of them answers.
        """
        leaders = {partition.leader for partition in topic.partitions.values()}
        addresses = [(each.host, each.port) for id_, each in metadata.brokers.items() if id_ in leaders]
        problem: OSError | None = None
        while addresses:
            for address in addresses:
                try:
                    socket.create_connection(address, TOOLS.attempt_seconds).close()
                except OSError as error:
                    problem = error
                else:
                    return
            if time.monotonic() > deadline:
                where = ", ".join(f"{host}:{port}" for host, port in addresses)
                raise UnreachableError(
                    f"Kafka at {self._settings.bootstrap_servers} answers, but the address that it advertises does "
                    f"not: {where} ({problem}).",
                    "Correct advertised.listeners of the brokers, or make that address reachable.",
                )
            time.sleep(TOOLS.retry_seconds)

    def ask(
        self, question: Callable[[], Answer], handle: Producer | Consumer | AdminClient, topic: str, deadline: float
    ) -> Answer:
        """Repeat a short blocking question about ``topic`` until it is answered or the ``deadline`` is over."""
        while True:
            try:
                return question()
            except KafkaException as exception:
                error: KafkaError = exception.args[0]
                handle.poll(0)  # collects what was reported meanwhile
                refused = self._trouble is not None and self._trouble.code() in _CREDENTIALS
                if refused or time.monotonic() > deadline or not may_pass(error):
                    raise self.explain(error, topic) from exception
                time.sleep(TOOLS.retry_seconds)

    def explain(self, error: KafkaError | None, topic: str | None = None, right: Right = Right.READ) -> ResyncToolError:
        """Return the error for people that a librdkafka error means, with its remedy.

        ``right``: what was wanted of the topic. Prefers what the client reported last over a mere time-out: refused
        credentials say more.
        """
        trouble = (
            error if self._trouble is None or (error is not None and error.code() not in _NETWORK) else self._trouble
        )
        code = trouble.code() if trouble else None
        said = " ".join(trouble.str().split()) if trouble else "no leader"
        if code in _CREDENTIALS:
            return MisconfiguredError(
                f"Kafka refuses our credentials ({said}).", "Check sasl.* and ssl.* in RESYNC_KAFKA__PROPERTIES."
            )
        if code in _RIGHTS:
            return MissingRightError(*_without_right(code, topic or "the topic", right))
        if code in _NO_TOPIC:
            return MissingTopicError(
                f"There is no topic {topic}.",
                "Create it with `mirakl-resync-consumer topics ensure`, or correct the names in "
                "RESYNC_TOPICS__REQUESTS, __RESULTS and __DEAD_LETTERS.",
            )
        if code in _CONFIGURATION:
            return MisconfiguredError(
                f"Kafka cannot be used with these settings ({said}).", "Correct RESYNC_KAFKA__PROPERTIES."
            )
        if trouble and not may_pass(trouble):
            return ResyncToolError(f"Kafka refuses ({said}).", "See the log of the brokers.")
        return UnreachableError(
            f"Cannot reach Kafka at {self._settings.bootstrap_servers} ({said}).",
            "Check that the brokers run, RESYNC_KAFKA__BOOTSTRAP_SERVERS, and TLS in RESYNC_KAFKA__PROPERTIES.",
        )

    def _made(self, kind: Callable[..., Answer], properties: Mapping[str, object]) -> Answer:
        own = {
            "log_level": 3,  # errors: what librdkafka tells while it is taken down passes by the logger, to stderr
            "allow.auto.create.topics": False,
            "client.id": "mirakl-resync",
            "error_cb": self._note,
        }
        try:
            return kind(own | dict(properties), logger=self._log)
        except KafkaException as exception:
            raise self.explain(exception.args[0]) from exception

    def _note(self, error: KafkaError) -> None:
        """Keep the most informative error: "all brokers down" follows each of them and explains nothing."""
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self.all_down_at = time.monotonic()
        if self._trouble is None or error.code() != KafkaError._ALL_BROKERS_DOWN:
            self._trouble = error


def _without_right(code: int, topic: str, right: Right) -> Explanation:
    if code == KafkaError.TOPIC_AUTHORIZATION_FAILED:
        return missing_right(right, topic)
    problem, remedy = missing_right(Right.WRITE, topic)  # no id is given to an idempotent producer
    return Explanation(problem, f"{remedy} On brokers before 2.8 it also needs IDEMPOTENT_WRITE on the cluster.")


def may_pass(error: KafkaError) -> bool:
    """Whether the same question may be answered later: a silence, or a partition that is new or moves."""
    return error.retriable() or error.code() in _NETWORK | _TRANSIENT
