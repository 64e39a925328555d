"""Certificates that Miraklis show, on the way that calls take. A connection ends with its handshake."""

import asyncio
from collections.abc import Iterable, Sequence

import anyio
import httpx
from anyio.streams.tls import TLSAttribute

from consumer.adapters.certificates import CertificateLook
from consumer.adapters.mirakl.connecting import connect
from consumer.adapters.mirakl.exchange import FAILURES, Times
from consumer.adapters.mirakl.failures import own_trouble, remedy
from consumer.adapters.mirakl.host_connections import HostConnections
from consumer.adapters.mirakl.policy import MIRAKL
from consumer.adapters.mirakl.way_out import WayOut
from schemas.explanation import Explanation


async def mirakl_certificates(
    base_urls: Iterable[str], way_out: WayOut, call_timeout: float
) -> Sequence[CertificateLook]:
    """Connect once to each origin that is called in TLS, several at a time, and return what it shows.

    A connection ends with its handshake; a failure is part of the answer, with its remedy.
    """
    urls = {(url.host, url.port): url for url in map(httpx.URL, base_urls) if url.scheme == "https"}
    hosts, free, times = HostConnections(), asyncio.Semaphore(MIRAKL.concurrent_looks), Times(call_timeout)

    async def look(url: httpx.URL) -> CertificateLook:
        async with free:
            return await _look(url, way_out, hosts, times)

    return await asyncio.gather(*map(look, urls.values()))


async def _look(url: httpx.URL, way_out: WayOut, hosts: HostConnections, times: Times) -> CertificateLook:
    server = f"Mirakl at {url.netloc.decode('ascii')}"
    try:
        stream = await connect(way_out, hosts, url, times.by_step["connect"])
    except FAILURES as error:
        found = own_trouble(error) or Explanation(f"It cannot be reached: {times.reason(error)}.", remedy(error))
        return CertificateLook(server, None, *found)
    try:
        return CertificateLook(server, stream.extra(TLSAttribute.peer_certificate_binary))  # noqa: S610 - not Django's
    finally:
        await anyio.aclose_forcefully(stream)
