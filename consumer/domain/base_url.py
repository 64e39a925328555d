"""Validation of base URLs: where a credential may be sent, and the address of CM21 below one.

Operators paste a base URL with or without a trailing ``/`` and with or without ``/api`` (CM21.md, "base URL"):
all four mean the same Mirakl. A path in front of ``/api`` is kept, since gateways put Mirakl below one.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import SplitResult, urlsplit

from schemas.explanation import Explanation

SYNCHRONIZATION_PATH = "/api/mcm/products/synchronization"
"""CM21, below a normalised base URL (CM21.md)."""

MAXIMUM_LENGTH = 2048
"""Characters of a base URL: what browsers, proxies and gateways agree to carry."""

_HOST_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_LONGEST_HOST_NAME = 253
"""Characters (RFC 1035); a longer one makes name resolution raise instead of fail."""

_DEFAULT_PORTS = {"https": 443, "http": 80}

_URL_CHARACTERS = re.compile(r"[!-~]*")

_NO_HOST_AND_PORT = Explanation(
    "The base URL has no valid host and port.", "Write it as https://HOST or https://HOST:PORT."
)


@dataclass(frozen=True, slots=True)
class HostRules:
    """Hosts that the operator allows to be called, and those allowed over plain http; names in any letter case."""

    insecure: Collection[str] = ()
    """Host names that plain http is allowed for, next to loopback addresses."""
    allowed: Collection[str] | None = None
    """Hosts that may be called; ``*.mirakl.net``: every host below it, not that one itself. ``None``: any."""

    def allow(self, host: str) -> bool:
        """Return whether a host (lower case, with or without the final dot) may be called."""
        host = host.removesuffix(".")
        return self.allowed is None or any(_matches(host, pattern.strip().lower()) for pattern in self.allowed)


ANY_HOST = HostRules()
"""The rules of an operator who sets none."""


def base_url_problem(base_url: str, hosts: HostRules = ANY_HOST) -> Explanation | None:
    """Return why a credential must not or cannot be sent there, with the remedy; ``None``: it may.

    Never raises, and never repeats the URL: what people paste may contain a password.
    """
    if len(base_url) > MAXIMUM_LENGTH:
        return Explanation(
            f"The base URL is longer than {MAXIMUM_LENGTH} characters.", "Give only the address of Mirakl."
        )
    if not _URL_CHARACTERS.fullmatch(base_url) or "\\" in base_url:
        return Explanation(
            "The base URL contains white space, a backslash or a character outside ASCII.", "Paste it again."
        )
    try:
        parts = urlsplit(base_url)
        port = parts.port
    except ValueError:
        return _NO_HOST_AND_PORT
    return _shape_problem(base_url, parts, port) or _host_problem(parts, hosts)


def normalised(base_url: str) -> str:
    """Return the normal form of a base URL without a problem: no trailing ``/``, no trailing ``/api``."""
    parts = urlsplit(base_url)
    path = parts.path.rstrip("/")
    if path.endswith("/api"):
        path = path.removesuffix("/api").rstrip("/")
    return f"{parts.scheme}://{parts.netloc.lower()}{path}"


def origin(base_url: str) -> str:
    """Return ``scheme://host:port`` of a base URL without a problem: what a credential may be sent to.

    The port is always written, and a final dot of the host is not: both ways to write a host mean the same one.
    """
    parts = urlsplit(base_url)
    host = (parts.hostname or "").removesuffix(".")
    port = parts.port or _DEFAULT_PORTS[parts.scheme]
    return f"{parts.scheme}://[{host}]:{port}" if ":" in host else f"{parts.scheme}://{host}:{port}"


def synchronization_url(base_url: str) -> str:
    """Return the address of CM21 below a base URL for which ``base_url_problem`` finds nothing."""
    return normalised(base_url) + SYNCHRONIZATION_PATH


def _shape_problem(base_url: str, parts: SplitResult, port: int | None) -> Explanation | None:
    if parts.scheme not in ("https", "http"):
        return Explanation("The base URL does not begin with https://.", "Write it in full.")
    if "@" in parts.netloc:
        return Explanation(
            "The base URL contains a user name or password.", "Put the secret into the credential instead."
        )
    if "?" in base_url or "#" in base_url:
        return Explanation("The base URL contains a query or a fragment.", "Leave out the part from ? or # on.")
    if port == 0 or parts.netloc.lower() != _network_location(parts.hostname or "", port):
        return _NO_HOST_AND_PORT
    return None


def _host_problem(parts: SplitResult, hosts: HostRules) -> Explanation | None:
    host = parts.hostname or ""
    if not hosts.allow(host):
        return Explanation(
            "The base URL has a host that is not among the allowed ones.",
            "Correct it, or allow the host in RESYNC_MIRAKL__ALLOWED_HOSTS.",
        )
    if parts.scheme == "https" or _is_loopback(host) or host in {name.strip().lower() for name in hosts.insecure}:
        return None
    return Explanation(
        "The base URL uses plain http for a host that is not this machine.",
        "Use https, or allow the host in RESYNC_INSECURE_HOSTS.",
    )


def _matches(host: str, pattern: str) -> bool:
    return host.endswith(pattern[1:]) and host != pattern[1:] if pattern.startswith("*.") else host == pattern


def _network_location(host: str, port: int | None) -> str | None:
    """Return host and port as parsed: a text that differs was parsed leniently (``[::1]elsewhere``)."""
    if not _names_a_host(host):
        return None
    written = f"[{host}]" if ":" in host else host
    return written if port is None else f"{written}:{port}"


def _names_a_host(host: str) -> bool:
    if _address(host) is not None:
        return "%" not in host
    labels = host.removesuffix(".").split(".")
    return len(host) <= _LONGEST_HOST_NAME and all(_HOST_LABEL.fullmatch(label) for label in labels)


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
