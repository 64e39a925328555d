"""The CM21 call over HTTP: one batch in, one ``CallOutcome`` out, whatever Mirakl does.

The body is an array of entries with exactly two keys, which confirms pairs and cannot create a product (CM21.md).
"""

import asyncio
import logging
import re
import time
from collections.abc import Callable
from json.encoder import encode_basestring_ascii as json_string
from typing import Final

import httpx

from consumer.adapters.mirakl.address import synchronization_address
from consumer.adapters.mirakl.connections import ConnectionLeases, one_connection_each
from consumer.adapters.mirakl.failures import cause, own_trouble
from consumer.adapters.mirakl.proxy import USER_AGENT, ProxyTroubleError
from consumer.adapters.mirakl.response import MAX_BODY_BYTES, read_answer
from consumer.adapters.mirakl.way_out import WayOut
from consumer.domain.calls import CallFailure, CallOutcome, Unacknowledged
from consumer.domain.model import AuthScheme, ClientSpecification, Products

_log = logging.getLogger(__name__)

_POOL_SECONDS: Final = 10.0
"""Wait for a free connection; the engine's own limits keep calls from waiting here."""
_CONNECT_SECONDS: Final = 10.0
"""DNS and TCP, and as long again for TLS: a lost SYN is sent again after 1 s, a second after 3 s, a third after
7 s."""
_WRITE_SECONDS: Final = 30.0
"""The body of the request, which has a few hundred kilobytes at most."""

_LOST: Final = "the connection was lost before the answer was complete"
_REASONS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (TimeoutError, "no answer within {total:g} s"),
    (httpx.PoolTimeout, "no connection of our own was free within {pool:g} s"),
    (httpx.ConnectTimeout, "no connection within {connect:g} s"),
    (httpx.WriteTimeout, "the request could not be written within {write:g} s"),
    (httpx.LocalProtocolError, "the credential cannot travel in an HTTP header"),
    (httpx.RemoteProtocolError, "the answer is not a complete HTTP/1.1 message"),
)
_FAILURES: Final = (httpx.TransportError, OSError)
"""httpx's errors; and, both OSErrors, our time-outs and the TLS errors that httpx lets through."""

_FIELD_VALUE: Final = re.compile(rb"[!-~\x80-\xff]([\t -~\x80-\xff]*[!-~\x80-\xff])?")
"""RFC 9110, 5.5."""


class Cm21:
    """Calls Mirakl's CM21 for any client specification; for one event loop.

    ``call_timeout``: seconds for a whole call, from asking for a connection to the last byte of the answer.
    ``connections``: calls in flight. ``way_out``: proxy and trusted certificates; unset: no proxy, the system's
    certificates. ``transport`` replaces the network in tests.
    """

    def __init__(
        self,
        call_timeout: float,
        connections: int = 256,
        *,
        way_out: WayOut | None = None,
        wall_clock: Callable[[], float] = time.time,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._call_timeout = call_timeout
        self._wall_clock = wall_clock
        new_transport = one_connection_each(way_out or WayOut()) if transport is None else lambda: transport
        self._leases = ConnectionLeases(connections, new_transport)
        self._timeouts = {
            "pool": min(_POOL_SECONDS, call_timeout / 4),
            "connect": min(_CONNECT_SECONDS, call_timeout / 4),
            "write": min(_WRITE_SECONDS, call_timeout),
        }

    async def synchronize(self, specification: ClientSpecification, products: Products) -> CallOutcome:
        """Send one batch, at least one pair; never raises for what Mirakl or the network do."""
        body = entries_json(products)
        deadline = asyncio.get_running_loop().time() + self._call_timeout
        written = asyncio.Event()  # the operating system has the request to its last byte
        try:
            request = self._request(specification, body, written.set)
            async with self._leases.lease(request.url, self._timeouts["pool"]) as connection:
                async with asyncio.timeout_at(deadline):
                    response = await connection.handle_async_request(request)
                return await self._outcome(response, deadline, specification.credential)
        except _FAILURES as error:
            own = own_trouble(error)
            if own is not None:
                _log.error("%s", own)
            return CallFailure(self._reason(error), may_have_reached=written.is_set(), ours=own)

    async def aclose(self) -> None:
        """Close all idle connections."""
        await self._leases.aclose()

    def _request(self, specification: ClientSpecification, body: bytes, written: Callable[[], None]) -> httpx.Request:
        return httpx.Request(
            "POST",
            synchronization_address(specification.base_url),
            headers=[
                (b"Authorization", _authorization(specification)),
                (b"Content-Type", b"application/json"),
                (b"Accept", b"application/json"),
                (b"Accept-Encoding", b"identity"),
                (b"User-Agent", USER_AGENT),
            ],
            content=body,
            extensions={"timeout": self._timeouts, "written": written},
        )

    async def _outcome(self, response: httpx.Response, deadline: float, credential: str) -> CallOutcome:
        body, broke_off = bytearray(), False
        try:
            async with asyncio.timeout_at(deadline):
                await _read_body(response, body)
        except _FAILURES:
            broke_off = True
            if not response.is_success:
                body.clear()  # the status alone decides
        finally:
            await response.aclose()
        outcome = read_answer(
            response.status_code, response.headers, bytes(body), credential=credential, wall_time=self._wall_clock()
        )
        if broke_off and isinstance(outcome, Unacknowledged):  # a whole tracking id decides, however the rest ended
            return CallFailure("the answer broke off", may_have_reached=True, status=response.status_code)
        return outcome

    def _reason(self, error: Exception) -> str:
        if isinstance(error, ProxyTroubleError):
            return error.reason
        if isinstance(error, httpx.ConnectError):
            return f"no connection: {cause(error)}"
        reason = next((reason for kind, reason in _REASONS if isinstance(error, kind)), _LOST)
        return reason.format(total=self._call_timeout, **self._timeouts)


def entries_json(products: Products) -> bytes:
    """Write the body of CM21. A blank id or SKU raises ``ValueError``: to Mirakl it would mean *create a product*."""
    if not (products and all(map(str.strip, products)) and all(map(str.strip, products.values()))):
        raise ValueError("a CM21 call needs at least one entry, and none with a blank id or SKU")
    entries = [
        f'{{"mirakl_product_id":{json_string(mirakl_product_id)},"product_sku":{json_string(product_sku)}}}'
        for mirakl_product_id, product_sku in products.items()
    ]
    return f"[{','.join(entries)}]".encode()


def _authorization(specification: ClientSpecification) -> bytes:
    credential = specification.credential.encode()
    value = b"Bearer " + credential if specification.auth_scheme is AuthScheme.BEARER else credential
    if not _FIELD_VALUE.fullmatch(value):  # said here, in words that do not quote it
        raise httpx.LocalProtocolError("not the value of an HTTP header")
    return value


async def _read_body(response: httpx.Response, body: bytearray) -> None:
    """Read the body as it came over the wire; anything beyond the limit stays unread."""
    async for chunk in response.stream:  # type: ignore[union-attr]
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            del body[MAX_BODY_BYTES:]
            return
