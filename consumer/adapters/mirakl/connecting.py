"""A connection to an address of Mirakl, directly or through the proxy, in TLS unless the address is plain http."""

from typing import Final

import anyio
import httpx
from anyio.abc import ByteStream

from consumer.adapters.mirakl.host_connections import HostConnections
from consumer.adapters.mirakl.proxy import tunnel
from consumer.adapters.mirakl.streams import LOST, encrypted
from consumer.adapters.mirakl.way_out import WayOut

_PORTS: Final = {"http": 80, "https": 443}


async def connect(way_out: WayOut, hosts: HostConnections, url: httpx.URL, seconds: float) -> ByteStream:
    """Return a stream to the address; each step may take ``seconds``.

    Raises ``httpx.ConnectTimeout``, ``httpx.ConnectError`` or ``ProxyTroubleError``.
    """
    host, port = url.raw_host.decode("ascii"), url.port or _PORTS[url.scheme]
    proxy = way_out.proxy_for(url)
    if proxy is not None:
        return await tunnel(proxy, hosts, way_out.tls, host, port, seconds)
    try:
        with anyio.fail_after(seconds):
            stream = await hosts.connect(host, port)
        return stream if url.scheme == "http" else await encrypted(stream, way_out.tls, host, seconds)
    except TimeoutError as error:
        raise httpx.ConnectTimeout("no connection in time") from error
    except (OSError, *LOST) as error:
        raise httpx.ConnectError("no connection") from error
