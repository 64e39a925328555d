"""Certificates that the brokers show at their advertised addresses.

librdkafka does not report them, so each broker gets a separate TLS handshake, which verifies nothing and sends no data:
whether a certificate is accepted is librdkafka's decision.
"""

import socket
import ssl
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

from consumer.adapters.certificates import CertificateLook
from consumer.adapters.kafka.policy import ADMIN
from consumer.adapters.kafka.trial import Address

ENCRYPTED: Final = frozenset({"ssl", "sasl_ssl"})
"""Values of ``security.protocol``."""


def broker_certificates(properties: Mapping[str, str], addresses: Sequence[Address]) -> list[CertificateLook]:
    """Look at the certificate of each broker that can be reached; none without TLS."""
    if properties.get("security.protocol", "").lower() not in ENCRYPTED:
        return []
    context = _context(properties)
    reached = [each for each in addresses if each.problem is None]
    with ThreadPoolExecutor(max(1, min(16, len(reached)))) as pool:
        return list(pool.map(partial(_look, context), reached))


def _context(properties: Mapping[str, str]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    certificate, key = properties.get("ssl.certificate.location"), properties.get("ssl.key.location")
    if certificate and key:  # a broker that wants one may show its own only then
        try:
            context.load_cert_chain(certificate, key, properties.get("ssl.key.password", ""))
        except (OSError, ValueError):
            return context
    return context


def _look(context: ssl.SSLContext, address: Address) -> CertificateLook:
    server = f"broker {address.broker} at {address.host}:{address.port}"
    try:
        with (
            socket.create_connection((address.host, address.port), ADMIN.handshake) as plain,
            context.wrap_socket(plain, server_hostname=address.host) as encrypted,
        ):
            return CertificateLook(server, encrypted.getpeercert(binary_form=True))
    except (OSError, ValueError) as error:
        problem = f"Its certificate could not be looked at ({getattr(error, 'reason', None) or error})."
        return CertificateLook(server, None, problem, "Look at it with `openssl s_client`.")
