"""Error responses, as problem documents (RFC 9457)."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any, Final, Self

from starlette.responses import Response

from schemas.contract import (
    API_KEY_HEADER,
    MAX_ERROR_ROWS,
    MAX_ERROR_TEXT_CHARACTERS,
    AlertCode,
    ErrorCode,
    GatewayCode,
)
from schemas.events import ResyncError
from schemas.rights import Right

MEDIA_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:mirakl-resync:problem:"
REQUEST_ID_HEADER: Final = "Resync-Request-Id"
_RETRY_LATER: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
_TOPICS: Final = {Right.WRITE: "requests", Right.READ: "results"}
"""Right -> the gateway's topic that needs it."""
_ERRORS: Final = range(400, 600)
"""HTTP statuses that can be those of a problem."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem document. ``headers`` are those of the response, beside the ones that follow from the fields."""

    status: int
    code: str
    detail: str
    retryable: bool = False
    request_id: str | None = None
    available_client_specification_ids: Sequence[str] = ()
    field_errors: Sequence[tuple[str, str]] = ()
    """Field and message, all of them or the first 100."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def of_gateway(cls, code: GatewayCode | ErrorCode | AlertCode, **values: object) -> Self:
        """Return the gateway's own problem of this code; ``values`` are those that its message names."""
        return cls(code.http_status, code.value, code.message(**values), code.retryable)

    @classmethod
    def of_result(cls, error: ResyncError, request_id: str) -> Self:
        """Return what the error of a result is over HTTP: its status, code and message, with its lists."""
        return cls(
            error.http_status if error.http_status in _ERRORS else HTTPStatus.INTERNAL_SERVER_ERROR,
            error.code,
            error.message,
            error.retryable,
            request_id,
            error.available_client_specification_ids,
            [(each.field, each.message) for each in error.field_errors],
        )

    def about(self, request_id: str, **headers: str) -> "Problem":
        """Return the same problem as one of this request, whose id the response then carries."""
        return replace(self.with_headers(headers), request_id=request_id)

    def with_headers(self, headers: Mapping[str, str]) -> "Problem":
        """Return the same problem with further headers of the response."""
        return replace(self, headers={**self.headers, **headers})

    def document(self) -> dict[str, Any]:
        """Return the members of the JSON document ``application/problem+json`` (RFC 9457)."""
        members: dict[str, Any] = {
            "type": TYPE_PREFIX + self.code,
            "title": self.code.replace("_", " ").capitalize(),
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "retryable": self.retryable,
        }
        if self.request_id is not None:
            members["requestId"] = self.request_id
        if self.available_client_specification_ids:
            members["availableClientSpecificationIds"] = list(self.available_client_specification_ids)
        if self.field_errors:
            members["fieldErrors"] = [{"field": name, "message": message} for name, message in self.field_errors]
        return members

    def response(self, retry_after_seconds: int) -> Response:
        """Return the HTTP response; with ``Retry-After`` where asking again later is the remedy (429, 503)."""
        headers = dict(self.headers)
        if self.request_id is not None and self.request_id.isascii() and self.request_id.isprintable():
            headers[REQUEST_ID_HEADER] = self.request_id  # an id that somebody asks for may be any text
        if self.status in _RETRY_LATER:
            headers.setdefault("Retry-After", str(retry_after_seconds))
        if self.status == HTTPStatus.UNAUTHORIZED:
            headers.setdefault("WWW-Authenticate", API_KEY_HEADER)
        return Response(json.dumps(self.document()), self.status, headers, MEDIA_TYPE)


class ProblemError(Exception):
    """Ends a call with a problem; caught by the application, which makes the response."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(problem.code)


def refusal(code: GatewayCode | ErrorCode | AlertCode, **values: object) -> ProblemError:
    """Return an error to raise: the gateway's own problem of this code."""
    return ProblemError(Problem.of_gateway(code, **values))


def without_rights(missing: Iterable[Right]) -> Problem:
    """Return the problem of a gateway that lacks rights on its topics; the caller is not told their names."""
    lacking = " and ".join(f"{right} on its {_TOPICS[right]} topic" for right in missing)
    problem = Problem.of_gateway(GatewayCode.KAFKA_UNAVAILABLE)
    detail = f"Kafka does not grant this gateway {lacking}, so nothing was sent: have its operator grant it."
    return replace(problem, detail=detail)


def validation_refusal(rows: Sequence[tuple[str, str]], total: int) -> ProblemError:
    """Return an error to raise for a call that cannot be turned into a request.

    ``rows`` are fields and what is wrong with them (the first 100), ``total`` is how many mistakes there are.
    """
    bounded = [(_bounded(name), _bounded(message)) for name, message in rows[:MAX_ERROR_ROWS]]
    name, message = bounded[0]
    first = f"{name} {message}" if name else message
    mistakes = first if total == 1 else f"it has {total} mistakes, the first: {first}"
    what = "it" if total == 1 else "all that fieldErrors lists"
    problem = Problem.of_gateway(ErrorCode.VALIDATION_FAILED, mistakes=mistakes, what=what)
    return ProblemError(replace(problem, detail=_bounded(problem.detail), field_errors=bounded))


def _bounded(text: str) -> str:
    return text if len(text) <= MAX_ERROR_TEXT_CHARACTERS else text[: MAX_ERROR_TEXT_CHARACTERS - 1] + "…"
