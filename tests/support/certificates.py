"""Certificates for servers that tests start."""

import ssl
import uuid
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Certified(NamedTuple):
    """A certificate and its key, as PEM."""

    certificate: bytes
    key: bytes


def self_signed(host: str, *, authority: bool = True) -> Certified:
    """Make a certificate for a host name or an address, valid today; ``authority``: it may sign others."""
    key = ec.generate_private_key(ec.SECP256R1())
    return _pem(_builder(host, host, key, days=1, authority=authority).sign(key, hashes.SHA256()), key)


class PrivateAuthority:
    """An authority that nobody trusts unless told to: a company's own."""

    NAME: Final = "Private Test Authority"

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        own = _builder(self.NAME, self.NAME, self._key, days=1000, authority=True).sign(self._key, hashes.SHA256())
        self.certificate = _pem(own, self._key).certificate

    def issue(self, host: str, days: float = 100) -> Certified:
        """Certify a host name or an address for so many days from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        return _pem(_builder(host, self.NAME, key, days=days, authority=False).sign(self._key, hashes.SHA256()), key)

    def server_side(self, host: str, folder: Path, days: float = 100) -> ssl.SSLContext:
        """Return the TLS of a server of this host; its files are written to a folder."""
        issued = self.issue(host, days)
        pem = folder / f"{uuid.uuid4()}.pem"
        pem.write_bytes(issued.key + issued.certificate)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(pem)
        return context


def _builder(
    host: str, issuer: str, key: ec.EllipticCurvePrivateKey, *, days: float, authority: bool
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([_general_name(host)]), critical=False)
    )
    if authority:
        return builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder


def _pem(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Certified:
    return Certified(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)
