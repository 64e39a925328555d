"""The CM21 call over httpx: one batch out, one ``CallOutcome`` back, whatever Mirakl does.

The body is an array of entries with exactly two keys, which confirms pairs and cannot create a product (CM21.md).
"""

import asyncio
import os
import time
from collections.abc import Callable
from functools import lru_cache
from json.encoder import encode_basestring_ascii as json_string
from socket import gaierror
from ssl import SSLCertVerificationError, SSLError
from typing import Final

import httpx

from consumer import __version__
from consumer.adapters.cm21_answer import MAX_BODY_BYTES, read_answer
from consumer.adapters.http1 import WRITTEN, LeasedConnections
from consumer.domain.base_url import synchronization_url
from consumer.domain.calls import CallFailure, CallOutcome
from consumer.domain.model import AuthScheme, ClientSpecification, Products

_CONNECT_SECONDS: Final = 10.0
"""For DNS, TCP and TLS together: one lost SYN is sent again after 1 s, a second after 3 s, a third after 7 s."""
_POOL_SECONDS: Final = 10.0
"""For a free connection; the engine's own limits keep calls from waiting here."""
_WRITE_SECONDS: Final = 30.0
"""Between two signs of life while the request is being written: no more than a few hundred kilobytes."""

_LOST: Final = "the connection was lost before the answer was complete"
_REASONS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (TimeoutError, "no answer within {total:g} s"),
    (httpx.ReadTimeout, "no answer within {total:g} s"),
    (httpx.PoolTimeout, "no connection of our own was free within {pool:g} s"),
    (httpx.ConnectTimeout, "no connection within {connect:g} s"),
    (httpx.ConnectError, "no connection: {cause}"),
    (httpx.WriteTimeout, "the request could not be written within {write:g} s"),
    (httpx.LocalProtocolError, "the credential cannot travel in an HTTP header"),
    (httpx.RemoteProtocolError, "the answer is not a complete HTTP/1.1 message"),
)


class Cm21:
    """Calls Mirakl's CM21 for any client specification; for one event loop.

    ``call_timeout``: seconds for a whole call, from asking for a connection to the last byte of the answer.
    ``connections``: calls out at once. ``transport`` takes the place of the network, for tests.
    """

    def __init__(
        self,
        call_timeout: float,
        connections: int = 256,
        *,
        wall_clock: Callable[[], float] = time.time,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._call_timeout = call_timeout
        self._wall_clock = wall_clock
        self._transport = transport or LeasedConnections(httpx.create_ssl_context(), connections)
        self._timeouts = {
            "pool": min(_POOL_SECONDS, call_timeout),
            "connect": min(_CONNECT_SECONDS, call_timeout),
            "write": min(_WRITE_SECONDS, call_timeout),
            "read": call_timeout,
        }

    async def synchronize(self, specification: ClientSpecification, products: Products) -> CallOutcome:
        """Send one batch, at least one pair; never raises for what Mirakl or the network do."""
        request = self._request(specification, products)
        deadline = asyncio.get_running_loop().time() + self._call_timeout
        try:
            async with asyncio.timeout_at(deadline):
                response = await self._transport.handle_async_request(request)
        except (TimeoutError, httpx.TransportError) as error:
            return CallFailure(self._reason(error), may_have_reached=WRITTEN in request.extensions)
        try:
            async with asyncio.timeout_at(deadline):
                body = await _bounded_body(response)
        except (TimeoutError, httpx.TransportError):
            if response.is_success:
                return CallFailure("the answer broke off", may_have_reached=True, status=response.status_code)
            body = b""  # the status alone decides
        finally:
            await response.aclose()
        return read_answer(
            response.status_code,
            response.headers,
            body,
            credential=specification.credential,
            wall_time=self._wall_clock(),
        )

    async def aclose(self) -> None:
        """Close all idle connections."""
        await self._transport.aclose()

    def _request(self, specification: ClientSpecification, products: Products) -> httpx.Request:
        return httpx.Request(
            "POST",
            _url(specification.base_url),
            headers=[
                (b"Authorization", _authorization(specification)),
                (b"Content-Type", b"application/json"),
                (b"Accept", b"application/json"),
                (b"Accept-Encoding", b"identity"),
                (b"User-Agent", _USER_AGENT),
            ],
            content=entries_json(products),
            extensions={"timeout": self._timeouts},
        )

    def _reason(self, error: Exception) -> str:
        reason = next((reason for kind, reason in _REASONS if isinstance(error, kind)), _LOST)
        return reason.format(total=self._call_timeout, cause=_cause(error), **self._timeouts)


_USER_AGENT: Final = f"mirakl-resync/{__version__}".encode()


def entries_json(products: Products) -> bytes:
    """Write the body of CM21. A blank id or SKU raises ``ValueError``: to Mirakl it would mean *create a product*."""
    if not (products and all(map(str.strip, products)) and all(map(str.strip, products.values()))):
        raise ValueError("a CM21 call needs at least one entry, and none with a blank id or SKU")
    entries = [
        f'{{"mirakl_product_id":{json_string(mirakl_product_id)},"product_sku":{json_string(product_sku)}}}'
        for mirakl_product_id, product_sku in products.items()
    ]
    return f"[{','.join(entries)}]".encode()


@lru_cache(maxsize=1024)  # parsing a URL costs as much as a fifth of a call
def _url(base_url: str) -> httpx.URL:
    return httpx.URL(synchronization_url(base_url))


def _authorization(specification: ClientSpecification) -> bytes:
    credential = specification.credential.encode()
    return b"Bearer " + credential if specification.auth_scheme is AuthScheme.BEARER else credential


async def _bounded_body(response: httpx.Response) -> bytes:
    """Read the body as it came over the wire; what lies beyond the bound stays unread."""
    body = b""
    async for chunk in response.stream:  # type: ignore[union-attr]
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            break
    return body[:MAX_BODY_BYTES]


def _cause(error: BaseException) -> str:
    """Say why there is no connection, in the operating system's words."""
    match error.__cause__:
        case SSLCertVerificationError() as cause:
            return f"the certificate is not accepted: {cause.verify_message}"
        case SSLError() as cause:
            return f"TLS failed: {cause.reason}"
        case gaierror():
            return "the host name cannot be looked up"
        case OSError(errno=int() as number):
            return os.strerror(number).lower()
        case OSError():
            return "none of the addresses of the host answered"
        case _:
            return "the host name is none"
