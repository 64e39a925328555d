"""The gateway's application without Kafka: what is written is kept, results come when a test says so."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, cast

import httpx

from producer_tools.gateway.app import AnsweredCall, create_app
from producer_tools.gateway.bodies import Bodies
from producer_tools.gateway.calls import PATH, Calls
from producer_tools.gateway.known_results import ResultRecord
from producer_tools.gateway.policy import GatewayPolicy
from producer_tools.gateway.problems import Problem
from producer_tools.gateway.request_writer import RequestWriter
from producer_tools.registry_access import ResultReader
from producer_tools.sender import Acknowledgement, OutgoingRecord, RecordSender
from schemas.avro.codec import RequestDecoder, RequestEncoder, ResultEncoder
from schemas.settings import GatewaySettings, SchemaRegistrySettings

KEY = "mrk_key"
SPECIFICATION = "0b6ff0dd-6e62-4f9f-8c6b-0f2e5a4e9d11"
BODY = {"products": [{"miraklProductId": "MKL-001", "productSku": "SKU-42"}]}
OK_RESULT: dict[str, Any] = {
    "status": "SYNCHRONIZED",
    "synchronizedProducts": 1,
    "clientSpecificationId": SPECIFICATION,
    "trackingIds": ["4711"],
    "unsynchronizedProducts": [],
    "error": None,
}


def error(code: str, http_status: int, **fields: object) -> dict[str, Any]:
    """Return the fields of a failed result."""
    details = {
        "httpStatus": http_status,
        "code": code,
        "message": f"{code} happened.",
        "retryable": False,
        "availableClientSpecificationIds": [],
        "fieldErrors": [],
        **fields,
    }
    return {"status": "FAILED", "synchronizedProducts": 0, "trackingIds": [], "error": details}


_RESULTS = ResultEncoder()


class FakeSender:
    """A producer whose acknowledgements come when a test wants them."""

    def __init__(self) -> None:
        self.records: list[OutgoingRecord] = []
        self.futures: list[Future[Acknowledgement]] = []
        self.acknowledges = True
        self.has_room = True
        self.refusal: Exception | None = None

    def offer(self, record: OutgoingRecord) -> Future[Acknowledgement] | None:
        """As ``RecordSender.offer``."""
        if self.refusal is not None:
            raise self.refusal
        if not self.has_room:
            return None
        future = Future[Acknowledgement]()
        future.set_running_or_notify_cancel()
        self.records.append(record)
        self.futures.append(future)
        if self.acknowledges:
            future.set_result(Acknowledgement("requests", 0, len(self.records)))
        return future


class World:
    """One gateway. To be made on the event loop; ``call`` is a caller of the published operation."""

    def __init__(self, policy: GatewayPolicy | None = None, *, signs: bool = False, **settings: object) -> None:
        self.policy = policy or GatewayPolicy()
        self.settings = GatewaySettings.model_validate(settings)
        self.sender = FakeSender()
        self.problem: Problem | None = None
        self.answered: list[AnsweredCall] = []
        self.writer = RequestWriter(cast("RecordSender", self.sender), RequestEncoder(), 1 << 20, lambda: self.problem)
        self.calls = Calls(
            self.settings,
            self.policy,
            request_deadline=300.0,
            signs=signs,
            bodies=Bodies(self.policy, self.settings.max_body_bytes),
            writer=self.writer,
            decoder=ResultReader(SchemaRegistrySettings()),
        )
        self.app = create_app(self.calls, self.policy, self.answered.append)
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app, raise_app_exceptions=False), base_url="http://gateway"
        )
        self._decoder = RequestDecoder(registry=False, max_bytes=1 << 20)

    async def call(self, body: object = BODY, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """Make the published call, with the key unless ``headers`` say otherwise."""
        content = {"content": body} if isinstance(body, bytes) else {"json": body}
        given = {"dj-client": "OPERATOR", "dj-api-key": KEY, "content-type": "application/json", **(headers or {})}
        return await self.http.post(PATH, headers=given, **content)

    async def answered_call(
        self, result: Mapping[str, Any] = OK_RESULT, body: object = BODY, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Make the call, and give its request this result as soon as it is written."""
        before = len(self.sender.records)
        calling = asyncio.create_task(self.call(body, headers))
        await self.written(before + 1, unless=calling)
        if len(self.sender.records) > before:
            self.give_result(self.request()["requestId"], result)
        return await calling

    async def written(self, count: int, unless: "asyncio.Task[Any] | None" = None) -> None:
        """Wait until so many requests are written, or the call has been answered without."""
        until = time.monotonic() + 5
        while len(self.sender.records) < count and not (unless is not None and unless.done()):
            assert time.monotonic() < until, "nothing was written"
            await asyncio.sleep(0.001)

    def request(self, index: int = -1) -> dict[str, Any]:
        """Return a request that was written."""
        decoded = self._decoder.decode(self.sender.records[index].value)
        assert isinstance(decoded, dict)
        return decoded

    def give_result(self, request_id: str, result: Mapping[str, Any] = OK_RESULT) -> None:
        """Let the results reader deliver a result."""
        self.calls.take_results([result_record(request_id, result)])


def result_record(request_id: str, result: Mapping[str, Any] = OK_RESULT) -> ResultRecord:
    """Return a result as it stands on the topic."""
    fields = {
        "requestId": request_id,
        "clientSpecificationId": None,
        "unsynchronizedProducts": [],
        "requestedAt": 1_700_000_000_000,
        "completedAt": 1_700_000_000_250,
        **result,
    }
    return ResultRecord(request_id, _RESULTS.encode(fields), None, 1_700_000_000_250)


async def cancelled(task: "asyncio.Task[Any]") -> None:
    """Cancel a caller, as one that hangs up."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def run(story: Callable[[], Awaitable[None]]) -> None:
    """Run a coroutine on a loop of its own."""
    asyncio.run(story())  # type: ignore[arg-type]  # async functions return coroutines
