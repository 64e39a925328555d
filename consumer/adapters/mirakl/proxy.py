"""The tunnel through a forward proxy: ``CONNECT``, then TLS with Mirakl itself (RFC 9110, section 9.3.6).

The proxy is told the host and the port, and never sees a request or a credential of Mirakl. No step of a tunnel can
have reached Mirakl. So whatever the proxy does, the call is made again later, as after any failed connection.
"""

import ssl
from base64 import b64encode
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import anyio
import httpx
from anyio.abc import ByteStream

from consumer import __version__
from consumer.adapters.mirakl.failures import ProxyTroubleError, cause
from consumer.adapters.mirakl.host_connections import HostConnections
from consumer.adapters.mirakl.policy import MIRAKL
from consumer.adapters.mirakl.response_reader import AnswerLimits, AnswerReader, BrokenAnswerError
from consumer.adapters.mirakl.streams import LOST, encrypted

USER_AGENT: Final = f"mirakl-resync/{__version__}".encode()
LIMITS: Final = AnswerLimits(received_bytes=16 * 1024, head_bytes=16 * 1024, header_lines=100)
"""Limits of the response to ``CONNECT``. Only its status counts, and a refusal's body is not read to its end."""

_PORTS: Final = {"http": 80, "https": 443}
_CHECK_URL: Final = "Check {setting}: it must be the URL of a forward proxy, with http:// or https:// as it listens."
_LOGIN: Final = frozenset({HTTPStatus.PROXY_AUTHENTICATION_REQUIRED, HTTPStatus.UNAUTHORIZED})
"""Tinyproxy answers a wrong password with 401."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A forward proxy and the credentials for it, which are part of no ``repr``."""

    host: str
    port: int
    encrypted: bool
    """It is spoken to in TLS."""
    authorization: bytes | None = field(repr=False)
    """The value of ``Proxy-Authorization``."""
    setting: str
    """The variable that it comes from."""

    @classmethod
    def of(cls, url: str, setting: str) -> "Proxy":
        """Read a URL that was checked with the settings: http(s), with or without user and password."""
        parsed = httpx.Proxy(url)
        credentials = parsed.raw_auth
        return cls(
            parsed.url.raw_host.decode("ascii"),
            parsed.url.port or _PORTS[parsed.url.scheme],
            parsed.url.scheme == "https",
            None if credentials is None else b"Basic " + b64encode(b":".join(credentials)),
            setting,
        )

    def __str__(self) -> str:
        return f"{'https' if self.encrypted else 'http'}://{_authority(self.host, self.port)}"

    def connect_request(self, host: str, port: int) -> bytes:
        """Return the request for a tunnel (``CONNECT``) to a host, with credentials where there are some."""
        target = _authority(host, port).encode("ascii")
        lines = [b"CONNECT %s HTTP/1.1" % target, b"Host: " + target, b"User-Agent: " + USER_AGENT]
        if self.authorization is not None:
            lines.append(b"Proxy-Authorization: " + self.authorization)
        return b"\r\n".join([*lines, b"", b""])


async def tunnel(
    proxy: Proxy, hosts: HostConnections, tls: ssl.SSLContext, host: str, port: int, seconds: float
) -> ByteStream:
    """Return a stream that is encrypted to ``host``; each step may take ``seconds``. Raises ``ProxyTroubleError``."""
    stream = await _connected(proxy, hosts, tls, seconds)
    try:
        await _open(stream, proxy, host, port, seconds)
    except BaseException:
        await anyio.aclose_forcefully(stream)
        raise
    try:
        return await encrypted(stream, tls, host, seconds)
    except TimeoutError as error:
        reason = f"no TLS connection through the proxy within {seconds:g} s"
        raise ProxyTroubleError(reason, "Check whether the proxy passes on what Mirakl answers.") from error
    except (OSError, *LOST) as error:
        remedy = "If the proxy has certificates of its own, set RESYNC_MIRAKL__CA_FILE to its authority's."
        raise ProxyTroubleError(f"no connection through the proxy: {cause(error)}", remedy) from error


async def _connected(proxy: Proxy, hosts: HostConnections, tls: ssl.SSLContext, seconds: float) -> ByteStream:
    remedy = f"Check {proxy.setting}, and whether the proxy runs."
    try:
        with anyio.fail_after(seconds):
            stream = await hosts.connect(proxy.host, proxy.port)
        return await encrypted(stream, tls, proxy.host, seconds) if proxy.encrypted else stream
    except TimeoutError as error:
        raise ProxyTroubleError(f"no connection to the proxy within {seconds:g} s", remedy) from error
    except (OSError, *LOST) as error:
        raise ProxyTroubleError(f"no connection to the proxy: {cause(error)}", remedy) from error


async def _open(stream: ByteStream, proxy: Proxy, host: str, port: int, seconds: float) -> None:
    """Ask for the tunnel. On return, the next byte of the stream is Mirakl's."""
    reader = AnswerReader(LIMITS)
    try:
        with anyio.fail_after(seconds):
            await stream.send(proxy.connect_request(host, port))
            while (head := reader.head()) is None:
                reader.receive(await stream.receive(MIRAKL.proxy_read_bytes))
    except TimeoutError as error:
        remedy = f"Check whether the proxy works, and whether it can reach {host}:{port}."
        raise ProxyTroubleError(f"the proxy did not answer within {seconds:g} s", remedy) from error
    except BrokenAnswerError as error:
        remedy = _CHECK_URL.format(setting=proxy.setting)
        raise ProxyTroubleError("the proxy's answer is not HTTP/1.1", remedy) from error
    except (OSError, *LOST) as error:
        remedy = _CHECK_URL.format(setting=proxy.setting)
        raise ProxyTroubleError("the proxy closed the connection instead of answering", remedy) from error
    if not HTTPStatus.OK <= head.status < HTTPStatus.MULTIPLE_CHOICES:
        reason, remedy = _refusal(proxy, head.status)
        remedy = remedy.format(setting=proxy.setting, host=host, port=port)
        raise ProxyTroubleError(f"the proxy answered {head.status}: {reason}", remedy)
    if reader.more:  # a server says nothing before TLS begins, so this is a page of the proxy
        remedy = _CHECK_URL.format(setting=proxy.setting)
        raise ProxyTroubleError("the proxy answered with a page instead of a tunnel", remedy)


def _refusal(proxy: Proxy, status: int) -> tuple[str, str]:
    if status in _LOGIN:
        wanted = "it wants a user and password" if proxy.authorization is None else "it refuses our user and password"
        return wanted, "Set {setting} to http://USER:PASSWORD@HOST:PORT; the proxy must accept Basic authentication."
    if status == HTTPStatus.FORBIDDEN:
        return "it does not allow this host or port", "Have it allow CONNECT to {host}:{port}."
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return "it cannot reach Mirakl", "Check the base URL, and whether the proxy can reach {host}:{port}."
    return "it opens no tunnel", _CHECK_URL


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
