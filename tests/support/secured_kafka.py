"""A real Apache Kafka with TLS, SASL and ACLs, as a process: what a user may not do is refused, as in production.

The listener ``bootstrap`` is plaintext, and whoever uses it is a superuser: tests create topics and ACLs over it.
``secured`` wants TLS, and SASL with SCRAM-SHA-512 or OAUTHBEARER. The users of ``USERS``, and whoever a token names,
may do what ``allow`` has granted them, and nothing else.
"""

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, yet not marked as re-exported
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialAlteration,
    UserScramCredentialUpsertion,
)

from tests.support.certificates import PrivateAuthority
from tests.support.kafka import BROKER_SETTINGS, KafkaProcess
from tests.support.parts import free_port, wait_until

USERS = {
    "gateway": "gateway-secret",
    "service": "service-secret",
    "stranger": "stranger-secret",
    "tool": "tool-secret",
}
ANSWER_SECONDS = 10.0
REAUTHENTICATION_MS = 3_600_000
"""Sessions end with their tokens; those of users of SCRAM last as long as any test."""
_SCRAM_ITERATIONS = 4096
_LOGIN = "org.apache.kafka.common.security"


class SecuredKafka(KafkaProcess):
    """One node with an authorizer; ``settings`` are further broker settings."""

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        port = free_port()
        self.secured = f"127.0.0.1:{port}"
        self._tls = Path(tempfile.mkdtemp(prefix="kafka-tls-"))
        authority = PrivateAuthority()
        self.ca_file = self._tls / "ca.pem"
        self.ca_file.write_bytes(authority.certificate)
        issued = authority.issue("127.0.0.1")
        keystore = self._tls / "broker.pem"
        keystore.write_bytes(issued.key + issued.certificate)
        self._users_known = False
        super().__init__(
            {
                **BROKER_SETTINGS,
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "super.users": "User:ANONYMOUS",
                "sasl.enabled.mechanisms": "SCRAM-SHA-512,OAUTHBEARER",
                "listener.name.sasl.scram-sha-512.sasl.jaas.config": f"{_LOGIN}.scram.ScramLoginModule required;",
                "listener.name.sasl.oauthbearer.sasl.jaas.config": (
                    f'{_LOGIN}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";'
                ),
                "listener.name.sasl.connections.max.reauth.ms": str(REAUTHENTICATION_MS),
                "listener.name.sasl.ssl.keystore.type": "PEM",
                "listener.name.sasl.ssl.keystore.location": str(keystore),
                **(settings or {}),
            },
            listeners={"SASL": ("SASL_SSL", port, port)},
        )

    def start(self) -> None:
        """Start it, and make the users known to it."""
        super().start()
        if self._users_known:
            return
        credentials = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, _SCRAM_ITERATIONS)
        wanted: list[UserScramCredentialAlteration] = [
            UserScramCredentialUpsertion(name, credentials, word.encode()) for name, word in USERS.items()
        ]
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        for future in admin.alter_user_scram_credentials(wanted).values():
            future.result(ANSWER_SECONDS)
        self._users_known = True

    def remove(self) -> None:
        """Kill it and delete its data and certificates."""
        super().remove()
        shutil.rmtree(self._tls)

    def properties(self, user: str = "service", password: str | None = None) -> dict[str, str]:
        """Properties of librdkafka for a client of the secured listener, without its address."""
        return {
            "security.protocol": "SASL_SSL",
            "ssl.ca.location": str(self.ca_file),
            "sasl.mechanisms": "SCRAM-SHA-512",
            "sasl.username": user,
            "sasl.password": USERS[user] if password is None else password,
        }

    def token_properties(self, endpoint: str) -> dict[str, str]:
        """Return properties of librdkafka for a client that gets its tokens from this endpoint."""
        return {
            "security.protocol": "SASL_SSL",
            "ssl.ca.location": str(self.ca_file),
            "sasl.mechanisms": "OAUTHBEARER",
            "sasl.oauthbearer.method": "oidc",
            "sasl.oauthbearer.client.id": "mirakl-resync",
            "sasl.oauthbearer.client.secret": "token-secret",
            "sasl.oauthbearer.token.endpoint.url": endpoint,
        }

    def allow(
        self,
        resource: ResourceType,
        name: str,
        *operations: AclOperation,
        prefixed: bool = False,
        user: str = "service",
    ) -> None:
        """Grant a user these operations; returns once the broker knows."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap})  # dropped only once it was answered
        bindings = self._bindings(resource, name, operations, user, prefixed=prefixed)
        for future in admin.create_acls(bindings).values():
            future.result(ANSWER_SECONDS)
        for each in _filters(bindings):
            wait_until(partial(_known, admin, each), timeout=ANSWER_SECONDS, what="a right")

    def forbid(
        self,
        resource: ResourceType,
        name: str,
        *operations: AclOperation,
        prefixed: bool = False,
        user: str = "service",
    ) -> None:
        """Take back what ``allow`` has granted; returns once the broker knows."""
        filters = _filters(self._bindings(resource, name, operations, user, prefixed=prefixed))
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        for future in admin.delete_acls(filters).values():
            future.result(ANSWER_SECONDS)
        for each in filters:
            wait_until(partial(_unknown, admin, each), timeout=ANSWER_SECONDS, what="no right any more")

    @contextmanager
    def without(
        self,
        resource: ResourceType,
        name: str,
        *operations: AclOperation,
        prefixed: bool = False,
        user: str = "service",
    ) -> Iterator[None]:
        """Take rights away for a while."""
        self.forbid(resource, name, *operations, prefixed=prefixed, user=user)
        try:
            yield
        finally:
            self.allow(resource, name, *operations, prefixed=prefixed, user=user)

    @staticmethod
    def _bindings(
        resource: ResourceType, name: str, operations: tuple[AclOperation, ...], user: str, *, prefixed: bool
    ) -> list[AclBinding]:
        pattern = ResourcePatternType.PREFIXED if prefixed else ResourcePatternType.LITERAL
        return [
            AclBinding(resource, name, pattern, f"User:{user}", "*", operation, AclPermissionType.ALLOW)
            for operation in operations
        ]


def _filters(bindings: Sequence[AclBinding]) -> list[AclBindingFilter]:
    return [
        AclBindingFilter(
            each.restype,
            each.name,
            each.resource_pattern_type,
            each.principal,
            each.host,
            each.operation,
            each.permission_type,
        )
        for each in bindings
    ]


def _known(admin: AdminClient, binding: AclBindingFilter) -> bool:
    return bool(admin.describe_acls(binding).result(ANSWER_SECONDS))


def _unknown(admin: AdminClient, binding: AclBindingFilter) -> bool:
    return not _known(admin, binding)
