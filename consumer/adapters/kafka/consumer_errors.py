"""Errors after which the Kafka consumer cannot continue, each with its remedy."""

import re
from typing import Final

from confluent_kafka import KafkaError

from schemas.errors import ExplainedError

UNREADABLE: Final = frozenset({KafkaError._BAD_COMPRESSION, KafkaError._BAD_MSG})  # noqa: SLF001 - librdkafka's own names for its codes
"""A batch cannot be decompressed, or its checksum does not match: librdkafka fetches some of these again and skips
others."""
_FATAL: Final = frozenset({KafkaError._FATAL, KafkaError.FENCED_INSTANCE_ID, KafkaError._FENCED})  # noqa: SLF001 - librdkafka's own names for its codes


class OwnerThreadError(ExplainedError):
    """The consumer cannot continue: a defect, a missing right, or a setting that brokers refuse. Ends the process."""


def raise_if_final(error: KafkaError) -> None:
    """Raise ``OwnerThreadError`` if trying again cannot help; all other errors are librdkafka's to retry."""
    code = error.code()
    if code in _FATAL or error.fatal():
        raise OwnerThreadError(f"The Kafka consumer cannot go on ({error.str()}).", _remedy(error))
    if code in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED):
        raise OwnerThreadError(
            f"Kafka does not let us read ({error.str()}).", "Grant this user READ on the topic and the group."
        )
    if code == KafkaError.INVALID_SESSION_TIMEOUT:  # reported once, and retried for ever
        raise OwnerThreadError(
            f"The group cannot be joined ({error.str()}).",
            "Set session.timeout.ms in RESYNC_KAFKA__PROPERTIES to a value between the brokers' "
            "group.min.session.timeout.ms and group.max.session.timeout.ms.",
        )


def _remedy(error: KafkaError) -> str:
    """Return what to do; a fatal error names its cause only in its text."""
    if re.search(r"group\.instance\.id|instance ID", error.str()):
        return (
            "Give each replica a RESYNC_KAFKA__GROUP_INSTANCE_ID of its own; with the group protocol `consumer`, that "
            "of a killed replica is free once its session has ended (45 s), so start this one again."
        )
    return "Start it again; if that does not help, check the brokers."
