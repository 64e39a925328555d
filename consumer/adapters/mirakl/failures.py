"""Why a call failed, in the words of the operating system and of TLS."""

import os
from collections.abc import Iterator
from socket import gaierror
from ssl import SSLCertVerificationError, SSLEOFError, SSLError

from consumer.adapters.mirakl.host_connections import OwnTroubleError


def own_trouble(error: Exception) -> str | None:
    """Return which of our own resources is lacking, with the remedy; ``None``: the failure is not ours."""
    return next((each.strerror for each in causes(error) if isinstance(each, OwnTroubleError)), None)


def cause(error: BaseException) -> str:
    """Return why there is no connection, in the operating system's words."""
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


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what it was made of, each once: causes and contexts may form a circle."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
