"""``POST /v1/alerts``: who may notify, and what Alertmanager makes of the response.

Alertmanager repeats a notification only after a 5xx. So 503 is the response while anything is not acknowledged, 202
once everything is, and 4xx only if the same notification could never be accepted.
"""

import asyncio
import hmac
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from producer_tools.alerts.intake import AlertIntake, Answer
from producer_tools.alerts.notification import NotANotification, read_notification
from producer_tools.alerts.policy import ALERTS
from producer_tools.gateway.bodies import Bodies
from producer_tools.gateway.problems import Problem, ProblemError, refusal
from schemas.contract import CORRELATION_HEADER, TRACEPARENT_HEADER, TRACESTATE_HEADER, AlertCode, GatewayCode

PATH: Final = "/v1/alerts"

_SCHEME: Final = b"bearer "
_PASSED_ON: Final = (TRACEPARENT_HEADER, TRACESTATE_HEADER, CORRELATION_HEADER)


class AlertEndpoint:
    """Accepts notifications. ``unavailable`` says why no alert can be taken in now; it must not wait."""

    def __init__(
        self, tokens: Sequence[str], bodies: Bodies, intake: AlertIntake, unavailable: Callable[[], Problem | None]
    ) -> None:
        self._tokens = [token.encode() for token in tokens]
        self._bodies = bodies
        self._intake = intake
        self._unavailable = unavailable
        self._taking_in = 0
        self._large = asyncio.Lock()

    async def notify(self, request: Request) -> Response:
        """Respond to a notification once everything that had to be written is acknowledged.

        Raises ``ProblemError`` (400, 401, 413, 415, 503) and ``ClientDisconnect``.
        """
        self._check_token(request)
        with self._place():
            body = await self._bodies.parse(await self._bodies.receive(request))
            notification = await asyncio.to_thread(read_notification, body)
            del body  # as large as the alerts themselves, which are kept until they are acknowledged
            if isinstance(notification, NotANotification):
                raise ProblemError(_refused(notification))
            if (problem := self._unavailable()) is not None:
                raise ProblemError(problem)
            headers = {name.decode("latin-1"): value for name, value in request.scope["headers"]}  # the last one counts
            passed_on = tuple((name, headers[name]) for name in _PASSED_ON if name in headers)
            if len(notification.alerts) < ALERTS.large_notification:
                return _response(await self._intake.take(notification, passed_on))
            async with self._large:
                # writing thousands of rows would hold up all others
                return await asyncio.to_thread(_response, await self._intake.take(notification, passed_on))

    def _check_token(self, request: Request) -> None:
        """Compare with every token in constant time. Raises ``ProblemError`` (401)."""
        given = dict(request.scope["headers"]).get(b"authorization", b"")
        token = given[len(_SCHEME) :].strip() if given[: len(_SCHEME)].lower() == _SCHEME else b""
        matches = [hmac.compare_digest(token, each) for each in self._tokens]
        if not any(matches):
            problem = Problem.of_gateway(AlertCode.TOKEN_INVALID)
            raise ProblemError(problem.with_headers({"WWW-Authenticate": "Bearer"}))

    @contextmanager
    def _place(self) -> Iterator[None]:
        if self._taking_in >= ALERTS.notifications:
            raise refusal(GatewayCode.GATEWAY_BUSY, problem="Too many notifications arrive at once")
        self._taking_in += 1
        try:
            yield
        finally:
            self._taking_in -= 1


def _refused(refused: NotANotification) -> Problem:
    if refused.too_large:
        return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, GatewayCode.REQUEST_TOO_LARGE.value, f"{refused.message}.")
    return Problem.of_gateway(AlertCode.NOT_A_NOTIFICATION, problem=refused.message)


def _response(answer: Answer) -> Response:
    missing = len(answer.unacknowledged)
    if missing:
        total = missing + len(answer.requests) + len(answer.repeated)
        raise refusal(AlertCode.NOT_ACKNOWLEDGED, missing=missing, all=total)
    return Response(json.dumps(answer.body()), HTTPStatus.ACCEPTED, media_type="application/json")
