"""Takes notifications in: every alert becomes a request that is acknowledged, or is left out with its reason."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from itertools import product
from typing import Any, Final, Protocol, TypeAlias

import structlog

from producer_tools.alerts.asked import AskedRequests
from producer_tools.alerts.hourly_limits import HourlyLimits
from producer_tools.alerts.notification import Alert, InvalidAlert, Notification
from producer_tools.alerts.planning import PlannedRequest, Skipped, SkipReason, plan
from producer_tools.alerts.policy import ALERTS
from producer_tools.alerts.rules import Rules
from producer_tools.gateway.request_writer import Publication, Written
from producer_tools.topic_reader import Headers
from schemas.contract import API_KEY_HEADER, CLIENT_HEADER, OPERATOR
from schemas.events import ProductResyncRequested

REQUESTED: Final = "REQUESTED"
REPEATED: Final = "REPEATED"
NOT_ACKNOWLEDGED: Final = "NOT_ACKNOWLEDGED"
"""Outcomes of alerts in the metric, besides the reasons for leaving them out."""

_WATCHED: Final = (
    *(REQUESTED, REPEATED, NOT_ACKNOWLEDGED),
    *(SkipReason.PRODUCTS_UNREADABLE, SkipReason.TOO_MANY_PRODUCTS, SkipReason.TOO_MANY_REQUESTS, SkipReason.INVALID),
)

Alerts: TypeAlias = Sequence[Alert | InvalidAlert]
Plans: TypeAlias = Sequence[PlannedRequest | Skipped]

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


@dataclass(slots=True)
class Answer:
    """Outcome of one notification's alerts: requested, repeated, or skipped with a reason."""

    requests: list[PlannedRequest] = field(default_factory=list)
    """Acknowledged by the brokers."""
    repeated: list[PlannedRequest] = field(default_factory=list)
    """Acknowledged, or answered, before this notification."""
    skipped: list[Skipped] = field(default_factory=list)
    unacknowledged: list[PlannedRequest] = field(default_factory=list)
    """Not written, or nobody knows: the notification has to be repeated."""
    truncated: int = 0
    """Alerts that the sender left out."""

    def body(self) -> dict[str, Any]:
        """Return the JSON of the contract's 202: ``requests``, ``repeated`` and ``skipped``."""
        body: dict[str, Any] = {
            "requests": [_request_json(each) for each in self.requests],
            "repeated": [_request_json(each) for each in self.repeated],
            "skipped": [
                {
                    "fingerprint": each.fingerprint,
                    "rule": each.rule,
                    "reason": each.reason.value,
                    "message": each.message,
                }
                for each in self.skipped
            ],
        }
        return body | ({"truncatedAlerts": self.truncated} if self.truncated else {})


def _request_json(request: PlannedRequest) -> dict[str, Any]:
    return {
        "requestId": request.request_id,
        "rule": request.rule.name,
        "fingerprint": request.fingerprint,
        "products": len(request.products),
    }


class Publisher(Protocol):
    """Writes requests of alerts, as the gateway's ``RequestWriter`` does; that of ``alerts check`` sends nothing."""

    async def publish(self, request: ProductResyncRequested, headers: Headers) -> Publication:
        """Write one request and wait for its acknowledgement, within a bounded time."""
        ...


class AlertIntake:
    """Turns notifications into acknowledged requests; belongs to one event loop.

    ``rules`` returns those in force. ``asked`` also learns, from elsewhere, which requests have a result.
    """

    def __init__(
        self,
        publisher: Publisher,
        rules: Callable[[], Rules],
        asked: AskedRequests,
        *,
        max_products: int,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._publisher = publisher
        self._rules = rules
        self._asked = asked
        self._max_products = max_products
        self._clock = clock
        self._monotonic = monotonic
        self._limits = HourlyLimits()
        self._in_flight: dict[str, asyncio.Task[Publication]] = {}
        self.outcomes: Counter[tuple[str, str]] = Counter()
        """(rule, outcome) -> alerts; the rule is empty where none applies."""
        self.truncated = 0
        """Alerts that senders left out of their notifications."""

    def counts(self) -> dict[tuple[str, str], int]:
        """Return ``outcomes``, with a 0 for each outcome that a rule in force can still have.

        ``rate`` and ``increase`` do not see a series begin with its first alert.
        """
        names = [rule.name for rule in self._rules().rules]
        return dict.fromkeys(product(names, _WATCHED), 0) | dict(self.outcomes)

    async def take(self, notification: Notification, passed_on: Headers = ()) -> Answer:
        """Make the requests of a notification, count them and log what became of each alert."""
        answer = await self.settle(notification, passed_on)
        self._account(answer)
        return answer

    async def settle(self, notification: Notification, passed_on: Headers = ()) -> Answer:
        """Make the requests of a notification; returns when all are acknowledged, or some are not in time.

        ``passed_on`` are further headers of the records, such as ``traceparent``.

        Several calls may run at the same time: the same request is written once. A call that is cancelled leaves
        requests that are under way to be acknowledged and remembered.
        """
        rules, now = self._rules(), self._clock()
        planned = await asyncio.to_thread(
            lambda: [plan(alert, rules, now, self._max_products) for alert in notification.alerts]
        )
        answer = Answer(truncated=notification.truncated)
        for first in range(0, len(planned), ALERTS.chunk_alerts):
            chunk = planned[first : first + ALERTS.chunk_alerts]
            if answer.unacknowledged:
                answer.unacknowledged += (each for each in chunk if isinstance(each, PlannedRequest))
            else:
                settling = (self._settle_alert(each, answer, passed_on) for each in chunk)
                await asyncio.gather(*(task for task in settling if task is not None))
            await asyncio.sleep(0)  # others have their turn, also where nothing is waited for
        return answer

    def _settle_alert(
        self, planned: PlannedRequest | Skipped, answer: Answer, passed_on: Headers
    ) -> Coroutine[None, None, None] | None:
        """Add what becomes of one alert to the answer, at once or by what is returned."""
        if isinstance(planned, Skipped):
            answer.skipped.append(planned)
            return None
        if planned.request_id in self._asked:
            answer.repeated.append(planned)
            return None
        task = self._in_flight.get(planned.request_id)
        acknowledged = answer.repeated if task else answer.requests
        if task is None:
            if not self._limits.take(
                planned.rule.name, planned.request_id, planned.rule.max_requests_per_hour, self._monotonic()
            ):
                most = planned.rule.max_requests_per_hour
                message = f"The rule has made {most:,} requests within the hour, as many as it may."
                answer.skipped.append(_skipped(planned, SkipReason.TOO_MANY_REQUESTS, message))
                return None
            task = asyncio.create_task(self._publish(planned, passed_on))
            self._in_flight[planned.request_id] = task
        return self._await(task, planned, acknowledged, answer)

    @staticmethod
    async def _await(
        task: asyncio.Task[Publication],
        planned: PlannedRequest,
        acknowledged: list[PlannedRequest],
        answer: Answer,
    ) -> None:
        """Wait for a publication that others may wait for as well; cancelling this does not cancel it."""
        publication = await asyncio.shield(task)
        if publication.written is Written.ACKNOWLEDGED:
            acknowledged.append(planned)
        elif (too_large := _too_large(publication)) is not None:
            answer.skipped.append(_skipped(planned, SkipReason.INVALID, too_large))
        else:
            answer.unacknowledged.append(planned)

    async def _publish(self, planned: PlannedRequest, passed_on: Headers) -> Publication:
        """Write one request, once however many notifications wait for it."""
        headers = ((CLIENT_HEADER, OPERATOR), (API_KEY_HEADER, planned.rule.api_key.encode()), *passed_on)
        publication = Publication(Written.NOT_WRITTEN)
        try:
            publication = await self._publisher.publish(planned.event(self._clock()), headers)
        finally:
            del self._in_flight[planned.request_id]
            if publication.written is Written.ACKNOWLEDGED:
                self._asked.add(planned.request_id.encode())
            elif publication.written is Written.NOT_WRITTEN:
                self._limits.give_back(planned.rule.name, planned.request_id)
        return publication

    def _account(self, answer: Answer) -> None:
        self.truncated += answer.truncated
        for outcome, requests in (
            (REQUESTED, answer.requests),
            (REPEATED, answer.repeated),
            (NOT_ACKNOWLEDGED, answer.unacknowledged),
        ):
            self.outcomes.update((each.rule.name, outcome) for each in requests)
        self.outcomes.update((each.rule or "", each.reason.value) for each in answer.skipped)
        for request in answer.requests:
            _log.info("alert became a request", **_request_json(request))
        for line in _skip_lines(answer.skipped):
            _log.info("alerts left out", **line)
        if answer.truncated:
            _log.warning("the sender left alerts out of its notification, see max_alerts", alerts=answer.truncated)


def _too_large(publication: Publication) -> str | None:
    """Return why a request can never be written; ``None``: it is not for its size."""
    problem = publication.problem
    return problem.detail if problem and problem.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE else None


def _skipped(planned: PlannedRequest, reason: SkipReason, message: str) -> Skipped:
    return Skipped(planned.fingerprint, planned.rule.name, reason, message)


def _skip_lines(skipped: Sequence[Skipped]) -> Iterator[dict[str, Any]]:
    """Return the fields of one line for each rule and reason."""
    groups: dict[tuple[str | None, SkipReason], list[Skipped]] = {}
    for each in skipped:
        groups.setdefault((each.rule, each.reason), []).append(each)
    for (rule, reason), group in groups.items():
        yield {
            "rule": rule,
            "reason": reason.value,
            "message": group[0].message,
            "alerts": len(group),
            "fingerprints": [each.fingerprint for each in group[: ALERTS.fingerprints_logged]],
        }
