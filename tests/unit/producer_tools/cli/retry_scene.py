"""Requests and results in memory, for the tests of ``retry``."""

from typing import Any

from producer_tools.cli import main
from schemas.avro.codec import RequestDecoder, RequestEncoder, ResultEncoder
from tests.support.builders import result_fields
from tests.unit.producer_tools.fake_kafka import FakeBroker, FakeMessage

Place = tuple[int, int]

OTHER_SPECIFICATION = "99999999-2222-3333-4444-555555555555"

DECODER = RequestDecoder(registry=False, max_bytes=1 << 20)

ANSWERED_AT = 1_700_000_000_000


def error(code: str, *, retryable: bool) -> dict[str, Any]:
    more: dict[str, Any] = {"availableClientSpecificationIds": [], "fieldErrors": []}
    return {"httpStatus": 503, "code": code, "message": "Ask later.", "retryable": retryable, **more}


UNAVAILABLE: dict[str, Any] = {"status": "FAILED", "error": error("CM21_UNAVAILABLE", retryable=True)}

REFUSED: dict[str, Any] = {"status": "FAILED", "error": error("CM21_REFUSED", retryable=False)}

SYNCHRONIZED: dict[str, Any] = {}


class Scene:
    """Requests and their results, as producers and the service write them."""

    def __init__(self, broker: FakeBroker) -> None:
        self.broker = broker
        self.verdict: dict[str, Any] | None = None
        """What is answered to each request that is sent from now on; ``None``: nothing."""
        broker.answer = self._answer
        self._sent: list[FakeMessage] = []
        self._now = ANSWERED_AT

    def request(
        self, request_id: str, *products: str, partition: int = 0, key: bytes = b"key", **changes: object
    ) -> Place:
        fields = {
            "requestId": request_id,
            "clientSpecificationId": None,
            "products": [{"miraklProductId": name, "productSku": f"S-{name}"} for name in products or ("M1", "M2")],
            "requestedAt": ANSWERED_AT,
            "requestedBy": "somebody",
            "reason": None,
            **changes,
        }
        headers = [("dj-client", b"OPERATOR"), ("dj-api-key", key), ("correlation-id", b"c-" + request_id.encode())]
        message = self.broker.add("requests", partition, value_=RequestEncoder().encode(fields), headers_=headers)
        return message.partition_, message.offset_

    def result(
        self,
        request_id: str,
        place: Place,
        topic: str = "requests",
        tenant: str | None = "acme",
        **changes: Any,  # noqa: ANN401 - of any field
    ) -> None:
        self._now += 1000
        headers = [
            *([("resync-tenant", tenant.encode())] if tenant else []),
            ("resync-request-topic", topic.encode()),
            ("resync-request-partition", str(place[0]).encode()),
            ("resync-request-offset", str(place[1]).encode()),
        ]
        value = ResultEncoder().encode(result_fields(request_id, **changes))
        self.broker.add("results", 0, value_=value, key_=request_id.encode(), headers_=headers, timestamp_=self._now)

    def wait(self, hours: int) -> None:
        """Let time pass until the next result."""
        self._now += hours * 3_600_000

    def failed(self, request_id: str, *products: str, **changes: Any) -> Place:  # noqa: ANN401 - of any field
        """A request that was answered ``CM21_UNAVAILABLE``."""
        place = self.request(request_id, *products, **changes)
        self.result(request_id, place, **UNAVAILABLE)
        return place

    def retries(self) -> list[dict[str, Any]]:
        """What was sent, in order."""
        requests = [DECODER.decode(message.value_) for message in self._sent]
        return [request for request in requests if isinstance(request, dict)]

    def _answer(self, message: FakeMessage) -> None:
        self._sent.append(message)
        request = DECODER.decode(message.value_)
        assert isinstance(request, dict)
        if self.verdict is not None:
            self.result(request["requestId"], (message.partition_, message.offset_), **self.verdict)


def retry(*arguments: str) -> int:
    return main(["retry", "--yes", *arguments])
