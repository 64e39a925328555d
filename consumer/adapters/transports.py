"""Warnings about connections in plain text: anyone on the path can read API keys, passwords and credentials."""

from collections.abc import Iterable, Iterator
from urllib.parse import parse_qs, urlsplit

from consumer.adapters.finding import Finding, Level
from consumer.adapters.mirakl.way_out import WayOut
from schemas.settings import Settings

_ENCRYPTED = frozenset({"ssl", "sasl_ssl"})
_LOOPBACK = frozenset({"", "localhost", "127.0.0.1", "::1"})
_TLS_MODES = frozenset({"require", "verify-ca", "verify-full"})
"""Of PostgreSQL's ``sslmode``; the others fall back to plain text (libpq, "SSL Support")."""


def check_settings(settings: Settings) -> Iterator[Finding]:
    """Warn of each connection that the settings leave without TLS: keys and credentials could be read."""
    protocol = settings.kafka.properties.get("security.protocol", "plaintext")
    if protocol.lower() not in _ENCRYPTED:
        yield _plain(
            f"Kafka is reached without encryption (security.protocol={protocol.upper()}): API keys can be read.",
            "Set security.protocol to SSL or SASL_SSL in RESYNC_KAFKA__PROPERTIES.",
        )
    registry = settings.schema_registry.url
    if registry is not None and registry.startswith("http:"):
        yield _plain(
            "The schema registry is reached without encryption: schemas can be altered, and a password read.",
            "Use https:// in RESYNC_SCHEMA_REGISTRY__URL.",
        )
    proxy = WayOut.of(settings.mirakl).proxy
    if proxy is not None and proxy.authorization is not None and not proxy.encrypted:
        yield _plain(
            "The proxy to Mirakl is reached without encryption: the password for it can be read.",
            f"Use https:// in {proxy.setting} if the proxy can do TLS.",
        )
    if _plain_database(settings.database_url.get_secret_value()):
        yield _plain(
            "PostgreSQL on another host may be reached without encryption: sslmode does not demand it.",
            "Add sslmode=verify-full (or require) to RESYNC_DATABASE_URL.",
        )


def check_base_urls(base_urls: Iterable[str]) -> Iterator[Finding]:
    """Warn of each Mirakl that is called without TLS."""
    for url in sorted({each for each in base_urls if each.startswith("http:")}):
        yield _plain(
            f"The Mirakl at {urlsplit(url).hostname} is called without encryption: its credential can be read.",
            "Use https:// in the base URL of the client specification.",
        )


def _plain(problem: str, remedy: str) -> Finding:
    return Finding(Level.WARN, "transport", problem, remedy)


def _plain_database(url: str) -> bool:
    parts = urlsplit(url)
    if not parts.scheme.startswith("postgresql"):
        return False
    options = parse_qs(parts.query)
    host = (options.get("host", [""])[0] or parts.hostname or "").lower()
    local = host in _LOOPBACK or host.startswith(("/", "127."))
    return not local and options.get("sslmode", [""])[0] not in _TLS_MODES
