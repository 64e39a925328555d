"""The CM21 call over HTTP: one batch in, one ``CallOutcome`` out, whatever Mirakl does.

The body is an array of entries with exactly two keys, which confirms pairs and cannot create a product (CM21.md).
"""

import asyncio
import logging
import time
from collections.abc import Callable
from json.encoder import encode_basestring_ascii as json_string

import httpx

from consumer.adapters.mirakl.address import synchronization_address
from consumer.adapters.mirakl.connections import ConnectionLeases, one_connection_each
from consumer.adapters.mirakl.exchange import FAILURES, Times, headers, read_body
from consumer.adapters.mirakl.failures import own_trouble
from consumer.adapters.mirakl.response import read_answer
from consumer.adapters.mirakl.way_out import WayOut
from consumer.domain.calls import CallFailure, CallOutcome, Unacknowledged
from consumer.domain.model import ClientSpecification, Products

_log = logging.getLogger(__name__)


class Cm21:
    """Calls Mirakl's CM21 for any client specification; for one event loop.

    ``call_timeout``: seconds for a whole call, from asking for a connection to the last byte of the answer.
    ``connections``: calls in flight. ``way_out``: proxy and trusted certificates; unset: no proxy, the public
    authorities. ``transport`` replaces the network in tests.
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
        self._times = Times(call_timeout)
        self._wall_clock = wall_clock
        new_transport = one_connection_each(way_out or WayOut()) if transport is None else lambda: transport
        self._leases = ConnectionLeases(connections, new_transport)

    async def synchronize(self, specification: ClientSpecification, products: Products) -> CallOutcome:
        """Send one batch, at least one pair; never raises for what Mirakl or the network do."""
        body = entries_json(products)
        deadline = asyncio.get_running_loop().time() + self._times.total
        written = asyncio.Event()  # the operating system has the request to its last byte
        try:
            request = self._request(specification, body, written.set)
            async with self._leases.lease(request.url, self._times.by_step["pool"]) as connection:
                async with asyncio.timeout_at(deadline):
                    response = await connection.handle_async_request(request)
                return await self._outcome(response, deadline, specification.credential)
        except FAILURES as error:
            own = own_trouble(error)
            if own is not None:
                _log.error("%s", own)
            ours = None if own is None else str(own)
            return CallFailure(self._times.reason(error), may_have_reached=written.is_set(), ours=ours)

    async def aclose(self) -> None:
        await self._leases.aclose()

    def _request(self, specification: ClientSpecification, body: bytes, written: Callable[[], None]) -> httpx.Request:
        return httpx.Request(
            "POST",
            synchronization_address(specification.base_url),
            headers=[*headers(specification), (b"Content-Type", b"application/json")],
            content=body,
            extensions={"timeout": self._times.by_step, "written": written},
        )

    async def _outcome(self, response: httpx.Response, deadline: float, credential: str) -> CallOutcome:
        body, broke_off = bytearray(), False
        try:
            async with asyncio.timeout_at(deadline):
                await read_body(response, body)
        except FAILURES:
            broke_off = True
            if not response.is_success:
                body.clear()  # only the status decides
        finally:
            await response.aclose()
        outcome = read_answer(
            response.status_code, response.headers, bytes(body), credential=credential, wall_time=self._wall_clock()
        )
        if broke_off and isinstance(outcome, Unacknowledged):  # a whole tracking id decides, however the rest ended
            return CallFailure("the answer broke off", may_have_reached=True, status=response.status_code)
        return outcome


def entries_json(products: Products) -> bytes:
    """Write the body of CM21. A blank id or SKU raises ``ValueError``: to Mirakl it would mean *create a product*."""
    if not (products and all(map(str.strip, products)) and all(map(str.strip, products.values()))):
        raise ValueError("a CM21 call needs at least one entry, and none with a blank id or SKU")
    entries = [
        f'{{"mirakl_product_id":{json_string(mirakl_product_id)},"product_sku":{json_string(product_sku)}}}'
        for mirakl_product_id, product_sku in products.items()
    ]
    return f"[{','.join(entries)}]".encode()
