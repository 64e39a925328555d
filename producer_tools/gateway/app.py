"""The gateway's HTTP application: routes, problem documents, and one log line for each call."""

import logging
import re
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from importlib.resources import files
from typing import Final, NamedTuple

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from producer_tools.gateway.calls import HUNG_UP_STATUS, PATH, Calls
from producer_tools.gateway.policy import GATEWAY, GatewayPolicy
from producer_tools.gateway.problems import REQUEST_ID_HEADER, Problem, ProblemError
from schemas.contract import TRACEPARENT_HEADER, GatewayCode, is_traceparent

INTERNAL_ERROR: Final = "INTERNAL_ERROR"
"""Code of a response to a call that met a defect of the gateway."""
_CODE: Final = "resync.code"
"""Key of the ASGI scope: the code of the problem that a call was answered with."""
_REQUEST_ID: Final = REQUEST_ID_HEADER.lower().encode()
_TRACEPARENT: Final = TRACEPARENT_HEADER.encode()
_TRACE_ID: Final = slice(3, 35)
_SCHEMAS: Final = GatewayCode.__module__.rpartition(".")[0]
"""The package, which has another name once it is installed."""
_CONTROL: Final = re.compile(r"[^\x20-\x7e]")

_log = logging.getLogger(__name__)


class AnsweredCall(NamedTuple):
    """One call, as the log and the metrics see it; nothing here is a key, or of a body."""

    method: str
    path: str
    status: int
    code: str | None
    """``None``: no problem."""
    request_id: str | None
    seconds: float
    """From the end of its head to the end of its response."""
    trace_id: str | None


def create_app(
    calls: Calls,
    policy: GatewayPolicy,
    on_answered: Callable[[AnsweredCall], None],
    more_routes: Sequence[BaseRoute] = (),
) -> ASGIApp:
    """Return the ASGI application: the two endpoints, ``/openapi.yaml`` and ``more_routes``.

    ``on_answered`` is told of each call after its response, for log and metrics.
    """

    def respond(request: Request, problem: Problem) -> Response:
        request.scope[_CODE] = problem.code
        return problem.response(policy.retry_after_seconds)

    async def on_problem(request: Request, error: Exception) -> Response:
        assert isinstance(error, ProblemError)  # noqa: S101 - registered for it
        return respond(request, error.problem)

    async def on_no_route(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
        if error.status_code != HTTPStatus.METHOD_NOT_ALLOWED:
            return respond(request, Problem.of_gateway(GatewayCode.NOT_FOUND))
        headers = dict(error.headers or {})
        problem = Problem.of_gateway(
            GatewayCode.METHOD_NOT_ALLOWED, method=_printable(request.method), allowed=headers.get("Allow", "")
        )
        return respond(request, problem.with_headers(headers))

    async def on_hung_up(request: Request, _error: Exception) -> Response:
        request.scope[_CODE] = None
        return Response(status_code=HUNG_UP_STATUS)

    async def on_defect(request: Request, _error: Exception) -> Response:
        detail = "The gateway has met a defect; its log has the details. The request may still proceed."
        return respond(request, Problem(HTTPStatus.INTERNAL_SERVER_ERROR, INTERNAL_ERROR, detail, retryable=True))

    document = (files(_SCHEMAS) / "openapi.yaml").read_bytes()

    async def openapi(_request: Request) -> Response:
        return Response(document, media_type="application/yaml")

    app = Starlette(
        routes=[
            Route(PATH, calls.synchronize, methods=["POST"]),
            Route(PATH + "/{request_id}", calls.result, methods=["GET"]),
            Route("/openapi.yaml", openapi, methods=["GET"]),
            *more_routes,
        ],
        exception_handlers={
            ProblemError: on_problem,
            HTTPException: on_no_route,
            ClientDisconnect: on_hung_up,
            Exception: on_defect,
        },
    )
    app.router.redirect_slashes = False
    return _Observed(app, on_answered)


class _Observed:
    """Wraps the application and reports each call after its response, however it ended."""

    def __init__(self, app: ASGIApp, on_answered: Callable[[AnsweredCall], None]) -> None:
        self._app = app
        self._on_answered = on_answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.monotonic()
        status, request_id = 0, None

        async def noting(message: Message) -> None:
            nonlocal status, request_id
            if message["type"] == "http.response.start":
                status = message["status"]
                request_id = dict(message["headers"]).get(_REQUEST_ID)
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            self._on_answered(
                AnsweredCall(
                    scope["method"],
                    _printable(scope["path"]),
                    status,
                    scope.get(_CODE),
                    None if request_id is None else request_id.decode("latin-1"),
                    time.monotonic() - began,
                    _trace_id(scope),
                )
            )


def _trace_id(scope: Scope) -> str | None:
    value = dict(scope["headers"]).get(_TRACEPARENT)
    return value[_TRACE_ID].decode() if value is not None and is_traceparent(value) else None


def _printable(text: str) -> str:
    return _CONTROL.sub("?", text[: GATEWAY.path_characters])
