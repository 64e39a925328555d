"""Names of OpenTelemetry's semantic conventions, for messaging and for HTTP calls, and their version.

The one place that a new version of the conventions changes. Source: OpenTelemetry Semantic Conventions, "Semantic
conventions for messaging spans", "... for Kafka", "... for HTTP spans".
"""

from enum import StrEnum
from typing import Final

SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.41.0"
"""Version of the conventions; it travels with every span."""

KAFKA: Final = "kafka"
"""Value of ``SYSTEM``."""
PROCESS: Final = "process"
"""Value of ``OPERATION_NAME`` and ``OPERATION_TYPE``: a record is answered."""
SEND: Final = "send"
"""Value of ``OPERATION_NAME`` and ``OPERATION_TYPE``: a record is written."""


class Messaging(StrEnum):
    """Attributes of spans about records."""

    SYSTEM = "messaging.system"
    OPERATION_NAME = "messaging.operation.name"
    OPERATION_TYPE = "messaging.operation.type"
    DESTINATION = "messaging.destination.name"
    PARTITION = "messaging.destination.partition.id"
    """Text, although Kafka's are numbers."""
    OFFSET = "messaging.kafka.offset"
    GROUP = "messaging.consumer.group.name"
    MESSAGE_ID = "messaging.message.id"
    CONVERSATION_ID = "messaging.message.conversation_id"
    BODY_SIZE = "messaging.message.body.size"
    """Bytes."""


class Http(StrEnum):
    """Attributes of spans about HTTP calls."""

    METHOD = "http.request.method"
    STATUS_CODE = "http.response.status_code"
    SERVER = "server.address"
    PORT = "server.port"
    URL = "url.full"


ERROR_TYPE: Final = "error.type"
"""Attribute of every span that did not end well; a closed set of values."""
SERVICE_NAME, SERVICE_VERSION, SERVICE_INSTANCE = "service.name", "service.version", "service.instance.id"
"""Attributes of the program that spans come from."""
