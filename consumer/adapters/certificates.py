"""Certificates of servers that end soon. An ended one closes the way to a server for everybody at the same moment."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from consumer.adapters.finding import Finding, Level

SOON: Final = timedelta(days=14)
"""Enough to have a certificate renewed by people; those that renew themselves have done so by then."""


@dataclass(frozen=True, slots=True)
class CertificateLook:
    """Certificate of a server, or the reason why it could not be looked at."""

    server: str
    """``broker 1 at kafka:9093``."""
    certificate: bytes | None = field(default=None, repr=False)
    """DER; ``None``: there is no connection, and ``problem`` says why."""
    problem: str = ""
    """A sentence."""
    remedy: str = ""
    """A sentence."""


def check_certificates(looks: Iterable[CertificateLook], now: datetime) -> Iterator[Finding]:
    """Warn of each certificate that ends within ``SOON``, and of each server that could not be looked at."""
    from cryptography import x509  # noqa: PLC0415 - a fortieth of the start of `run`, which has no use for it

    lasting: list[datetime] = []
    for look in looks:
        if look.certificate is None:
            yield Finding(Level.WARN, look.server, look.problem, look.remedy)
            continue
        try:
            ends_at = x509.load_der_x509_certificate(look.certificate).not_valid_after_utc
        except ValueError:
            yield Finding(Level.WARN, look.server, "Its certificate cannot be read.", "Have a valid one issued.")
            continue
        if ends_at - now > SOON:
            lasting.append(ends_at)
            continue
        yield Finding(
            Level.WARN, look.server, _end(ends_at, now), "Have it renewed: without it, no connection is made."
        )
    if lasting:
        first = min(lasting).astimezone(UTC)
        yield Finding(
            Level.OK, "certificates", f"{len(lasting)} last for two weeks or more; the first ends on {first:%Y-%m-%d}."
        )


def _end(ends_at: datetime, now: datetime) -> str:
    if ends_at <= now:
        return f"Its certificate ended on {ends_at:%Y-%m-%d %H:%M} UTC."
    return f"Its certificate ends on {ends_at:%Y-%m-%d %H:%M} UTC, in {(ends_at - now).days} days."
