"""Errors of the brokers, explained for operators: what happened, and which right or property to change."""

from collections.abc import Iterable
from dataclasses import dataclass

from confluent_kafka import KafkaError

from schemas.explanation import sentences
from schemas.rights import Right, missing_right


@dataclass(frozen=True, slots=True)
class Named:
    """Topic, group and transactional id that errors are about: the brokers' own texts do not name them."""

    requests: str
    group: str
    transactional_id: str
    """Empty: no transactions are used."""


def remedy(error: KafkaError, named: Named, topics: Iterable[str] = ()) -> str:
    """Return what happened and what to do, in one text; ``topics``: those that were written to."""
    return sentences(*explain(error, named, topics))


def explain(error: KafkaError, named: Named, topics: Iterable[str] = ()) -> tuple[str, str]:
    """Return problem and remedy of a broker's error; ``topics``: those that were written to."""
    written = " and ".join(sorted(topics)) or "the results and dead-letter topics"
    texts: dict[int, tuple[str, str]] = {
        KafkaError.TOPIC_AUTHORIZATION_FAILED: missing_right(Right.WRITE, written),
        KafkaError.GROUP_AUTHORIZATION_FAILED: (
            f"Kafka does not let us commit offsets of the group {named.group}.",
            "Grant this user READ on the group.",
        ),
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: (
            f"Kafka does not let us use the transactional id {named.transactional_id}.",
            f"Grant this user WRITE and DESCRIBE on transactional ids with the prefix {named.group}-.",
        ),
        KafkaError.CLUSTER_AUTHORIZATION_FAILED: (
            "Kafka does not let us write with an idempotent producer.",
            "Grant this user IDEMPOTENT_WRITE on the cluster.",
        ),
        KafkaError.INVALID_TRANSACTION_TIMEOUT: (
            "The brokers' transaction.max.timeout.ms is shorter than our transactions may last.",
            "Raise it, or lower transaction.timeout.ms in RESYNC_KAFKA__PROPERTIES.",
        ),
        KafkaError.INVALID_RECORD: (
            f"The brokers refuse a record on {written} ({error.str()}).",
            "Set the topic's cleanup.policy to delete: compact refuses records without a key.",
        ),
        KafkaError.POLICY_VIOLATION: (
            f"A policy of the brokers refuses records on {written} ({error.str()}).",
            "Except our topics from it.",
        ),
        KafkaError.MSG_SIZE_TOO_LARGE: (
            f"A record does not fit on {written} even in its smallest form.",
            "Raise max.message.bytes of the topic with `mirakl-resync-consumer topics ensure`.",
        ),
        **dict.fromkeys(
            (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION),  # noqa: SLF001 - public names of codes
            (
                f"There is no topic {written}, or it is hidden from us.",
                "Create it with `mirakl-resync-consumer topics ensure`, or grant this user DESCRIBE on it.",
            ),
        ),
        **dict.fromkeys(
            (KafkaError.NOT_ENOUGH_REPLICAS, KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND),
            (
                f"Too few replicas of {written} are in sync.",
                "Start the missing brokers, or lower the topic's min.insync.replicas.",
            ),
        ),
        **dict.fromkeys(
            (KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError.NOT_COORDINATOR, KafkaError._TIMED_OUT),  # noqa: SLF001 - public names of codes
            (
                f"No coordinator answers for our transactions ({error.str()}).",
                (
                    "Check the brokers; if they run, their transaction.state.log.replication.factor and "
                    "transaction.state.log.min.isr must not exceed the number of brokers."
                ),
            ),
        ),
    }
    default = f"Kafka transactions fail ({error.str()}).", "Check the brokers and their log."
    return texts.get(error.code(), default)
