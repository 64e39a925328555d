"""Certificates that end soon, as ``doctor`` tells of them."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from consumer.adapters.certificates import CertificateLook, check_certificates
from tests.support.certificates import PrivateAuthority

NOW = datetime.now(UTC)


def look(days: float, server: str = "Mirakl at acme.mirakl.net") -> CertificateLook:
    pem = PrivateAuthority().issue("acme.mirakl.net", days).certificate
    return CertificateLook(server, x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER))


@pytest.mark.parametrize(
    ("days", "level", "message"),
    [(30, "OK", "1 last"), (14.1, "OK", "1 last"), (13.9, "WARN", "in 13 days"), (0.5, "WARN", "in 0 days")],
)
def test_a_certificate_is_warned_of_two_weeks_before_its_end(days: float, level: str, message: str) -> None:
    (found,) = check_certificates([look(days)], NOW)
    assert level == found.level
    assert message in found.message
    assert (level == "WARN") == bool(found.remedy)


def test_an_ended_certificate_says_since_when() -> None:
    (found,) = check_certificates([look(3)], NOW + timedelta(days=10))
    assert f"ended on {NOW + timedelta(days=3):%Y-%m-%d}" in found.message


def test_servers_that_end_soon_or_show_nothing_are_named_and_the_others_are_counted() -> None:
    looks = [
        look(100, "broker 1"),
        look(50, "broker 2"),
        look(1, "broker 3"),
        CertificateLook("broker 4", None, "It cannot be reached.", "Start it."),
        CertificateLook("broker 5", b"nonsense"),
    ]
    found = list(check_certificates(looks, NOW))
    assert ["broker 3", "broker 4", "broker 5", "certificates"] == [each.subject for each in found]
    assert f"2 last for two weeks or more; the first ends on {NOW + timedelta(days=50):%Y-%m-%d}." == found[-1].message
    assert [] == list(check_certificates([], NOW))
