"""Administration of topics: describes, creates and changes them through the brokers."""

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, yet not marked as re-exported
    AdminClient,
    AlterConfigOpType,
    ClusterMetadata,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

from consumer.adapters.kafka.broker_errors import (
    REMEDY_REFUSED,
    REMEDY_SILENT,
    REMEDY_UNREACHABLE,
    BrokerRefusedError,
    BrokerUnreachableError,
    NotLetInError,
)
from consumer.adapters.kafka.policy import ADMIN
from consumer.adapters.kafka.refusals import refusal, something_listens
from schemas.settings import KafkaSettings, SettingsError, TopicSettings

_Answer = TypeVar("_Answer")

BROKER_MAX_MESSAGE_BYTES: Final = 1_048_588
"""``message.max.bytes`` of a broker that nobody configured (Apache Kafka, broker configs)."""
UNCOMPRESSED: Final = "uncompressed"
"""``compression.type`` of the requests topic: the broker decompresses each batch when it is written, and refuses one
that is larger than ``max.message.bytes`` then. Otherwise a few kilobytes could expand to gigabytes in the service's
memory: librdkafka limits that for zstd and snappy, but not for gzip and lz4 (observed with 2.16)."""
COMPRESSION: Final = "compression.type"
TIMESTAMP_TYPE: Final = "message.timestamp.type"

_EMBEDDED: Final = "mockCluster"
"""Beginning of the cluster id of librdkafka's embedded broker, which does not return its configuration."""
_BROKER_CHOOSES: Final = -1


@dataclass(frozen=True, slots=True)
class TopicLimits:
    """Limits that a topic's configuration sets, as far as the service depends on them."""

    max_message_bytes: int
    retention_ms: int
    """-1: for ever."""
    compacted: bool
    compression: str = UNCOMPRESSED
    """``producer``: the broker keeps batches as compressed by the producer, however far they expand."""
    log_append_time: bool = False
    """Records have the time at which the broker appended them."""

    def entries(self) -> dict[str, str]:
        """Return the limits that can be changed, by the names of the broker's configuration."""
        return {
            "max.message.bytes": str(self.max_message_bytes),
            "retention.ms": str(self.retention_ms),
            COMPRESSION: self.compression,
        }


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """A topic as the brokers describe it: partitions, replicas and limits, where we may read them."""

    name: str
    partitions: int
    replication_factor: int
    limits: TopicLimits | None
    """``None``: the brokers do not tell."""


def names_of(topics: TopicSettings) -> tuple[str, str, str]:
    """Return the names of the topics of requests, results and dead letters."""
    return topics.requests, topics.results, topics.dead_letters


class TopicAdmin:
    """Describes, creates and changes topics; for one thread. Raises ``KafkaTroubleError``s with their remedies."""

    def __init__(self, kafka: KafkaSettings, *, reach_timeout: float | None = None) -> None:
        self._kafka = kafka
        self._reach_timeout = ADMIN.reach_timeout if reach_timeout is None else reach_timeout
        self._errors: list[KafkaError] = []
        self._admin = self._connect(self._errors)

    @property
    def client(self) -> AdminClient:
        return self._admin

    def _connect(self, errors: list[KafkaError]) -> AdminClient:
        def note(error: KafkaError) -> None:  # no method: in a cycle the client and its threads would outlive us
            if error.code() != KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001  the public name of the code
                errors.append(error)

        # one sentence of ours replaces librdkafka's own log lines
        quiet = {} if "debug" in self._kafka.properties else {"log_level": "0"}
        config: dict[str, Any] = {**quiet, **self._kafka.admin_properties(), "error_cb": note}
        try:
            return AdminClient(config)
        except KafkaException as error:
            raise SettingsError([f"RESYNC_KAFKA__PROPERTIES: {_text(error)}."]) from None

    def facts(self, names: Iterable[str]) -> dict[str, TopicFacts]:
        """Describe the topics that exist; raises what ``metadata`` raises."""
        metadata = self.metadata()
        known = metadata.topics
        found = [name for name in names if name in known and known[name].error is None]
        limits = {} if is_embedded(metadata) else self._limits(found)
        return {
            name: TopicFacts(
                name,
                partitions=len(known[name].partitions),
                replication_factor=max((len(p.replicas) for p in known[name].partitions.values()), default=0),
                limits=limits.get(name),
            )
            for name in found
        }

    def metadata(self) -> ClusterMetadata:
        """Describe the cluster. Asks about all topics: asking about one by its name could create it.

        Raises ``NotLetInError`` as soon as that shows, ``BrokerUnreachableError`` after ``reach_timeout``.
        """
        give_up_at = time.monotonic() + self._reach_timeout
        while True:
            left = give_up_at - time.monotonic()
            try:
                return self._admin.list_topics(timeout=max(0.1, min(ADMIN.attempt, left)))
            except KafkaException as error:
                self._admin.poll(0)
                if refused := refusal(self._errors):
                    raise NotLetInError(refused) from error
                if time.monotonic() >= give_up_at:
                    last = self._errors[-1].str() if self._errors else _text(error)
                    raise BrokerUnreachableError(
                        f"No broker of {self._kafka.bootstrap_servers} answered within {self._reach_timeout:g} s "
                        f"({last}).",
                        REMEDY_SILENT if something_listens(self._kafka.bootstrap_servers) else REMEDY_UNREACHABLE,
                    ) from error

    def _limits(self, names: list[str]) -> dict[str, TopicLimits]:
        if not names:
            return {}
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        limits = {}
        for resource, future in self._admin.describe_configs(resources, request_timeout=ADMIN.limits_timeout).items():
            try:
                limits[resource.name] = _limits_of(future.result())
            except KafkaException:  # not allowed to ask, or the broker does not know the question
                continue
        return limits

    def create(
        self, name: str, config: Mapping[str, str], *, partitions: int | None, replication_factor: int | None
    ) -> None:
        """Create a topic and wait until it is known; one that somebody else has just created is as good."""
        topic = NewTopic(
            name,
            num_partitions=partitions or ADMIN.partitions,
            replication_factor=replication_factor or _BROKER_CHOOSES,
            config=dict(config),
        )
        futures = self._admin.create_topics(
            [topic], operation_timeout=ADMIN.propagation, request_timeout=ADMIN.propagation
        )
        try:
            _answer(futures[name], f"create the topic {name}")
        except BrokerRefusedError as refusal:
            if not _already_exists(refusal):
                raise
        self._settle(name, lambda _: True)

    def _settle(self, name: str, settled: Callable[[TopicFacts], bool]) -> None:
        """Wait until the brokers show what they agreed to: the change spreads among them."""
        give_up_at = time.monotonic() + ADMIN.propagation
        while time.monotonic() < give_up_at:
            found = self.facts([name]).get(name)
            if found is not None and settled(found):
                return
            time.sleep(0.1)

    def add_partitions(self, name: str, total: int) -> None:
        futures = self._admin.create_partitions([NewPartitions(name, total)], request_timeout=ADMIN.propagation)
        _answer(futures[name], f"add partitions to {name}")
        self._settle(name, lambda found: found.partitions >= total)

    def configure(self, name: str, config: Mapping[str, str]) -> None:
        """Set these of ``TopicLimits.entries`` on a topic and keep everything else of its configuration."""
        entries = [
            ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET) for key, value in config.items()
        ]
        resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries)
        futures = self._admin.incremental_alter_configs([resource], request_timeout=ADMIN.propagation)
        _answer(futures[resource], f"configure the topic {name}")
        self._settle(name, lambda found: found.limits is None or config.items() <= found.limits.entries().items())


def is_embedded(metadata: ClusterMetadata) -> bool:
    """Return whether this is librdkafka's embedded broker, which knows neither limits nor rights."""
    return str(metadata.cluster_id).startswith(_EMBEDDED)


def _limits_of(config: Mapping[str, ConfigEntry]) -> TopicLimits:
    return TopicLimits(
        max_message_bytes=int(config["max.message.bytes"].value or BROKER_MAX_MESSAGE_BYTES),
        retention_ms=int(config["retention.ms"].value or -1),
        compacted="compact" in (config["cleanup.policy"].value or ""),
        compression=config[COMPRESSION].value or UNCOMPRESSED,
        log_append_time=TIMESTAMP_TYPE in config and config[TIMESTAMP_TYPE].value == "LogAppendTime",
    )


def _answer(future: "Future[_Answer]", deed: str) -> _Answer:
    try:
        return future.result()
    except KafkaException as error:
        if error.args[0].code() in {KafkaError._TIMED_OUT, KafkaError._TRANSPORT}:  # noqa: SLF001  public names of codes
            raise BrokerUnreachableError(f"The broker did not answer the request to {deed}.") from error
        raise BrokerRefusedError(f"The broker refused to {deed} ({_text(error)}).", REMEDY_REFUSED) from error


def _already_exists(refusal: BrokerRefusedError) -> bool:
    cause = refusal.__cause__
    return isinstance(cause, KafkaException) and cause.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS


def _text(error: KafkaException) -> str:
    first = error.args[0]
    return str(first.str() if isinstance(first, KafkaError) else first)
