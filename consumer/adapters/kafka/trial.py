"""Trials of what ``run`` needs of Kafka: addresses, rights, an empty transaction, limits of the brokers."""

import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, yet not marked as re-exported
    AclOperation,
    AdminClient,
    ClusterMetadata,
    ConfigResource,
    ResourceType,
)

from consumer.adapters.finding import Finding, Level
from consumer.adapters.kafka.policy import ADMIN
from consumer.adapters.kafka.properties import Times
from consumer.adapters.kafka.remedies import Named, explain
from schemas.settings import Settings, TopicSettings

METADATA_CHARACTERS = 4_095
"""Least ``offset.metadata.max.bytes`` for any progress map."""
_NO_COORDINATOR = frozenset(
    {
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError._TIMED_OUT,  # noqa: SLF001  public names of codes
        KafkaError._TRANSPORT,  # noqa: SLF001
    }
)
_READY = "The brokers agree."


@dataclass(frozen=True, slots=True)
class Address:
    """Advertised address of a broker, not always the bootstrap one, and the result of connecting to it."""

    broker: int
    host: str
    port: int
    problem: str | None


# -- addresses -----------------------------------------------------------------------------------------


def try_addresses(metadata: ClusterMetadata) -> list[Address]:
    """Connect to each broker at its advertised address, which Kafka clients use instead of the bootstrap one."""
    brokers = sorted(metadata.brokers.values(), key=lambda each: int(each.id))
    with ThreadPoolExecutor(max(1, min(16, len(brokers)))) as pool:
        return list(pool.map(_try, brokers))


def _try(broker: Any) -> Address:  # noqa: ANN401 - the binding's BrokerMetadata
    try:
        socket.create_connection((broker.host, broker.port), ADMIN.trial_connect).close()
    except OSError as error:
        return Address(broker.id, broker.host, broker.port, str(error) or type(error).__name__)
    return Address(broker.id, broker.host, broker.port, None)


def check_addresses(addresses: Sequence[Address]) -> Iterator[Finding]:
    """Return the findings about addresses; one that does not answer fails."""
    for address in addresses:
        where = f"{address.host}:{address.port}"
        if address.problem is None:
            yield Finding(Level.OK, f"broker {address.broker}", f"Its advertised address {where} answers.")
        else:
            yield Finding(
                Level.FAIL,
                f"broker {address.broker}",
                f"Its advertised address {where} cannot be reached from here ({address.problem}).",
                "Correct advertised.listeners of the broker, or make that address reachable; clients use it, whatever "
                "RESYNC_KAFKA__BOOTSTRAP_SERVERS says.",
                unreachable=True,
            )


# -- rights --------------------------------------------------------------------------------------------


def check_rights(admin: AdminClient, topics: TopicSettings, group: str) -> Iterator[Finding]:
    """Return the findings about this user's rights on the topics and the group, as the brokers tell them."""
    yield from _check_topic_rights(admin, topics)
    yield from _check_group(admin, group)


def _check_topic_rights(admin: AdminClient, topics: TopicSettings) -> Iterator[Finding]:
    needed = {
        topics.requests: AclOperation.READ,
        topics.results: AclOperation.WRITE,
        topics.dead_letters: AclOperation.WRITE,
    }
    futures = admin.describe_topics(
        TopicCollection(list(needed)), include_authorized_operations=True, request_timeout=ADMIN.trial_answer
    )
    for name, future in futures.items():
        try:
            allowed = future.result().authorized_operations
        except KafkaException:  # missing or hidden, which the finding about the topic itself says
            continue
        right = needed[name]
        if allowed and not {right, AclOperation.ALL} & set(allowed):
            yield _missing(f"topic {name}", right.name, f"topic {name}")


def _check_group(admin: AdminClient, group: str) -> Iterator[Finding]:
    subject = f"group {group}"
    (future,) = admin.describe_consumer_groups(
        [group], include_authorized_operations=True, request_timeout=ADMIN.trial_answer
    ).values()
    try:
        allowed = future.result().authorized_operations
    except KafkaException as problem:
        error = problem.args[0]
        if error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
            yield _missing(subject, "READ", f"group {group}")
        elif error.code() in _NO_COORDINATOR:
            yield Finding(
                Level.WARN,
                subject,
                f"Its coordinator does not tell of it ({error.name()}: {error.str()}).",
                "Check the brokers; offsets.topic.replication.factor must not exceed their number.",
            )
        else:  # nobody has joined it yet
            yield Finding(Level.OK, subject, "It is new.")
        return
    if allowed and not {AclOperation.READ, AclOperation.ALL} & set(allowed):
        yield _missing(subject, "READ", f"group {group}")
    else:
        yield Finding(Level.OK, subject, "We may join it.")


def _missing(subject: str, right: str, resource: str) -> Finding:
    return Finding(
        Level.FAIL, subject, f"This user may not {right} there.", f"Grant {right} on the {resource} to this user."
    )


# -- a transaction -------------------------------------------------------------------------------------


def check_transaction(settings: Settings, properties: Mapping[str, Any]) -> Finding:
    """Begin a transaction under an id of its own and write nothing; ``properties``: those of the service's producer.

    The replica's own id is not tried where it has one: that would fence a replica that runs. So a user who may use
    that id only, by a literal grant, gets a warning.
    """
    group = settings.kafka.group_id
    named = Named(settings.topics.requests, group, f"{group}-doctor")
    subject = "transactions"
    try:
        producer = Producer({**properties, "transactional.id": named.transactional_id, "log_level": 0})
        producer.init_transactions(ADMIN.trial_transaction)
        producer.begin_transaction()
        producer.abort_transaction(ADMIN.trial_answer)
    except KafkaException as problem:
        instance = settings.kafka.group_instance_id
        if problem.args[0].code() == KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED and instance is not None:
            return Finding(
                Level.WARN,
                subject,
                f"None was tried, since this user may not use the transactional id {named.transactional_id}.",
                f"Make sure that it may WRITE and DESCRIBE the transactional id {group}-{instance}, or all with the "
                f"prefix {group}-.",
            )
        return Finding(Level.FAIL, subject, *explain(problem.args[0], named))
    return Finding(Level.OK, subject, "One that wrote nothing began and ended.")


# -- bounds --------------------------------------------------------------------------------------------


def check_bounds(admin: AdminClient, brokers: Iterable[int], times: Times, *, exactly_once: bool) -> Iterator[Finding]:
    """Return the findings about the brokers' own settings that limit our sessions, transactions and metadata."""
    known = sorted(brokers)
    resources = [ConfigResource(ResourceType.BROKER, str(broker)) for broker in known]
    configs = {}
    for resource, future in admin.describe_configs(resources, request_timeout=ADMIN.trial_answer).items():
        try:
            configs[resource.name] = {name: entry.value for name, entry in future.result().items()}
        except KafkaException as problem:
            yield _unreadable(resource.name, problem.args[0])
    for broker, config in configs.items():
        findings = list(_check_broker(broker, config, len(known), times, exactly_once=exactly_once))
        yield from findings or [Finding(Level.OK, f"settings of broker {broker}", _READY)]


def _unreadable(broker: str, error: KafkaError) -> Finding:
    return Finding(
        Level.WARN,
        f"settings of broker {broker}",
        f"They cannot be read, so its bounds are not checked ({error.str()}).",
        "Grant this user DESCRIBE_CONFIGS on the cluster, or compare them by hand with the documentation.",
    )


def _check_broker(
    broker: str, config: Mapping[str, str | None], brokers: int, times: Times, *, exactly_once: bool
) -> Iterator[Finding]:
    subject = f"settings of broker {broker}"

    def number(name: str) -> int | None:
        text = config.get(name) or ""
        return int(text) if text.lstrip("-").isdecimal() else None

    least, most = number("group.min.session.timeout.ms"), number("group.max.session.timeout.ms")
    if times.session is not None and least is not None and most is not None and not least <= times.session <= most:
        yield Finding(
            Level.FAIL,
            subject,
            f"It takes sessions of {least} to {most} ms, and ours lasts {times.session} ms: we could never join.",
            "Change session.timeout.ms in RESYNC_KAFKA__PROPERTIES, or the broker's group.*.session.timeout.ms.",
        )
    metadata = number("offset.metadata.max.bytes")
    if metadata is not None and metadata < METADATA_CHARACTERS:
        yield Finding(
            Level.WARN,
            subject,
            f"Its offset.metadata.max.bytes is {metadata}: progress maps get cut short, and a crash repeats requests.",
            "Set it to 4096.",
        )
    if exactly_once:
        yield from _check_transaction_log(subject, number, brokers, times)


def _check_transaction_log(subject: str, number: Any, brokers: int, times: Times) -> Iterator[Finding]:  # noqa: ANN401 - a look-up
    for name in ("transaction.state.log.replication.factor", "transaction.state.log.min.isr"):
        value = number(name)
        if value is not None and value > brokers:
            yield Finding(
                Level.FAIL,
                subject,
                f"Its {name} is {value}, and there are {brokers} brokers.",
                f"Set it to {brokers} at most, or add brokers; without its log no transaction is possible.",
            )
    longest = number("transaction.max.timeout.ms")
    if longest is not None and longest < times.transaction:
        yield Finding(
            Level.FAIL,
            subject,
            f"Its transaction.max.timeout.ms is {longest}, and our transactions may last {times.transaction} ms.",
            "Raise it, or lower transaction.timeout.ms in RESYNC_KAFKA__PROPERTIES.",
        )
