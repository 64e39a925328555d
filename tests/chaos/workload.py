"""What is asked for, and what has to come of it: each record says in its key which kind of request it is."""

import random
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from schemas.avro.codec import RequestEncoder
from tests.support.records import RawRecord

NAMESPACE = uuid.UUID("0d8f2a44-90a5-4a0e-8df5-6a1b6c2f5e11")
UNKNOWN_SPECIFICATION = str(uuid.uuid5(NAMESPACE, "nobody"))
PRODUCTS_PER_CALL = 100
LARGE_PRODUCTS = 250
"""More than one call takes: such a request is split."""


class Kind(StrEnum):
    """Of a request."""

    RIGHT = "right"
    LARGE = "large"
    WRONG_KEY = "wrong-key"
    WRONG_SPECIFICATION = "wrong-specification"
    UNREADABLE = "unreadable"


MIX = {Kind.RIGHT: 965, Kind.LARGE: 5, Kind.WRONG_KEY: 10, Kind.WRONG_SPECIFICATION: 10, Kind.UNREADABLE: 10}
"""Of a thousand requests."""
EXPECTED_CODES = {
    Kind.WRONG_KEY: "API_KEY_INVALID",
    Kind.WRONG_SPECIFICATION: "CLIENT_SPECIFICATION_NOT_FOUND",
    Kind.UNREADABLE: "UNREADABLE",
}
"""Of the error, or the reason of the dead letter; the other kinds are synchronized."""


@dataclass(frozen=True, slots=True)
class Client:
    """A client specification and its instance of the simulated Mirakl, which has the same name."""

    name: str

    @property
    def id(self) -> str:
        """Of the specification."""
        return str(uuid.uuid5(NAMESPACE, self.name))


def clients(count: int) -> tuple[Client, ...]:
    """Those of a deployment."""
    return tuple(Client(f"client-{number}") for number in range(count))


def product_id(request: int, place: int) -> str:
    """Of a request's product: none is asked for twice, so each repeated call shows."""
    return f"MKL-{request}-{place}"


class Requests:
    """Makes requests by their number; ``seed`` decides about their kinds."""

    def __init__(self, api_key: str, seed: int, *, mix: bool = True) -> None:
        self._headers = (("dj-client", b"OPERATOR"), ("dj-api-key", api_key.encode()))
        self._wrong = (("dj-client", b"OPERATOR"), ("dj-api-key", b"nobody's key"))
        self._random = random.Random(seed)
        self._encoder = RequestEncoder()
        self._kinds: Sequence[Kind] = tuple(MIX) if mix else (Kind.RIGHT,)
        self._weights = [MIX[kind] for kind in self._kinds]

    def record(self, number: int, client: Client, partition: int) -> RawRecord:
        """A request of this client specification, of a kind that chance decides."""
        kind = self._random.choices(self._kinds, self._weights)[0]
        value = b"no request" if kind is Kind.UNREADABLE else self._value(number, kind, client)
        headers = self._wrong if kind is Kind.WRONG_KEY else self._headers
        return RawRecord(value, f"{kind}:{number}:{client.name}".encode(), headers, partition)

    def _value(self, number: int, kind: Kind, client: Client) -> bytes:
        products = LARGE_PRODUCTS if kind is Kind.LARGE else 1 + number % 3
        return self._encoder.encode(
            {
                "requestId": f"{kind}-{number}",
                "clientSpecificationId": UNKNOWN_SPECIFICATION if kind is Kind.WRONG_SPECIFICATION else client.id,
                "products": [
                    {"miraklProductId": product_id(number, place), "productSku": f"SKU-{number}-{place}"}
                    for place in range(products)
                ],
                "requestedAt": int(time.time() * 1000),
                "requestedBy": "chaos",
                "reason": None,
            }
        )
