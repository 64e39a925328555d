"""The composition root: settings to adapters to engine, and the life of the process.

The one file that knows every name. ``run`` checks what a service needs in the order in which trouble is best told,
then lives until it is told to stop. Nothing is created or migrated here.
"""

import asyncio
import logging
import os
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, NoReturn

import confluent_kafka
import uvloop
from confluent_kafka import Consumer, KafkaException, Producer

from consumer.adapters.finding import Level
from consumer.adapters.kafka.publications import Publications, Topics
from consumer.adapters.kafka.sink import BATCH_BYTES, AtLeastOnceSink, Finished, TransactionalSink
from consumer.adapters.kafka.source import KafkaSource, OwnerThreadError
from consumer.adapters.kafka.topic_watch import TopicWatch
from consumer.adapters.kafka.topics import (
    BrokerUnreachableError,
    KafkaTroubleError,
    TopicAdmin,
    TopicFacts,
    check_topics,
    is_embedded,
    names_of,
)
from consumer.adapters.kafka.trial import Times, check_addresses, check_rights, try_addresses
from consumer.adapters.mirakl.client import Cm21
from consumer.adapters.observability.health import AdminServer, liveness
from consumer.adapters.observability.logs import Logs
from consumer.adapters.observability.metrics import Metrics, TransactionKind
from consumer.adapters.observability.outcome_log import OutcomeLog
from consumer.adapters.process.memory import collect_rarely, share_one_heap
from consumer.adapters.process.signals import StopSignals
from consumer.adapters.process.watchdog import Heartbeat, Watchdog
from consumer.adapters.request_reader import RequestReader, string_encodings
from consumer.adapters.schema_registry import RegistrySchemas
from consumer.adapters.stores import DirectoryReader, Encryption, StoreTrouble, check_schema, create_engine
from consumer.domain.calls import CallFailure, CallOutcome
from consumer.domain.model import ClientSpecification, Directory
from consumer.domain.retry import Backoff
from consumer.engine.commands import StartCall
from consumer.engine.core import Core
from consumer.engine.driver import Driver
from consumer.engine.events import StopRequested, TransactionResult
from consumer.engine.policy import Limits
from consumer.engine.ports import SourceTrouble
from schemas.settings import Delivery, GroupProtocol, Settings, SettingsError

CLOSING_SECONDS: Final = 3.0
"""Of the shutdown time: for what comes after the last turn of the loop."""
LEAVING_SECONDS: Final = 2.0
"""Of these: for leaving the group and for the end of the transaction that is out."""
DRAIN_SHARE_OF_POLL_INTERVAL: Final = 0.2
DRAIN_SHARE_OF_SESSION: Final = 0.8
"""A revocation may take less than a quarter of the poll interval and less than the session."""
SESSION_SECONDS: Final = 10.0
"""Classic protocol: how long a dead replica's partitions wait for another one."""
POLL_INTERVAL_SECONDS: Final = 45.0
"""The owner thread polls every few milliseconds, and never stands for longer than a revocation. With the classic
protocol this is also how long a rebalance waits for members that do not come back; brokers that were restarted have
been seen to keep those whose sessions had ended."""
TRANSACTION_SECONDS: Final = 8.0
"""Below the session: a dead replica's open transaction holds its successor and all subscribers up."""
DEAD_LETTER_OWN_BYTES: Final = 8 * 1024
"""Room for the headers that a dead letter gets from us."""
LONGEST_NUMBER: Final = 18
"""Digits of a property's value: what is longer is beyond librdkafka's ranges."""
FETCH_BYTES: Final = 4 << 20
"""Of one fetch response, all partitions together: a tenth of a second's work at full speed."""
PARTITION_FETCH_BYTES: Final = 64 << 10
"""Of one partition in one fetch response, or one batch where that is larger. All of it is unpacked at once, so this
bounds what compressed batches can swell to together."""
RECEIVE_MOST_BYTES: Final = 2**31 - 1
"""What librdkafka takes."""
RESPONSE_HEADROOM_BYTES: Final = 64 << 10
"""What a fetch response holds beside its batches."""
DEFAULT_MESSAGE_BYTES: Final = 1_048_588
"""A topic's ``max.message.bytes`` where nobody says (Apache Kafka's default)."""
OWNER_LIMIT_SECONDS: Final = 60.0
CORE_LIMIT_SECONDS: Final = 30.0
PRODUCER_LIMIT_SECONDS: Final = 120.0
LONG_PAUSE_SECONDS: Final = 30.0
"""``Retry-After`` from which on the log says so: longer than any pause of our own between two probes."""
_TRANSACTION_KINDS: Final[dict[TransactionResult, TransactionKind]] = {
    TransactionResult.COMMITTED: "commit",
    TransactionResult.ABORTED: "abort",
    TransactionResult.UNKNOWN: "unknown",
}
EXIT_STOPPED, EXIT_BROKEN = 0, 1

_log = logging.getLogger(__name__)


def run(settings: Settings, signals: StopSignals) -> NoReturn:
    """Serve until told to stop, then end the process.

    Raises ``SettingsError``, ``StoreTrouble``, ``KafkaTroubleError`` or ``AdminAddressError``, whose texts say what to
    do, where something is wrong or missing that only an operator can mend.
    """
    share_one_heap()
    logs = Logs(settings.log)
    try:
        code = _Service(settings, logs, signals).serve()
    finally:
        logs.close()
    # the interpreter's own end, and that of the C library, wait for threads that stand in librdkafka, in the database's
    # driver or before a name server, and stop the watchdog, which would not
    os._exit(code)


@dataclass(frozen=True, slots=True)
class _TopicSizes:
    """``max.message.bytes`` of the topics."""

    results: int
    dead_letters: int
    requests: int = DEFAULT_MESSAGE_BYTES
    """Of the topic that is read."""


class _Service:
    """One running service."""

    def __init__(self, settings: Settings, logs: Logs, signals: StopSignals) -> None:
        self._settings = settings
        self._signals = signals
        self._told_to_stop_at: float | None = None
        if mistakes := refused_properties(settings):
            raise SettingsError(mistakes)
        engine = create_engine(settings.database_url.get_secret_value())
        check_schema(engine)
        encryption = Encryption([key.get_secret_value() for key in settings.encryption_keys])
        directory = _DirectorySource(DirectoryReader(engine, encryption, settings.insecure_hosts))
        sizes = _topic_sizes(settings)
        reader = RequestReader(registry=bool(settings.schema_registry.url), max_bytes=settings.max_request_bytes)
        self._schemas = RegistrySchemas(settings.schema_registry, reader)
        topics = Topics(settings.topics.requests, settings.topics.results, settings.topics.dead_letters)
        publications = Publications(
            topics,
            settings.kafka.group_id,
            self._schemas.result_encoder(settings.topics.results),
            sizes.dead_letters - DEAD_LETTER_OWN_BYTES,
        )
        limits = Limits(request_deadline=settings.request_deadline, max_products=settings.max_products_per_request)
        core = Core(reader, limits, salt=uuid.uuid4().hex, encodings=string_encodings)
        self._cm21 = Cm21(settings.call_timeout)
        self._driver = Driver(core, self._cm21, directory, self._schemas, self._observe_call)
        self._metrics = Metrics(lambda: self._driver.status, librdkafka=confluent_kafka.libversion()[0])
        self._source = KafkaSource(
            _consumer_properties(settings, sizes.requests),
            settings.topics.requests,
            self._driver.post,
            lambda: self._driver.fetch_budget,
            _drain_seconds(settings),
            topic_id=None,
        )
        self._topic_watch = TopicWatch(
            settings.kafka.admin_properties(), settings.topics.requests, self._source.topic_is
        )
        self._sink = self._make_sink(publications, sizes)
        self._driver.connect(self._source, self._sink)
        self._outcome_log = OutcomeLog(logs.requests, settings.topics.requests)
        self._heartbeats = self._make_heartbeats()
        self._admin = AdminServer(
            settings.admin.host,
            settings.admin.port,
            lambda: liveness(self._heartbeats[:2], time.monotonic()),
            lambda: self._driver.status,
            self._metrics,
        )

    # -- life ------------------------------------------------------------------------------------------

    def serve(self) -> int:
        """Start everything, turn the loop, let go of Kafka; gives the exit code."""
        self._admin.start()
        _log.info("health and metrics on port %d", self._admin.port)
        collect_rarely()
        Watchdog(self._heartbeats).start()
        self._sink.start()
        sound = self._turn()
        self._let_go()
        return EXIT_STOPPED if self._failures_told() and sound else EXIT_BROKEN

    def _turn(self) -> bool:
        """Turn the loop until the end; ``False`` if it broke.

        The loop is not closed: that would wait for a name server that stands still.
        """
        try:
            asyncio.Runner(loop_factory=uvloop.new_event_loop).run(self._live())
        except OwnerThreadError:
            return False  # told of with the other failures of the threads, without a traceback
        except BaseException:  # noqa: BLE001 - the process's exit: nothing is decided any more
            _log.critical("a defect ends the service", exc_info=True)
            return False
        return True

    async def _live(self) -> None:
        self._signals.on_first(partial(self._on_stop_signal, asyncio.get_running_loop()))
        self._source.start()
        self._topic_watch.start()
        await self._driver.run()

    def _on_stop_signal(self, loop: asyncio.AbstractEventLoop) -> None:
        self._told_to_stop_at = time.monotonic()
        loop.call_soon_threadsafe(self._begin_stop)

    def _begin_stop(self) -> None:
        _log.info("stopping: no more requests are taken in")
        self._driver.post(StopRequested())
        grace = max(0.0, self._settings.shutdown_timeout - CLOSING_SECONDS)
        asyncio.get_running_loop().call_later(grace, self._driver.halt)

    def _let_go(self) -> None:
        """Leave the group, so that others go on at once; neither thread is waited for without end."""
        self._topic_watch.stop()
        deadline = time.monotonic() + LEAVING_SECONDS
        ended = [thread.stop(max(0.0, deadline - time.monotonic())) for thread in (self._source, self._sink)]
        if not all(ended):
            _log.warning("leaving although Kafka does not let go: nothing uncommitted counts")

    def _failures_told(self) -> bool:
        """Tell of what ended the threads; ``True`` if nothing did."""
        failures = [each.failure for each in (self._source, self._sink) if each.failure is not None]
        for failure in failures:
            _log.error("%s", failure)
        return not failures

    # -- wiring ----------------------------------------------------------------------------------------

    def _make_sink(self, publications: Publications, sizes: _TopicSizes) -> TransactionalSink | AtLeastOnceSink:
        settings = self._settings
        properties = _producer_properties(settings, sizes)
        common = (
            properties,
            settings.topics.requests,
            settings.kafka.group_id,
            publications,
            self._driver.post,
            self._observe_transaction,
        )
        if settings.kafka.delivery is Delivery.AT_LEAST_ONCE:
            return AtLeastOnceSink(
                *common, membership=lambda: self._source.membership, commit_offsets=self._source.commit
            )
        return TransactionalSink(
            *common,
            membership=lambda: self._source.membership,
            transactional_id=_transactional_id(settings.kafka.group_id, settings.kafka.group_instance_id),
        )

    def _make_heartbeats(self) -> Sequence[Heartbeat]:
        return (
            Heartbeat("kafka owner thread", lambda: self._source.progress_at, OWNER_LIMIT_SECONDS),
            Heartbeat("engine core", lambda: self._driver.progress_at, CORE_LIMIT_SECONDS),
            Heartbeat("producer call", lambda: self._sink.busy_since, PRODUCER_LIMIT_SECONDS),
            Heartbeat("stop", lambda: self._told_to_stop_at, max(self._settings.shutdown_timeout, CLOSING_SECONDS)),
        )

    def _observe_call(self, outcome: CallOutcome, seconds: float, call: StartCall) -> None:
        self._metrics.call_finished(outcome, seconds, call.requests, len(call.products))
        if (pause := ordered_pause(call.specification, outcome, time.time())) is not None:
            _log.warning("%s", pause)

    def _observe_transaction(self, finished: Finished) -> None:
        parts = [part for part in finished.commit.partitions if part.partition in finished.kept]
        outcomes = sum(len(part.outcomes) for part in parts)
        self._metrics.transaction_finished(_TRANSACTION_KINDS[finished.result], finished.seconds, outcomes)
        if finished.result is TransactionResult.COMMITTED:
            for part in parts:
                self._outcome_log.write(part.outcomes, time.monotonic())


class _DirectorySource:
    """The stores, with their trouble in the engine's words."""

    def __init__(self, reader: DirectoryReader) -> None:
        self._reader = reader
        self._warned: tuple[str, ...] = ()

    def read(self, known_version: int | None) -> Directory | None:
        """Give the snapshot, or ``None`` where nothing has changed."""
        try:
            directory = self._reader.read(known_version)
        except StoreTrouble as trouble:
            _log.error("%s", trouble)
            raise SourceTrouble(str(trouble)) from trouble
        except Exception as defect:
            _log.exception("a defect keeps the database from being read")
            msg = f"The database cannot be read ({type(defect).__name__}). See the log, correct the row or report it."
            raise SourceTrouble(msg) from defect
        if self._reader.warnings != self._warned:
            self._warned = self._reader.warnings
            for warning in self._warned:
                _log.warning("%s", warning)
        return directory


def ordered_pause(specification: ClientSpecification, outcome: CallOutcome, wall: float) -> str | None:
    """Word a long pause that a Mirakl asks for; ``None``: it asks for none, or for a short one."""
    if not isinstance(outcome, CallFailure) or (outcome.retry_after or 0.0) < LONG_PAUSE_SECONDS:
        return None
    until = wall + min(outcome.retry_after or 0.0, Backoff().longest_ordered)
    return (
        f"Mirakl of client specification {specification.id} ({specification.name!r}) asks for a pause: Retry-After "
        f"{outcome.retry_after:.0f} s, {outcome.reason}. It is called again from "
        f"{datetime.fromtimestamp(until, UTC):%Y-%m-%dT%H:%M:%SZ}; any change to it, such as "
        "`mirakl-resync-consumer clients resume`, has it called at once."
    )


# -- properties of librdkafka --------------------------------------------------------------------------


def refused_properties(settings: Settings) -> list[str]:
    """Say what is wrong with the operator's properties where only librdkafka can tell: it reads the values itself."""
    sizes = _TopicSizes(DEFAULT_MESSAGE_BYTES, DEFAULT_MESSAGE_BYTES)
    alone = {"bootstrap.servers": "", "log_level": 0}
    written = _producer_properties(settings, sizes)
    if settings.kafka.delivery is Delivery.EXACTLY_ONCE:
        written["transactional.id"] = "none"
    mistakes = []
    for make, properties in ((Consumer, _consumer_properties(settings)), (Producer, written)):
        try:
            make({**properties, **alone})
        except KafkaException as problem:
            mistakes.append(f"RESYNC_KAFKA__PROPERTIES: {problem.args[0].str().strip()}.")
    return list(dict.fromkeys(mistakes))


def _consumer_properties(settings: Settings, request_bytes: int = DEFAULT_MESSAGE_BYTES) -> dict[str, Any]:
    """The operator's properties above our defaults, below what the guarantees rest on.

    ``request_bytes`` is the ``max.message.bytes`` of the requests topic. A response holds the bytes of a fetch, or
    one batch that is larger. A batch of zstd or snappy that unpacks to more than a response is not unpacked.
    """
    kafka = settings.kafka
    given = kafka.consumer_properties()
    session = given.get("session.timeout.ms", "")
    fetch = _number(given.get("fetch.max.bytes"), FETCH_BYTES)
    largest = fetch + max(request_bytes, settings.max_request_bytes)
    properties: dict[str, Any] = {
        "client.id": "mirakl-resync",
        "fetch.wait.max.ms": 100,
        "fetch.queue.backoff.ms": 20,
        "fetch.max.bytes": fetch,
        "fetch.message.max.bytes": PARTITION_FETCH_BYTES,
        "receive.message.max.bytes": min(largest + RESPONSE_HEADROOM_BYTES, RECEIVE_MOST_BYTES),
        "queued.max.messages.kbytes": 4 * 1024,
        "queued.min.messages": 5_000,
        "topic.metadata.refresh.interval.ms": 60_000,
        "max.poll.interval.ms": max(int(POLL_INTERVAL_SECONDS * 1000), _number(session, 0)),
        "logger": logging.getLogger("librdkafka"),
    }
    if kafka.group_protocol is GroupProtocol.CLASSIC:
        properties |= {
            "session.timeout.ms": int(SESSION_SECONDS * 1000),
            "heartbeat.interval.ms": 1_000,
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
    """What is no number is left to librdkafka, which says so."""
    return int(given) if given and given.isascii() and given.isdecimal() and len(given) < LONGEST_NUMBER else default


def _producer_properties(settings: Settings, sizes: _TopicSizes) -> dict[str, Any]:
    transactional = settings.kafka.delivery is Delivery.EXACTLY_ONCE
    properties: dict[str, Any] = {
        "client.id": "mirakl-resync",
        "linger.ms": 5,
        "batch.num.messages": 10_000,
        "batch.size": min(BATCH_BYTES, sizes.results, sizes.dead_letters),
        "queue.buffering.max.messages": 200_000,
        "queue.buffering.max.kbytes": 512 * 1024,
        "retry.backoff.ms": 5,
        "logger": logging.getLogger("librdkafka"),
    }
    if transactional:
        properties["transaction.timeout.ms"] = int(TRANSACTION_SECONDS * 1000)
    properties |= settings.kafka.producer_properties()
    properties |= {
        "enable.idempotence": True,
        "acks": "all",
        "message.max.bytes": max(1_000_000, sizes.results, sizes.dead_letters),
    }
    return properties


def broker_times(settings: Settings) -> Times:
    """Return what the brokers bound of the properties that the service would use."""
    consumer, producer = _consumer_properties(settings), trial_properties(settings)
    classic = settings.kafka.group_protocol is GroupProtocol.CLASSIC
    return Times(
        session=int(consumer["session.timeout.ms"]) if classic else None,
        transaction=int(producer.get("transaction.timeout.ms", 0)),
    )


def trial_properties(settings: Settings) -> dict[str, Any]:
    """Return the properties of the service's producer where the sizes of the topics do not matter."""
    return _producer_properties(settings, _TopicSizes(DEFAULT_MESSAGE_BYTES, DEFAULT_MESSAGE_BYTES))


def _drain_seconds(settings: Settings) -> float:
    """The time that a revocation may take."""
    properties = _consumer_properties(settings)
    session = float(properties.get("session.timeout.ms", SESSION_SECONDS * 1000)) / 1000
    poll = float(properties["max.poll.interval.ms"]) / 1000
    return min(DRAIN_SHARE_OF_POLL_INTERVAL * poll, DRAIN_SHARE_OF_SESSION * session)


def _transactional_id(group_id: str, instance_id: str | None) -> str:
    """Stable where the replica has a name, else new at each start: a later producer ends what an earlier one left open.

    Between replicas without names the metadata of the group does the fencing.
    """
    return f"{group_id}-{instance_id or uuid.uuid4().hex}"


def _topic_sizes(settings: Settings) -> _TopicSizes:
    """Hold that the brokers answer and the topics exist; tell what they take."""
    admin = TopicAdmin(settings.kafka)
    metadata = admin.metadata()
    unreachable = [each for each in check_addresses(try_addresses(metadata)) if each.unreachable]
    if unreachable and len(unreachable) == len(metadata.brokers):
        raise BrokerUnreachableError(unreachable[0].message, unreachable[0].remedy)
    for finding in unreachable:
        _log.warning("%s: %s %s", finding.subject, finding.message, finding.remedy)
    facts = admin.facts(names_of(settings.topics))
    findings = check_topics(facts, settings.topics)
    if not is_embedded(metadata):
        findings += check_rights(admin.client, settings.topics, settings.kafka.group_id)
    for finding in findings:
        if finding.level is Level.WARN:
            _log.warning("%s: %s %s", finding.subject, finding.message, finding.remedy)
    failed = [finding for finding in findings if finding.level is Level.FAIL]
    if failed:
        raise KafkaTroubleError("\n".join(f"{each.subject}: {each.message} {each.remedy}" for each in failed))
    return _TopicSizes(
        _max_message_bytes(facts[settings.topics.results]),
        _max_message_bytes(facts[settings.topics.dead_letters]),
        _max_message_bytes(facts[settings.topics.requests]),
    )


def _max_message_bytes(facts: TopicFacts) -> int:
    return facts.limits.max_message_bytes if facts.limits is not None else DEFAULT_MESSAGE_BYTES
