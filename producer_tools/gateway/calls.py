"""Calls of the published operation: API key, request id, hand-over to Kafka, result or problem."""

import asyncio
import json
import logging
import re
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from http import HTTPStatus
from typing import Any, Final

from pydantic.alias_generators import to_camel
from starlette.requests import Request
from starlette.responses import Response

from producer_tools.errors import InvalidRequestError, ResyncToolError
from producer_tools.gateway.api_keys import ApiKeys
from producer_tools.gateway.bodies import Bodies
from producer_tools.gateway.known_results import KnownResults, ResultRecord
from producer_tools.gateway.policy import GATEWAY, GatewayPolicy
from producer_tools.gateway.preferences import Preferences, preferences
from producer_tools.gateway.problems import (
    REQUEST_ID_HEADER,
    Problem,
    ProblemError,
    validation_refusal,
)
from producer_tools.gateway.request_ids import idempotent_request_id, new_request_id, time_of
from producer_tools.gateway.request_writer import NotWrittenError, RequestWriter
from producer_tools.gateway.service_clock import ServiceClock
from producer_tools.gateway.synchronization import Synchronization, synchronization
from producer_tools.gateway.waiting_room import Ending, Exchange, WaitingRoom, settle
from producer_tools.registry_access import ResultReader
from producer_tools.sender import OutgoingRecord
from producer_tools.topic_reader import Headers
from schemas.avro.codec import UnknownSchema
from schemas.contract import (
    API_KEY_HEADER,
    CLIENT_HEADER,
    CORRELATION_HEADER,
    OPERATOR,
    SCHEMA_ID_HEADER,
    TRACEPARENT_HEADER,
    TRACESTATE_HEADER,
    ErrorCode,
    GatewayCode,
)
from schemas.events import ProductResyncRequested, ProductResyncResult, ResyncStatus
from schemas.settings import GatewaySettings

PATH: Final = "/v1/mapper/mirakl/product-synchronizations"
PASSED_ON: Final = (CLIENT_HEADER, API_KEY_HEADER, TRACEPARENT_HEADER, TRACESTATE_HEADER, CORRELATION_HEADER)
"""Headers of a call that become headers of the record, byte for byte."""
_IDEMPOTENCY_KEY: Final = re.compile(rb'"([!-~]{1,255})"|([!-~]{1,255})')
HUNG_UP_STATUS: Final = 499
"""Of a call whose caller hung up, in the log and the metrics; nobody gets this response."""

_log = logging.getLogger(__name__)


class Calls:
    """The two endpoints of the published operation. All methods run on one event loop, and none blocks it."""

    def __init__(
        self,
        settings: GatewaySettings,
        policy: GatewayPolicy,
        *,
        request_deadline: float,
        signs: bool,
        bodies: Bodies,
        writer: RequestWriter,
        decoder: ResultReader,
    ) -> None:
        self._settings = settings
        self._policy = policy
        self._pending_seconds = request_deadline + policy.pending_grace_seconds
        self._bodies = bodies
        self._writer = writer
        self._decoder = decoder
        self._learning = asyncio.Lock()
        self._keys = ApiKeys(policy, settings.calls_per_key, time.monotonic)
        self._contents: OrderedDict[str, bytes] = OrderedDict()
        """Request id -> digest of what was asked for, of calls with an Idempotency-Key."""
        self.room = WaitingRoom(policy, settings.calls, self._pending_seconds, time.monotonic)
        self.known = KnownResults(policy)
        self.clock = ServiceClock(signs=signs)

    # --- results, as they come -------------------------------------------------------------------------------------

    def take_results(self, records: Sequence[ResultRecord]) -> None:
        """Keep results that were read, those of other gateways' requests too, and wake the calls that wait."""
        for record in records:
            self.known.add(record)
            exchange = self.room.take(record.request_id)
            if exchange is None:
                continue
            result = self._decoder.decode_known(record.value, record.schema_header)
            outcome: ProductResyncResult | ResultRecord = record
            if isinstance(result, ProductResyncResult):
                outcome = result
                self.clock.note(result)
                code = result.error.code if result.error else None
                if not (code == ErrorCode.API_KEY_INVALID and self.clock.explains_refusals):
                    self._keys.judged(exchange.api_key, code)
            for turn in tuple(exchange.turns):
                settle(turn, outcome)

    # --- POST ------------------------------------------------------------------------------------------------------

    async def synchronize(self, request: Request) -> Response:
        """Respond to ``POST`` of the published operation: publish the request and wait for its result.

        Raises ``ProblemError``, which the application turns into the response, and ``ClientDisconnect``.
        """
        arrived = time.monotonic()
        body = await self._bodies.receive(request)
        headers = {name.decode("latin-1"): value for name, value in request.scope["headers"]}  # the last one counts
        api_key = self._keys.check(headers.get(API_KEY_HEADER))
        place = self._keys.place(api_key)
        try:
            asked = await self._bodies.work(len(body), lambda: synchronization(self._bodies.value_of(body)))
            request_id, is_idempotent = _identity(headers)
            if is_idempotent:
                self._check_content(request_id, asked)
            preferred = preferences(",".join(request.headers.getlist("prefer")), self._settings.longest_wait)
            record = self.known.get(request_id) if is_idempotent else None
            if record is not None:
                return await self._respond(record, preferred, self._until(preferred, arrived))
            prepare = partial(self._prepare, request_id, asked, headers)
            outgoing = None if self._is_under_way(request_id) else await self._bodies.work(len(body), prepare)
            with self.room.seat():
                exchange = self.room.find(request_id)
                if outgoing is not None and not self._is_under_way(request_id):
                    exchange = self._begin(request_id, api_key, outgoing)
                    if place.of_unproven_key and exchange.place is None:
                        exchange.place, place.kept = place, True
                assert exchange is not None  # noqa: S101 - it is under way, or has just begun
                return await self._wait(exchange, preferred, self._until(preferred, arrived), request)
        finally:
            if not place.kept:
                place.release()

    def _until(self, preferred: Preferences, arrived: float) -> float:
        """Return the monotonic time at which the caller's wait ends, in seconds."""
        wait = self._settings.wait if preferred.wait is None else preferred.wait
        return arrived + min(wait, self._settings.longest_wait)

    def _check_content(self, request_id: str, asked: Synchronization) -> None:
        """Raise ``ProblemError`` (422) where the same idempotency key came with another content."""
        content = sha256(asked.model_dump_json().encode()).digest()
        if self._contents.setdefault(request_id, content) != content:
            raise ProblemError(Problem.of_gateway(GatewayCode.IDEMPOTENCY_KEY_REUSED).about(request_id))
        self._contents.move_to_end(request_id)
        if len(self._contents) > self._policy.known_results:
            self._contents.popitem(last=False)

    def _is_under_way(self, request_id: str) -> bool:
        exchange = self.room.find(request_id)
        return exchange is not None and not exchange.is_lost

    def _prepare(self, request_id: str, asked: Synchronization, headers: Mapping[str, bytes]) -> OutgoingRecord:
        """Make the record of the request; on any thread. Raises ``ProblemError`` (413)."""
        request = ProductResyncRequested(
            request_id=request_id,
            client_specification_id=asked.client_specification_id,
            products=tuple(asked.products),
            requested_at=datetime.now(UTC),
            requested_by=_user_agent(headers) if asked.requested_by is None else asked.requested_by,
            reason=asked.reason,
        )
        passed_on: Headers = tuple((name, headers[name]) for name in PASSED_ON if name in headers)
        try:
            return self._writer.prepare(request, passed_on)
        except NotWrittenError as error:
            raise ProblemError(error.problem) from None

    def _begin(self, request_id: str, api_key: bytes, outgoing: OutgoingRecord) -> Exchange:
        """Hand the request over. Raises ``ProblemError`` (413, 503) where nothing was handed over."""
        try:
            acknowledged = self._writer.hand_over(outgoing)
        except NotWrittenError as error:
            raise ProblemError(error.problem) from None
        return self.room.add(request_id, api_key, acknowledged)

    async def _wait(self, exchange: Exchange, preferred: Preferences, until: float, request: Request) -> Response:
        if preferred.respond_async and preferred.wait is None:
            await asyncio.wait({exchange.acknowledged}, timeout=until - time.monotonic())
            return self._accepted_or_pending(exchange, preferred)
        ending = await self.room.wait(exchange, until - time.monotonic(), request.receive)
        if not isinstance(ending, Ending):
            return await self._respond(ending, preferred, until)
        if ending is Ending.REFUSED:
            raise ProblemError(self._writer.too_large())
        if ending is Ending.HUNG_UP:
            return Response(status_code=HUNG_UP_STATUS, headers={REQUEST_ID_HEADER: exchange.request_id})
        if preferred.respond_async:
            return self._accepted_or_pending(exchange, preferred)
        raise _pending(exchange.request_id, preferred)

    def _accepted_or_pending(self, exchange: Exchange, preferred: Preferences) -> Response:
        """202 for what is certainly on the topic, else 504."""
        if exchange.is_lost and isinstance(exchange.acknowledged.exception(), InvalidRequestError):
            raise ProblemError(self._writer.too_large())
        if not exchange.acknowledged.done() or exchange.is_lost:
            raise _pending(exchange.request_id, preferred)
        headers = {"Location": location(exchange.request_id), "Retry-After": str(self._policy.poll_again_seconds)}
        return _response(
            HTTPStatus.ACCEPTED, _pending_document(exchange.request_id), exchange.request_id, preferred, headers
        )

    async def _respond(
        self, found: ProductResyncResult | ResultRecord, preferred: Preferences, until: float
    ) -> Response:
        """Respond with the result. Raises ``ProblemError``: that of the result, or 504 if it cannot be read."""
        result = await self._decode(found, until) if isinstance(found, ResultRecord) else found
        if result is None:
            raise _pending(found.request_id, preferred)
        if result.error is not None and result.status is not ResyncStatus.PARTIALLY_SYNCHRONIZED:
            problem = Problem.of_result(result.error, found.request_id)
            raise ProblemError(problem.with_headers(_applied(preferred)))
        return _response(HTTPStatus.OK, _published_answer(result), found.request_id, preferred)

    # --- GET -------------------------------------------------------------------------------------------------------

    async def result(self, request: Request) -> Response:
        """Respond to ``GET`` with the result of a request, or 202 while it may come. Raises ``ProblemError`` (404)."""
        request_id: str = request.path_params["request_id"]
        record = self.known.get(request_id)
        result = None if record is None else await self._decode(record, time.monotonic())
        if result is not None:
            return _response(HTTPStatus.OK, result.model_dump(mode="json", by_alias=True), request_id)
        if record is not None or self._is_pending(request_id):
            headers = {"Retry-After": str(self._policy.poll_again_seconds)}
            return _response(HTTPStatus.ACCEPTED, _pending_document(request_id), request_id, headers=headers)
        detail = "No request with this id is known here. Its result may be on the results topic."
        raise ProblemError(replace(Problem.of_gateway(GatewayCode.NOT_FOUND), detail=detail).about(request_id))

    def _is_pending(self, request_id: str) -> bool:
        if self.room.find(request_id) is not None:
            return True
        made_at = time_of(request_id)
        return made_at is not None and -self._policy.clock_skew_seconds < time.time() - made_at < self._pending_seconds

    async def _decode(self, record: ResultRecord, until: float) -> ProductResyncResult | None:
        """Return the result; ``None``: it cannot be read, or its schema cannot be had in time."""
        result = self._decoder.decode_known(record.value, record.schema_header)
        while isinstance(result, UnknownSchema):
            try:
                async with self._learning:
                    header = ((SCHEMA_ID_HEADER, record.schema_header),) if record.schema_header is not None else ()
                    result = await asyncio.to_thread(self._decoder.decode, record.value, header)
            except ResyncToolError as error:
                _log.warning("the schema of a result cannot be had at the moment: %s", error)
                if time.monotonic() + self._policy.decode_again_seconds > until:
                    return None
                await asyncio.sleep(self._policy.decode_again_seconds)
        if isinstance(result, str):
            _log.warning("the result of request %s cannot be read: %s", record.request_id, result)
            return None
        return result


def location(request_id: str) -> str:
    """Return the path at which the result of a request can be asked for."""
    return f"{PATH}/{request_id}"


def _identity(headers: Mapping[str, bytes]) -> tuple[str, bool]:
    """Return the id of a new call's request, and whether it follows from an idempotency key.

    A call that is not made as an operator has an id of its own: it must not be given the result of an operator's call,
    and its refusal must not become the result of one.
    """
    given = headers.get("idempotency-key")
    if given is None:
        return new_request_id(), False
    found = _IDEMPOTENCY_KEY.fullmatch(given)
    if found is None:
        raise validation_refusal([("Idempotency-Key", "must be 1 to 255 visible ASCII characters")], 1)
    if headers.get(CLIENT_HEADER) != OPERATOR:
        return new_request_id(), False
    return idempotent_request_id(headers[API_KEY_HEADER], found[1] or found[2]), True


def _user_agent(headers: Mapping[str, bytes]) -> str:
    return headers.get("user-agent", b"").decode(errors="replace")[: GATEWAY.requested_by_characters] or "http"


def _published_answer(result: ProductResyncResult) -> dict[str, Any]:
    """The published response, and beside it what a partial result leaves out."""
    answer: dict[str, Any] = {
        "synchronizedProducts": result.synchronized_products,
        "clientSpecificationId": result.client_specification_id,
    }
    if result.error is not None:
        answer["status"] = result.status.value
        answer["unsynchronizedProducts"] = [each.to_record() for each in result.unsynchronized_products]
        answer["error"] = {to_camel(name): getattr(result.error, name) for name in ("code", "message", "retryable")}
    return answer


def _pending_document(request_id: str) -> dict[str, Any]:
    return {"requestId": request_id, "status": "PENDING"}


def _pending(request_id: str, preferred: Preferences) -> ProblemError:
    problem = Problem.of_gateway(GatewayCode.RESULT_PENDING).with_headers(_applied(preferred))
    return ProblemError(problem.about(request_id, Location=location(request_id)))


def _applied(preferred: Preferences) -> Mapping[str, str]:
    return {} if preferred.applied is None else {"Preference-Applied": preferred.applied}


def _response(
    status: HTTPStatus,
    document: Mapping[str, Any],
    request_id: str,
    preferred: Preferences | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    all_headers = {REQUEST_ID_HEADER: request_id, **(headers or {}), **(_applied(preferred) if preferred else {})}
    return Response(json.dumps(document), status, all_headers, "application/json")
