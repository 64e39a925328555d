"""What taking alerts in needs of Kafka."""

from enum import Enum, auto
from typing import Protocol

from schemas.events import ProductResyncRequested


class Delivery(Enum):
    """What became of a record that was to be written."""

    ACKNOWLEDGED = auto()
    NOT_WRITTEN = auto()
    """It was never handed to the producer, or certainly refused by the brokers."""
    UNKNOWN = auto()
    """It was handed to the producer, and no acknowledgement came in time."""


class Publisher(Protocol):
    """Writes requests."""

    async def publish(self, request: ProductResyncRequested, api_key: str) -> Delivery:
        """Write one request and wait for its acknowledgement, within a bounded time.

        Raises ``InvalidRequest`` where the request is larger than the service reads.
        """
        ...
