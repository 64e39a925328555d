"""Request product resynchronizations on Kafka, and read their results.

A monitoring job::

    from producer_tools import ResyncPublisher

    with ResyncPublisher() as publisher:
        request_id = publisher.send([("MKL-001", "SKU-42")], requested_by="stock-monitor")

A subscriber::

    from producer_tools import ResyncResults

    for result in ResyncResults(follow=True):
        print(result.value.request_id, result.value.status)

Both read their settings from the environment (``RESYNC_KAFKA__BOOTSTRAP_SERVERS``, ``RESYNC_API_KEY``, …) unless they
are given some. Importing this package imports nothing heavy: its names come when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from producer_tools.dead_letters import DeadLetter, DeadLetters
    from producer_tools.errors import (
        InvalidRequestError,
        MisconfiguredError,
        Mistake,
        NotAcknowledgedError,
        ResyncToolError,
        UnreachableError,
    )
    from producer_tools.products import Product
    from producer_tools.publisher import ResyncPublisher, new_request
    from producer_tools.sender import Acknowledgement
    from producer_tools.subscriber import ReceivedResult, ResyncResults, UndecodableResult

_HOMES = {
    "Acknowledgement": "sender",
    "DeadLetter": "dead_letters",
    "DeadLetters": "dead_letters",
    "InvalidRequestError": "errors",
    "MisconfiguredError": "errors",
    "Mistake": "errors",
    "NotAcknowledgedError": "errors",
    "Product": "products",
    "ReceivedResult": "subscriber",
    "ResyncPublisher": "publisher",
    "ResyncResults": "subscriber",
    "ResyncToolError": "errors",
    "UndecodableResult": "subscriber",
    "UnreachableError": "errors",
    "new_request": "publisher",
}

__all__ = (
    "Acknowledgement",
    "DeadLetter",
    "DeadLetters",
    "InvalidRequestError",
    "MisconfiguredError",
    "Mistake",
    "NotAcknowledgedError",
    "Product",
    "ReceivedResult",
    "ResyncPublisher",
    "ResyncResults",
    "ResyncToolError",
    "UndecodableResult",
    "UnreachableError",
    "new_request",
)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
