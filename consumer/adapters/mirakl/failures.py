"""Why a call failed, in the words of the operating system and of TLS, and what to do about it."""

import os
from collections.abc import Iterator
from socket import gaierror
from ssl import SSLCertVerificationError, SSLEOFError, SSLError

import httpx

from consumer.adapters.mirakl.host_connections import OwnTroubleError
from schemas.explanation import Explanation


class ProxyTroubleError(httpx.ProxyError):
    """There is no tunnel through the proxy: it is not there, or it refuses. Both texts are free of credentials."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.reason = reason
        """A clause: ``the proxy answered 407: it wants a user and password``."""
        self.remedy = remedy
        """A sentence."""


def own_trouble(error: Exception) -> Explanation | None:
    """Return which of our own resources is lacking, with the remedy; ``None``: the failure is not ours."""
    return next((each.explanation for each in causes(error) if isinstance(each, OwnTroubleError)), None)


def cause(error: BaseException) -> str:
    """Return why there is no connection, in the words of the operating system or of TLS."""
    for each in causes(error):
        match each:
            case SSLCertVerificationError():
                return f"the certificate is not accepted: {each.verify_message}"
            case SSLEOFError():
                break
            case SSLError():
                return f"TLS failed: {getattr(each, 'reason', None) or 'no reason given'}"
            case gaierror():
                return "the host name cannot be looked up"
            case ExceptionGroup():
                return "none of the addresses of the host answered"
            case OSError(errno=int() as number):
                return os.strerror(number).lower()
            case _:
                continue
    return "the other side closed it"


def remedy(error: Exception) -> str:
    """Return what to do about a call without a complete answer: which part of address or way out to check."""
    for each in causes(error):
        match each:
            case ProxyTroubleError():
                return each.remedy
            case SSLCertVerificationError():
                return (
                    "Check the host of the base URL. If a proxy or this Mirakl has a certificate of your own "
                    "authority, set RESYNC_MIRAKL__CA_FILE to that authority's."
                )
            case SSLError():
                return "Check the port of the base URL, and whether https is spoken there."
            case gaierror():
                return "Check the host of the base URL. If only a proxy knows it, set RESYNC_MIRAKL__PROXY_URL."
            case _:
                continue
    return "Check host and port of the base URL, and the way out: firewall, RESYNC_MIRAKL__PROXY_URL."


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what it was made of, each once: causes and contexts may form a circle."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
