"""A real Apache Kafka with SASL and ACLs, as a process: what a user may not do is refused, as in production.

The listener ``bootstrap`` is plaintext, and whoever uses it is a superuser: tests create topics and ACLs over it.
``secured`` wants SASL/PLAIN; the users of ``USERS`` may do what ``allow`` has granted them, and nothing else.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, yet not marked as re-exported
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from tests.support.kafka import BROKER_SETTINGS, KafkaProcess
from tests.support.parts import free_port

USERS = {"service": "service-secret", "stranger": "stranger-secret", "tool": "tool-secret"}
ANSWER_SECONDS = 10.0


class SecuredKafka(KafkaProcess):
    """One node with an authorizer; ``settings`` are further broker settings."""

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        port = free_port()
        self.secured = f"127.0.0.1:{port}"
        users = " ".join(f'user_{name}="{password}"' for name, password in USERS.items())
        super().__init__(
            {
                **BROKER_SETTINGS,
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "super.users": "User:ANONYMOUS",
                "sasl.enabled.mechanisms": "PLAIN",
                "listener.name.sasl.plain.sasl.jaas.config": (
                    f"org.apache.kafka.common.security.plain.PlainLoginModule required {users};"
                ),
                **(settings or {}),
            },
            listeners={"SASL": ("SASL_PLAINTEXT", port, port)},
        )

    def properties(self, user: str = "service", password: str | None = None) -> dict[str, str]:
        """Properties of librdkafka for a client of the secured listener, without its address."""
        return {
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanisms": "PLAIN",
            "sasl.username": user,
            "sasl.password": USERS[user] if password is None else password,
        }

    def allow(
        self,
        resource: ResourceType,
        name: str,
        *operations: AclOperation,
        prefixed: bool = False,
        user: str = "service",
    ) -> None:
        """Grant a user these operations."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap})  # dropped only once it was answered
        for future in admin.create_acls(self._bindings(resource, name, operations, user, prefixed=prefixed)).values():
            future.result(ANSWER_SECONDS)

    def forbid(self, resource: ResourceType, name: str, *operations: AclOperation, prefixed: bool = False) -> None:
        """Take back what ``allow`` has granted."""
        filters = [
            AclBindingFilter(
                each.restype,
                each.name,
                each.resource_pattern_type,
                each.principal,
                each.host,
                each.operation,
                each.permission_type,
            )
            for each in self._bindings(resource, name, operations, "service", prefixed=prefixed)
        ]
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        for future in admin.delete_acls(filters).values():
            future.result(ANSWER_SECONDS)

    @contextmanager
    def without(
        self, resource: ResourceType, name: str, *operations: AclOperation, prefixed: bool = False
    ) -> Iterator[None]:
        """Take rights away for a while."""
        self.forbid(resource, name, *operations, prefixed=prefixed)
        yield
        self.allow(resource, name, *operations, prefixed=prefixed)

    @staticmethod
    def _bindings(
        resource: ResourceType, name: str, operations: tuple[AclOperation, ...], user: str, *, prefixed: bool
    ) -> list[AclBinding]:
        pattern = ResourcePatternType.PREFIXED if prefixed else ResourcePatternType.LITERAL
        return [
            AclBinding(resource, name, pattern, f"User:{user}", "*", operation, AclPermissionType.ALLOW)
            for operation in operations
        ]
