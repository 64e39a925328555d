"""Writes requests, and reports for each of them what is certain.

::

    hand_over  before   NotWrittenError       nothing was handed to the producer: the call may be refused
               after    Acknowledgement       on all in-sync replicas
                        ResyncToolError       not acknowledged: it may be on the topic or not

``publish`` combines both, for callers that wait only for the acknowledgement.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from producer_tools.errors import InvalidRequestError, ResyncToolError
from producer_tools.gateway.problems import Problem
from producer_tools.publisher import request_key
from producer_tools.sender import Acknowledgement, OutgoingRecord, RecordSender
from producer_tools.topic_reader import Headers
from schemas.avro.codec import RequestEncoder
from schemas.contract import GatewayCode
from schemas.events import ProductResyncRequested

_log = logging.getLogger(__name__)


class Written(Enum):
    """Certainty about whether a request was written: acknowledged, certainly not, or not known."""

    ACKNOWLEDGED = auto()
    """It is on the topic, on all in-sync replicas."""
    NOT_WRITTEN = auto()
    """It is not on the topic and never will be."""
    UNKNOWN = auto()
    """It was handed over and not acknowledged: it may be on the topic."""


@dataclass(frozen=True, slots=True)
class Publication:
    """The outcome of one ``publish``; ``problem`` says why unless the request is acknowledged."""

    written: Written
    problem: Problem | None = None


class NotWrittenError(Exception):
    """Nothing was handed to the producer, for the reason that ``problem`` gives (413 or 503)."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(problem.code)


class RequestWriter:
    """Writes to the requests topic; used on one event loop.

    ``sender`` writes with ``acks=all`` and idempotence. ``unavailable`` says why nothing can be written now, and is
    asked before each request: it must not wait.
    """

    def __init__(
        self,
        sender: RecordSender,
        encoder: RequestEncoder,
        max_request_bytes: int,
        unavailable: Callable[[], Problem | None],
    ) -> None:
        self._sender = sender
        self._encoder = encoder
        self._max_request_bytes = max_request_bytes
        self._unavailable = unavailable
        self.counts = {"acknowledged": 0, "unknown": 0, "refused": 0}
        """Outcome -> requests; "refused": nothing was handed over."""

    async def publish(self, request: ProductResyncRequested, headers: Headers) -> Publication:
        """Write a request, and wait for the brokers' acknowledgement (15 s at most).

        Never raises for trouble with Kafka. Cancelling the wait does not take the request back. ``headers`` say who
        asks, as on Kafka: ``dj-client``, ``dj-api-key``, and for instance ``traceparent``. The sender replaces the key
        by a signature where it is told to.
        """
        try:
            acknowledged = self.hand_over(self.prepare(request, headers))
        except NotWrittenError as error:
            return Publication(Written.NOT_WRITTEN, error.problem)
        try:
            await asyncio.shield(acknowledged)
        except InvalidRequestError:  # larger than the topic takes: the brokers have refused it for good
            return Publication(Written.NOT_WRITTEN, self.too_large())
        except ResyncToolError:
            return Publication(Written.UNKNOWN, Problem.of_gateway(GatewayCode.RESULT_PENDING))
        return Publication(Written.ACKNOWLEDGED)

    def prepare(self, request: ProductResyncRequested, headers: Headers) -> OutgoingRecord:
        """Make the record of a request; on any thread. Raises ``NotWrittenError`` where it is too large."""
        value = self._encoder.encode(request.to_record())
        if len(value) > self._max_request_bytes:
            raise NotWrittenError(self.too_large())
        return OutgoingRecord(value, request_key(request), headers)

    def hand_over(self, record: OutgoingRecord) -> "asyncio.Future[Acknowledgement]":
        """Hand a request to the producer, without waiting; from then on it may be on the topic.

        Raises ``NotWrittenError`` before that. The future ends with the acknowledgement or a ``ResyncToolError``.
        """
        try:
            acknowledged = self._hand_over(record)
        except NotWrittenError:
            self.counts["refused"] += 1
            raise
        acknowledged.add_done_callback(self._count)
        return acknowledged

    def _hand_over(self, record: OutgoingRecord) -> "asyncio.Future[Acknowledgement]":
        problem = self._unavailable()
        if problem is not None:
            raise NotWrittenError(problem)
        try:
            future = self._sender.offer(record)
        except InvalidRequestError:
            raise NotWrittenError(self.too_large()) from None
        except ResyncToolError as error:
            _log.warning("a request could not be written: %s", error)
            raise NotWrittenError(Problem.of_gateway(GatewayCode.KAFKA_UNAVAILABLE)) from None
        if future is None:
            raise NotWrittenError(Problem.of_gateway(GatewayCode.KAFKA_UNAVAILABLE))
        return asyncio.wrap_future(future)

    def _count(self, acknowledged: "asyncio.Future[Acknowledgement]") -> None:
        """Also marks an error as seen: not every caller waits long enough to see it."""
        if acknowledged.cancelled():
            self.counts["unknown"] += 1
        elif (reason := acknowledged.exception()) is not None:
            self.counts["unknown"] += 1
            _log.warning("a request was not acknowledged: %s", reason)
        else:
            self.counts["acknowledged"] += 1

    def too_large(self) -> Problem:
        """Return the problem of a request that is larger than is read."""
        return Problem.of_gateway(GatewayCode.REQUEST_TOO_LARGE, limit=self._max_request_bytes)
