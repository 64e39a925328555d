"""The way out to Mirakl: which certificates are trusted, and which addresses are called through a proxy.

Only ``https`` addresses go through a proxy: within a tunnel it sees the host and nothing else. Plain http, which is
for this machine and for hosts that the operator names, is always called directly, so that no proxy sees a credential.
"""

import ssl
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx

from consumer.adapters.mirakl.proxy import Proxy
from schemas.settings import MiraklSettings
from schemas.settings.foreign import with_scheme

PROXY_SETTING: Final = "RESYNC_MIRAKL__PROXY_URL"
PROXY_VARIABLE: Final = "HTTPS_PROXY"


def trust(ca_file: Path | None = None) -> ssl.SSLContext:
    """Return a TLS context for HTTP/1.1 that trusts these authorities; ``None``: the public ones."""
    tls = httpx.create_ssl_context() if ca_file is None else ssl.create_default_context(cafile=ca_file)
    tls.set_alpn_protocols(["http/1.1"])
    return tls


@dataclass(frozen=True, slots=True)
class WayOut:
    """Way to Mirakl: proxy, trusted certificate authorities and allowed hosts, from settings and environment."""

    tls: ssl.SSLContext = field(default_factory=trust)
    proxy: Proxy | None = None
    no_proxy: str = ""
    """Hosts to call directly, written as in ``NO_PROXY``."""

    @classmethod
    def of(cls, settings: MiraklSettings) -> "WayOut":
        """Return the way that is configured; without a proxy in the settings, that of the environment, if any.

        The environment is read by the standard library, as by most programs: lower-case names first, ``NO_PROXY``
        with host names and what is below them (``urllib.request``).
        """
        tls = trust(settings.ca_file)
        if settings.proxy_url is not None:
            return cls(tls, Proxy.of(settings.proxy_url.get_secret_value(), PROXY_SETTING))
        environment = urllib.request.getproxies_environment()
        if "https" not in environment:
            return cls(tls)
        return cls(tls, Proxy.of(with_scheme(environment["https"]), PROXY_VARIABLE), environment.get("no", ""))

    def proxy_for(self, url: httpx.URL) -> Proxy | None:
        """Return the proxy on the way to an address; ``None``: it is called directly."""
        if self.proxy is None or url.scheme != "https":
            return None
        return None if self._is_direct(url) else self.proxy

    def _is_direct(self, url: httpx.URL) -> bool:
        """Return whether ``no_proxy`` names the host, with or without its port, final dot, and brackets of IPv6."""
        host = url.raw_host.decode("ascii").removesuffix(".")
        written = f"[{host}]" if ":" in host else host
        with_port = written if url.port is None else f"{written}:{url.port}"
        no_proxy = {"no": ",".join(each.strip().removesuffix(".") for each in self.no_proxy.split(","))}
        return any(
            urllib.request.proxy_bypass_environment(each, no_proxy)  # type: ignore[attr-defined]  # typeshed lacks it
            for each in (host, written, with_port)
        )
