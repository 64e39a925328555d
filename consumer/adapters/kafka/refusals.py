"""Reasons why no broker accepts our connection: wrong credentials, certificates or protocols, which are no outages."""

import socket
from collections.abc import Iterable
from dataclasses import dataclass

from confluent_kafka import KafkaError

from consumer.adapters.kafka.policy import ADMIN

_CREDENTIALS = frozenset({KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED})  # noqa: SLF001  public names of codes
_PROPERTIES = "in RESYNC_KAFKA__PROPERTIES"


_DEFAULT_PORT = 9092


@dataclass(frozen=True, slots=True)
class Refusal:
    """Refusal of a broker to accept our connection: what it refuses, and which property to correct."""

    problem: str
    remedy: str


_SASL = (
    (
        ("unsupported sasl mechanism", "not enabled in the server"),
        Refusal("The Kafka brokers do not offer our SASL mechanism", f"Correct sasl.mechanisms {_PROPERTIES}."),
    ),
    (
        ("oauthbearer", "oidc", "invalid_token"),
        Refusal(
            "The Kafka brokers do not accept our token, or there is none",
            f"Correct the properties sasl.oauthbearer.* {_PROPERTIES}, and check the token endpoint.",
        ),
    ),
)
"""By what librdkafka and the brokers say. Brokers also name the mechanism where only the password is wrong."""
_LOGIN = Refusal(
    "The Kafka brokers do not accept our user or password",
    f"Correct sasl.username and sasl.password {_PROPERTIES}.",
)
_TLS = (
    (
        ("certificate verify failed", "unable to get local issuer", "self-signed", "self signed"),
        Refusal(
            "We do not trust the certificate of the Kafka brokers",
            f"Name their CA by ssl.ca.location {_PROPERTIES}, or correct the host names in the certificate.",
        ),
    ),
    (
        ("certificate required", "bad certificate", "unknown ca", "certificate unknown", "handshake failure"),
        Refusal(
            "The Kafka brokers do not accept our client certificate, or want one",
            f"Name a valid pair by ssl.certificate.location and ssl.key.location {_PROPERTIES}.",
        ),
    ),
    (
        ("wrong version number", "packet length too long", "unknown protocol", "record layer failure"),
        Refusal(
            "The Kafka brokers do not speak TLS on this port",
            f"Correct security.protocol {_PROPERTIES}, or the port in RESYNC_KAFKA__BOOTSTRAP_SERVERS.",
        ),
    ),
)


def refusal(errors: Iterable[KafkaError]) -> Refusal | None:
    """Return why we are not let in, from what the library reported; ``None``: nobody answers at all."""
    for error in errors:
        said = error.str()
        if error.code() in _CREDENTIALS:
            found = next((found for signs, found in _SASL if any(sign in said.lower() for sign in signs)), _LOGIN)
            return Refusal(f"{found.problem} ({said})", found.remedy)
        for signs, found in _TLS:
            if any(sign in said.lower() for sign in signs):
                return Refusal(f"{found.problem} ({said})", found.remedy)
        if "in state APIVERSION_QUERY" in said or "in state SSL_HANDSHAKE" in said:
            return Refusal(
                f"A Kafka broker closes our connections at once ({said})",
                f"Correct security.protocol {_PROPERTIES}: its listener may want TLS or SASL, or a client certificate.",
            )
    return None


def something_listens(bootstrap_servers: str) -> bool:
    """Return whether one of these ``host:port`` accepts connections, within the policy's ``refusal_connect``."""
    for server in bootstrap_servers.split(","):
        host, _, port = server.rpartition("://")[2].rpartition(":")
        address = (host.strip("[]"), int(port)) if host and port.isdecimal() else (port, _DEFAULT_PORT)
        try:
            socket.create_connection(address, ADMIN.refusal_connect).close()
        except (OSError, UnicodeError):
            continue
        return True
    return False
