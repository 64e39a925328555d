"""Common part of all calls to Mirakl: credential and headers, timeouts, the body, and descriptions of failures."""

import re
from typing import Final

import httpx

from consumer.adapters.mirakl.failures import ProxyTroubleError, cause
from consumer.adapters.mirakl.policy import MIRAKL
from consumer.adapters.mirakl.proxy import USER_AGENT
from consumer.domain.model import AuthScheme, ClientSpecification

_LOST: Final = "the connection was lost before the answer was complete"
_REASONS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (TimeoutError, "no answer within {total:g} s"),
    (httpx.PoolTimeout, "no connection of our own was free within {pool:g} s"),
    (httpx.ConnectTimeout, "no connection within {connect:g} s"),
    (httpx.WriteTimeout, "the request could not be written within {write:g} s"),
    (httpx.LocalProtocolError, "the credential cannot travel in an HTTP header"),
    (httpx.RemoteProtocolError, "the answer is not a complete HTTP/1.1 message"),
)
FAILURES: Final = (httpx.TransportError, OSError)
"""httpx's errors; and, both OSErrors, our time-outs and the TLS errors that httpx lets through."""

_FIELD_VALUE: Final = re.compile(rb"[!-~\x80-\xff]([\t -~\x80-\xff]*[!-~\x80-\xff])?")
"""RFC 9110, 5.5."""


class Times:
    """Seconds that one call may take: in total, and for each of its steps."""

    __slots__ = ("by_step", "total")

    def __init__(self, total: float) -> None:
        self.total = total
        self.by_step = {
            "pool": min(MIRAKL.pool_seconds, total / 4),
            "connect": min(MIRAKL.connect_seconds, total / 4),
            "write": min(MIRAKL.write_seconds, total),
        }

    def reason(self, error: Exception) -> str:
        """Return why a call failed, as a clause for people and for the error of results."""
        if isinstance(error, ProxyTroubleError):
            return error.reason
        if isinstance(error, httpx.ConnectError):
            return f"no connection: {cause(error)}"
        reason = next((reason for kind, reason in _REASONS if isinstance(error, kind)), _LOST)
        return reason.format(total=self.total, **self.by_step)


def headers(specification: ClientSpecification) -> list[tuple[bytes, bytes]]:
    """Return the headers of every call. Raises ``httpx.LocalProtocolError`` for a credential that cannot be one."""
    return [
        (b"Authorization", _authorization(specification)),
        (b"Accept", b"application/json"),
        (b"Accept-Encoding", b"identity"),
        (b"User-Agent", USER_AGENT),
    ]


def _authorization(specification: ClientSpecification) -> bytes:
    credential = specification.credential.encode()
    value = b"Bearer " + credential if specification.auth_scheme is AuthScheme.BEARER else credential
    if not _FIELD_VALUE.fullmatch(value):  # said here, in words that do not quote it
        raise httpx.LocalProtocolError("not the value of an HTTP header")
    return value


async def read_body(response: httpx.Response, body: bytearray) -> None:
    """Read the body as it came over the wire; anything beyond the policy's ``body_bytes`` stays unread."""
    async for chunk in response.stream:  # type: ignore[union-attr]
        body += chunk
        if len(body) > MIRAKL.body_bytes:
            del body[MIRAKL.body_bytes :]
            return
