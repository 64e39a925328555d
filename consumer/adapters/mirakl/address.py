"""The address of CM21 as the HTTP client uses it, and whether it can be built from a base URL.

The rules of ``consumer.domain.base_url`` say where a credential may go. The HTTP client has rules of its own, such
as IDNA 2008 for ``xn--`` labels; so a base URL is checked by building the very request that a call sends.
"""

from functools import lru_cache

import httpx

from consumer.domain import base_url as rules
from consumer.domain.base_url import ANY_HOST, HostRules
from schemas.explanation import Explanation
from schemas.settings import Settings


def base_url_problem(base_url: str, hosts: HostRules = ANY_HOST) -> Explanation | None:
    """Return why no call can be made there, with the remedy; ``None``: calls can be made.

    Never raises, and never repeats the URL: what people paste may contain a password.
    """
    return rules.base_url_problem(base_url, hosts) or _client_problem(base_url)


def host_rules(settings: Settings) -> HostRules:
    """Return which hosts the operator's settings allow to be called, and which over plain http."""
    return HostRules(settings.insecure_hosts, settings.mirakl.allowed_hosts)


@lru_cache(maxsize=1024)  # parsing a URL costs as much as a fifth of a call
def synchronization_address(base_url: str) -> httpx.URL:
    """Return the address of CM21 below a base URL without a problem."""
    return httpx.URL(rules.synchronization_url(base_url))


def state_address(base_url: str, tracking_id: str) -> httpx.URL:
    """Return the address of CM22 for a tracking id that needs no escaping."""
    return httpx.URL(f"{rules.synchronization_url(base_url)}/{tracking_id}")


def _client_problem(base_url: str) -> Explanation | None:
    try:
        address = synchronization_address(base_url)
        httpx.Request("POST", address)
        address.raw_host.decode("ascii").encode("idna")  # as name look-ups and TLS do
    except Exception:  # noqa: BLE001 - whatever the client raises here, it would raise in each call
        return Explanation(
            "The base URL has a host name that cannot be called: its IDNA form is not valid.", "Correct its spelling."
        )
    return None
