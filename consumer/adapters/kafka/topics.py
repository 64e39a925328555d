"""The topics: created and compared on request only, never by the running service.

::

    KafkaTroubleError
    ├── BrokerUnreachableError  no broker answers, or not us
    └── BrokerRefusedError      a broker answers, and refuses
        └── NotLetInError       credentials, certificates or protocol are wrong
"""

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

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

from consumer.adapters.finding import Finding, Level
from consumer.adapters.kafka.refusals import Refusal, refusal, something_listens
from schemas.contract import HEADROOM_BYTES
from schemas.errors import ExplainedError
from schemas.exit_codes import ExitCode
from schemas.settings import KafkaSettings, SettingsError, TopicSettings

_Answer = TypeVar("_Answer")

REACH_TIMEOUT_SECONDS = 10.0
"""A broker that has not answered by then is unreachable."""

ATTEMPT_SECONDS = 2.0
"""For one question to the brokers; a refusal is told before the next."""

LIMITS_TIMEOUT_SECONDS = 5.0
"""A broker that just gave its metadata answers this in milliseconds."""

_EMBEDDED = "mockCluster"
"""How the cluster id of librdkafka's embedded broker begins, which never answers for its limits."""

PROPAGATION_SECONDS = 10.0
"""A topic that was created is known to all brokers by then."""

BROKER_MAX_MESSAGE_BYTES = 1_048_588
"""``message.max.bytes`` of a broker that nobody configured (Apache Kafka, broker configs)."""

OFFSETS_RETENTION_DAYS = 7
"""``offsets.retention.minutes`` of a broker that nobody configured: then a group without members forgets."""

DEFAULT_PARTITIONS = 12
DEFAULT_RETENTION_DAYS = 3
RESULTS_RETENTION_DAYS = 7
DEAD_LETTERS_RETENTION_DAYS = 30
"""Long enough for people to look and to redrive."""

UNCOMPRESSED = "uncompressed"
"""``compression.type`` of the requests topic: the broker unpacks each batch when it is written, and refuses one that is
larger than ``max.message.bytes`` then. Otherwise a few kilobytes could unpack to gigabytes in the service's memory:
librdkafka bounds that for zstd and snappy, but not for gzip and lz4 (observed with 2.16)."""

_COMPRESSION = "compression.type"
_DAY_MS = 86_400_000
_BROKER_CHOOSES = -1

_REMEDY_UNREACHABLE = (
    "Start the broker, or correct RESYNC_KAFKA__BOOTSTRAP_SERVERS (for TLS and SASL: RESYNC_KAFKA__PROPERTIES)."
)
_REMEDY_SILENT = (
    "Something listens there and does not answer us: correct security.protocol and sasl.mechanisms in "
    "RESYNC_KAFKA__PROPERTIES, or look at the broker."
)

_REMEDY_REFUSED = "Correct what it objects to, or ask for the right (ACL)."


class KafkaTroubleError(ExplainedError):
    """The brokers did not do what was asked."""


class BrokerUnreachableError(KafkaTroubleError):
    """No broker answered in time."""

    exit_code = ExitCode.UNREACHABLE

    def __init__(self, problem: str, remedy: str = _REMEDY_UNREACHABLE) -> None:
        super().__init__(problem, remedy)


class BrokerRefusedError(KafkaTroubleError):
    """A broker answered, and refused."""

    exit_code = ExitCode.USAGE


class NotLetInError(BrokerRefusedError):
    """The brokers do not let us in: credentials, certificates or protocol are wrong."""

    def __init__(self, refused: Refusal) -> None:
        super().__init__(refused.problem, refused.remedy)


@dataclass(frozen=True, slots=True)
class TopicLimits:
    """What a topic's configuration allows."""

    max_message_bytes: int
    retention_ms: int
    """-1: for ever."""
    compacted: bool
    compression: str = UNCOMPRESSED
    """``producer``: the broker keeps what a producer compressed as it is, however much it unpacks to."""

    def entries(self) -> dict[str, str]:
        """Return what can be changed, as the broker's configuration names it."""
        return {
            "max.message.bytes": str(self.max_message_bytes),
            "retention.ms": str(self.retention_ms),
            _COMPRESSION: self.compression,
        }


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """A topic as the brokers describe it."""

    name: str
    partitions: int
    replication_factor: int
    limits: TopicLimits | None
    """``None``: the brokers do not tell us."""


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """What ``topics ensure`` was asked for; ``None``: leave what exists alone, take the default for what does not."""

    partitions: int | None = None
    replication_factor: int | None = None
    retention_days: int | None = None


@dataclass(frozen=True, slots=True)
class TopicReport:
    """What became of one topic."""

    topic: str
    outcome: str
    """``created``, ``changed`` or ``unchanged``."""
    details: tuple[str, ...]
    """What was done, or differs and was left alone; for people."""


class TopicAdmin:
    """Asks and tells the brokers about topics. Use it on one thread."""

    def __init__(self, kafka: KafkaSettings, *, reach_timeout: float | None = None) -> None:
        self._kafka = kafka
        self._reach_timeout = REACH_TIMEOUT_SECONDS if reach_timeout is None else reach_timeout
        self._errors: list[KafkaError] = []
        self._admin = self._connect()

    @property
    def client(self) -> AdminClient:
        """The binding's client, for questions that concern no topic."""
        return self._admin

    def _connect(self) -> AdminClient:
        # librdkafka's own log lines would say in many words what our one sentence says
        quiet = {} if "debug" in self._kafka.properties else {"log_level": "0"}
        config: dict[str, Any] = {**quiet, **self._kafka.admin_properties(), "error_cb": self._note}
        try:
            return AdminClient(config)
        except KafkaException as error:
            raise SettingsError([f"RESYNC_KAFKA__PROPERTIES: {_text(error)}."]) from None

    def _note(self, error: KafkaError) -> None:
        if error.code() != KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001  the public name of the code
            self._errors.append(error)

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
                return self._admin.list_topics(timeout=max(0.1, min(ATTEMPT_SECONDS, left)))
            except KafkaException as error:
                self._admin.poll(0)
                if refused := refusal(self._errors):
                    raise NotLetInError(refused) from error
                if time.monotonic() >= give_up_at:
                    last = self._errors[-1].str() if self._errors else _text(error)
                    raise BrokerUnreachableError(
                        f"No broker of {self._kafka.bootstrap_servers} answered within {self._reach_timeout:g} s "
                        f"({last}).",
                        _REMEDY_SILENT if something_listens(self._kafka.bootstrap_servers) else _REMEDY_UNREACHABLE,
                    ) from error

    def _limits(self, names: list[str]) -> dict[str, TopicLimits]:
        if not names:
            return {}
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        limits = {}
        for resource, future in self._admin.describe_configs(resources, request_timeout=LIMITS_TIMEOUT_SECONDS).items():
            try:
                limits[resource.name] = _limits_of(future.result())
            except KafkaException:  # not allowed to ask, or the broker does not know the question
                continue
        return limits

    def create(self, name: str, plan: TopicPlan, config: Mapping[str, str]) -> None:
        """Create a topic and wait until it is known; one that somebody else has just created will do."""
        topic = NewTopic(
            name,
            num_partitions=plan.partitions or DEFAULT_PARTITIONS,
            replication_factor=plan.replication_factor or _BROKER_CHOOSES,
            config=dict(config),
        )
        futures = self._admin.create_topics(
            [topic], operation_timeout=PROPAGATION_SECONDS, request_timeout=PROPAGATION_SECONDS
        )
        try:
            _answer(futures[name], f"create the topic {name}")
        except BrokerRefusedError as refusal:
            if not _already_exists(refusal):
                raise
        self._settle(name, lambda _: True)

    def _settle(self, name: str, settled: Callable[[TopicFacts], bool]) -> None:
        """Wait until the brokers show what they agreed to: they tell each other in their own time."""
        give_up_at = time.monotonic() + PROPAGATION_SECONDS
        while time.monotonic() < give_up_at:
            found = self.facts([name]).get(name)
            if found is not None and settled(found):
                return
            time.sleep(0.1)

    def add_partitions(self, name: str, total: int) -> None:
        futures = self._admin.create_partitions([NewPartitions(name, total)], request_timeout=PROPAGATION_SECONDS)
        _answer(futures[name], f"add partitions to {name}")
        self._settle(name, lambda found: found.partitions >= total)

    def configure(self, name: str, config: Mapping[str, str]) -> None:
        """Set these of ``TopicLimits.entries`` and leave all others alone."""
        entries = [
            ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET) for key, value in config.items()
        ]
        resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries)
        futures = self._admin.incremental_alter_configs([resource], request_timeout=PROPAGATION_SECONDS)
        _answer(futures[resource], f"configure the topic {name}")
        self._settle(name, lambda found: found.limits is None or config.items() <= found.limits.entries().items())


def is_embedded(metadata: ClusterMetadata) -> bool:
    """Tell whether this is librdkafka's embedded broker, which knows neither limits nor rights."""
    return str(metadata.cluster_id).startswith(_EMBEDDED)


def _limits_of(config: Mapping[str, ConfigEntry]) -> TopicLimits:
    return TopicLimits(
        max_message_bytes=int(config["max.message.bytes"].value or BROKER_MAX_MESSAGE_BYTES),
        retention_ms=int(config["retention.ms"].value or -1),
        compacted="compact" in (config["cleanup.policy"].value or ""),
        compression=config[_COMPRESSION].value or UNCOMPRESSED,
    )


def _answer(future: "Future[_Answer]", deed: str) -> _Answer:
    try:
        return future.result()
    except KafkaException as error:
        if error.args[0].code() in {KafkaError._TIMED_OUT, KafkaError._TRANSPORT}:  # noqa: SLF001  public names of codes
            raise BrokerUnreachableError(f"The broker did not answer the request to {deed}.") from error
        raise BrokerRefusedError(f"The broker refused to {deed} ({_text(error)}).", _REMEDY_REFUSED) from error


def _already_exists(refusal: BrokerRefusedError) -> bool:
    cause = refusal.__cause__
    return isinstance(cause, KafkaException) and cause.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS


def _text(error: KafkaException) -> str:
    first = error.args[0]
    return str(first.str() if isinstance(first, KafkaError) else first)


def ensure_topics(admin: TopicAdmin, topics: TopicSettings, plan: TopicPlan) -> list[TopicReport]:
    """Bring the three topics about; what exists is changed only where asked for, or where messages would not fit."""
    keep = plan.retention_days or DEFAULT_RETENTION_DAYS
    requests = _ensure(admin, plan, _Wanted(topics.requests, keep))
    facts = admin.facts([topics.requests])[topics.requests]
    room = (facts.limits.max_message_bytes if facts.limits else BROKER_MAX_MESSAGE_BYTES) + HEADROOM_BYTES
    return [
        requests,
        _ensure(admin, plan, _Wanted(topics.results, max(keep, RESULTS_RETENTION_DAYS), room)),
        _ensure(admin, plan, _Wanted(topics.dead_letters, max(keep, DEAD_LETTERS_RETENTION_DAYS), room)),
    ]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One topic as it should be; requests (without ``room``) keep exactly that long, the others at least."""

    name: str
    retention_days: int
    room: int | None = None

    @property
    def retention_ms(self) -> int:
        return self.retention_days * _DAY_MS

    def config(self) -> dict[str, str]:
        config = {"cleanup.policy": "delete", "retention.ms": str(self.retention_ms)}
        return config | ({_COMPRESSION: UNCOMPRESSED} if self.room is None else {"max.message.bytes": str(self.room)})

    def amendments(self, limits: TopicLimits, *, retention_asked: bool) -> dict[str, str]:
        """Return the entries of an existing topic's configuration to be changed."""
        amendments = {}
        if self.room is not None and limits.max_message_bytes < self.room:
            amendments["max.message.bytes"] = str(self.room)
        if self.room is None and limits.compression != UNCOMPRESSED:
            amendments[_COMPRESSION] = UNCOMPRESSED
        if retention_asked and self._keeps_otherwise(limits.retention_ms):
            amendments["retention.ms"] = str(self.retention_ms)
        return amendments

    def _keeps_otherwise(self, retention_ms: int) -> bool:
        if self.room is None:
            return retention_ms != self.retention_ms
        return 0 <= retention_ms < self.retention_ms


def _ensure(admin: TopicAdmin, plan: TopicPlan, wanted: _Wanted) -> TopicReport:
    found = admin.facts([wanted.name]).get(wanted.name)
    if found is None:
        admin.create(wanted.name, plan, wanted.config())
        return TopicReport(wanted.name, "created", (f"kept {wanted.retention_days} days",))
    done = _amend(admin, wanted, found, plan)
    if plan.partitions is not None and found.partitions < plan.partitions:
        admin.add_partitions(wanted.name, plan.partitions)
        done.append(f"partitions raised from {found.partitions} to {plan.partitions}")
    return TopicReport(wanted.name, "changed" if done else "unchanged", (*done, *_left_alone(found, plan)))


def _amend(admin: TopicAdmin, wanted: _Wanted, found: TopicFacts, plan: TopicPlan) -> list[str]:
    if found.limits is None:
        return []
    amendments = wanted.amendments(found.limits, retention_asked=plan.retention_days is not None)
    if amendments:
        admin.configure(wanted.name, amendments)
    before = found.limits.entries()
    return [f"{key} changed from {before[key]} to {value}" for key, value in amendments.items()]


def _left_alone(found: TopicFacts, plan: TopicPlan) -> list[str]:
    """Differences that nothing can be done about from here."""
    left = []
    if found.limits is not None and found.limits.compacted:
        left.append("is compacted: set its cleanup.policy to delete with the broker's own tools")
    if plan.partitions is not None and found.partitions > plan.partitions:
        left.append(f"has {found.partitions} partitions, and a topic cannot lose any")
    if plan.replication_factor is not None and found.replication_factor != plan.replication_factor:
        left.append(
            f"has replication factor {found.replication_factor}: reassign its replicas with the broker's own tools"
        )
    return left


def check_topics(facts: Mapping[str, TopicFacts], topics: TopicSettings) -> list[Finding]:
    """Judge what ``TopicAdmin.facts`` found of the three topics; a missing one fails, all else is a risk."""
    findings = [
        finding
        for name in names_of(topics)
        for finding in _check_topic(
            name,
            facts.get(name),
            "READ" if name == topics.requests else "WRITE",
            dead_letters=name == topics.dead_letters,
        )
    ]
    requests = facts.get(topics.requests)
    if requests is not None and requests.limits is not None:
        findings += _check_requests(requests.name, requests.limits)
        room = requests.limits.max_message_bytes + HEADROOM_BYTES
        followers = [facts[name] for name in (topics.results, topics.dead_letters) if name in facts]
        findings += [finding for follower in followers for finding in _check_room(follower, room)]
    return findings


def names_of(topics: TopicSettings) -> tuple[str, str, str]:
    return topics.requests, topics.results, topics.dead_letters


def _check_topic(name: str, facts: TopicFacts | None, right: str, *, dead_letters: bool) -> list[Finding]:
    subject = f"topic {name}"
    if facts is None:
        remedy = (
            "Create it with `mirakl-resync-consumer topics ensure`, correct RESYNC_TOPICS__*, or grant "
            f"{right} on the topic to this user."
        )
        return [Finding(Level.FAIL, subject, "It does not exist, or we may not see it.", remedy)]
    findings = [Finding(Level.OK, subject, f"{facts.partitions} partitions, {facts.replication_factor} replicas.")]
    if facts.limits is None:
        problem = "Its configuration cannot be read, so its retention and its largest message are not checked."
        remedy = "Allow this user to describe the topic's configuration (an embedded broker, as in the demo, has none)."
        findings.append(Finding(Level.WARN, subject, problem, remedy))
    elif facts.limits.compacted and dead_letters:
        problem = "It is compacted, so it refuses dead letters without a key: they, and their partitions, would wait."
        findings.append(Finding(Level.FAIL, subject, problem, "Set its cleanup.policy to delete."))
    elif facts.limits.compacted:
        remedy = "Set its cleanup.policy to delete."
        findings.append(Finding(Level.WARN, subject, "It is compacted: records with the same key get lost.", remedy))
    return findings


def _check_requests(name: str, limits: TopicLimits) -> list[Finding]:
    findings = []
    if limits.compression != UNCOMPRESSED:
        problem = f"Its {_COMPRESSION} is {limits.compression}: a few kilobytes may unpack to gigabytes in our memory."
        remedy = f"Set it to {UNCOMPRESSED} with `mirakl-resync-consumer topics ensure`."
        findings.append(Finding(Level.WARN, f"topic {name}", problem, remedy))
    if 0 <= limits.retention_ms <= OFFSETS_RETENTION_DAYS * _DAY_MS:
        return findings
    return [
        *findings,
        Finding(
            Level.WARN,
            f"topic {name}",
            f"It keeps requests longer than {OFFSETS_RETENTION_DAYS} days, after which a group without members "
            "forgets its offsets: requests would be answered again.",
            "Shorten it with `mirakl-resync-consumer topics ensure --retention-days 3`, "
            "or raise the broker's offsets.retention.minutes beyond it.",
        ),
    ]


def _check_room(follower: TopicFacts, room: int) -> list[Finding]:
    if follower.limits is None or follower.limits.max_message_bytes >= room:
        return []
    return [
        Finding(
            Level.WARN,
            f"topic {follower.name}",
            f"Its max.message.bytes is {follower.limits.max_message_bytes}: too small for the answer "
            "to the largest request.",
            f"Raise it to {room} with `mirakl-resync-consumer topics ensure`.",
        )
    ]
