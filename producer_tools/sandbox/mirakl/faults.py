"""Faults that can be scripted: which calls they meet, how often, and what happens to those.

A fault without ``count`` and ``probability`` meets every call until it is cleared. Of several, the first in the
order of scripting that meets a call decides; those of an instance come before those of all.
"""

import gzip
import json
import random
from collections.abc import Collection
from dataclasses import dataclass
from email.utils import formatdate
from enum import StrEnum
from functools import cache
from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from producer_tools.sandbox.mirakl.rules import Probability
from producer_tools.sandbox.mirakl.wire import Delivery, Then, response


class Effect(StrEnum):
    """Effect of a fault on a call, among them what CM21 itself never says: silence, resets, answers byte by byte."""

    STATUS = "status"
    """An answer with ``status``."""
    DELAY = "delay"
    """The right answer, after ``delay``."""
    DRIP = "drip"
    """The right answer, one byte every ``byte_interval``."""
    HANG = "hang"
    """No answer; the connection stays open."""
    RESET = "reset"
    """No answer; TCP reset."""
    CLOSE = "close"
    """No answer; the connection ends in order."""
    NO_TRACKING_ID = "no-tracking-id"
    """200, JSON, but no tracking id."""
    BLANK_TRACKING_ID = "blank-tracking-id"
    NUMERIC_TRACKING_ID = "numeric-tracking-id"
    EMPTY_BODY = "empty-body"
    TRUNCATED_BODY = "truncated-body"
    """Fewer bytes than ``Content-Length`` says."""
    LOGIN_PAGE = "login-page"
    """200 and HTML: what a wrong base URL or a proxy shows."""
    GZIP_BOMB = "gzip-bomb"
    """200 and a few kilobytes that would decompress to 64 MiB."""
    HUGE_BODY = "huge-body"
    """200 and 16 MiB of JSON."""
    NOT_HTTP = "not-http"
    """Bytes of another protocol."""


class Body(StrEnum):
    """Body of an error response, in the forms that Mirakl and the proxies before it have been seen to send."""

    JSON = "json"
    """``{"message", "status"}``."""
    ERRORS = "errors"
    """``{"code", "message", "errors": [{"field", "message"}]}``."""
    HTML = "html"
    TEXT = "text"
    EMPTY = "empty"


class Fault(BaseModel):
    """One scripted fault: what happens to a call, to which calls, how often and with which probability."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    effect: Effect
    status: int | None = Field(default=None, ge=200, le=999)
    """For ``status``."""
    byte_interval: PositiveFloat | None = None
    """Seconds between two bytes of a ``drip``."""
    taken_in: bool | None = None
    """Mirakl takes the call in before this happens; by default with all effects that answer 200."""
    body: Body = Body.JSON
    message: str = "A scripted fault"
    """For people, in the body of a ``status``."""
    location: str | None = None
    """Of a redirect."""
    retry_after: str | None = None
    """Verbatim; ``date+SECONDS`` stands for the HTTP date that many seconds from now."""
    count: PositiveInt | None = None
    """Meets that many calls, then no more."""
    probability: Probability = 1.0
    operation: Literal["CM21", "CM22", "CM23"] = "CM21"
    mirakl_product_ids: frozenset[str] = frozenset()
    """Meets only calls with one of these entries: poisoned ones, where the status is 400 or 422."""
    mirakl_product_id_prefix: str = ""
    """Meets only calls with an entry whose id begins so."""
    min_entries: int = 0
    """Meets only calls with at least that many entries."""
    delay: NonNegativeFloat = 0.0
    """Seconds until it happens, besides the latency of the instance."""

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if (self.effect is Effect.STATUS) is (self.status is None):
            raise ValueError("`status` belongs to the effect `status`, and to no other")
        if (self.effect is Effect.DRIP) is (self.byte_interval is None):
            raise ValueError("`byte_interval` belongs to the effect `drip`, and to no other")
        return self

    @property
    def takes_in(self) -> bool:
        """Whether a call that this fault meets is taken in."""
        return self.effect in _ANSWERED_WITH_2XX if self.taken_in is None else self.taken_in

    def concerns(self, operation: str, mirakl_product_ids: Collection[str]) -> bool:
        """Return whether this fault applies to the call, regardless of its count and probability."""
        return (
            operation == self.operation
            and len(mirakl_product_ids) >= self.min_entries
            and (not self.mirakl_product_ids or not self.mirakl_product_ids.isdisjoint(mirakl_product_ids))
            and (
                not self.mirakl_product_id_prefix
                or any(each.startswith(self.mirakl_product_id_prefix) for each in mirakl_product_ids)
            )
        )


_ANSWERED_WITH_2XX: Final = frozenset(Effect) - {
    Effect.STATUS,
    Effect.HANG,
    Effect.RESET,
    Effect.CLOSE,
    Effect.NOT_HTTP,
}

_LOGIN_PAGE: Final = (
    b"<!DOCTYPE html><html><head><title>Sign in</title><style>p{color:red}</style></head>"
    b"<body><form><p>Please sign in</p><input name='password'></form></body></html>"
)
_ANSWERS: Final = {
    Effect.NO_TRACKING_ID: response(200, b'{"status": "accepted"}'),
    Effect.BLANK_TRACKING_ID: response(200, b'{"tracking_id": " "}'),
    Effect.NUMERIC_TRACKING_ID: response(200, b'{"tracking_id": 4711}'),
    Effect.EMPTY_BODY: response(200, b""),
    Effect.LOGIN_PAGE: response(200, _LOGIN_PAGE, "text/html; charset=utf-8"),
    Effect.NOT_HTTP: b"SSH-2.0-OpenSSH_9.2\r\n",
}
_THEN: Final = {
    Effect.HANG: Then.HANG,
    Effect.RESET: Then.RESET,
    Effect.CLOSE: Then.CLOSE,
    Effect.TRUNCATED_BODY: Then.CLOSE,
    Effect.NOT_HTTP: Then.CLOSE,
}


def delivery(fault: Fault, right_answer: bytes, wall_time: float) -> Delivery:
    """Return the response that replaces the right one (``wall_time``: seconds since the epoch)."""
    return Delivery(
        _data(fault, right_answer, wall_time),
        fault.delay,
        _THEN.get(fault.effect, Then.KEEP),
        fault.byte_interval or 0.0,
    )


def _data(fault: Fault, right_answer: bytes, wall_time: float) -> bytes:
    match fault.effect:
        case Effect.STATUS:
            return _error(fault, wall_time)
        case Effect.DELAY | Effect.DRIP:
            return right_answer
        case Effect.TRUNCATED_BODY:
            return right_answer[:-5]
        case Effect.GZIP_BOMB:
            return _gzip_bomb()
        case Effect.HUGE_BODY:
            return response(200, b'["' + b"x" * (16 << 20) + b'"]')
        case _:
            return _ANSWERS.get(fault.effect, b"")


@cache
def _gzip_bomb() -> bytes:
    return response(200, gzip.compress(b" " * (64 << 20)), headers={"Content-Encoding": "gzip"})


def _error(fault: Fault, wall_time: float) -> bytes:
    headers = {}
    if fault.location is not None:
        headers["Location"] = fault.location
    if fault.retry_after is not None:
        headers["Retry-After"] = _retry_after(fault.retry_after, wall_time)
    return error_response(fault.status or 500, fault.message, fault.body, headers)


def _retry_after(scripted: str, wall_time: float) -> str:
    kind, plus, seconds = scripted.partition("+")
    return formatdate(wall_time + float(seconds), usegmt=True) if (kind, plus) == ("date", "+") else scripted


def error_response(status: int, message: str, body: Body = Body.JSON, headers: dict[str, str] | None = None) -> bytes:
    """Write an error in one of the shapes that Mirakl's errors have (CM21.md, "error body")."""
    match body:
        case Body.JSON:
            return response(status, json.dumps({"message": message, "status": status}).encode(), headers=headers or {})
        case Body.ERRORS:
            row = {"field": "[0].mirakl_product_id", "message": message}
            answer = {"code": "VALIDATION_ERROR", "message": "Validation failed", "errors": [row]}
            return response(status, json.dumps(answer).encode(), headers=headers or {})
        case Body.HTML:
            page = f"<html><head><title>{status}</title></head><body><h1>{message}</h1><hr>nginx</body></html>"
            return response(status, page.encode(), "text/html", headers or {})
        case Body.TEXT:
            return response(status, message.encode(), "text/plain", headers or {})
        case Body.EMPTY:
            return response(status, b"", "", headers or {})


@dataclass(slots=True)
class _Scripted:
    fault: Fault
    instance: str | None
    """``None``: all instances."""
    left: int | None
    """Calls it still meets; ``None``: any number."""


class FaultPlan:
    """The faults scripted so far; deterministic for one seed and one order of calls."""

    def __init__(self, randomness: random.Random) -> None:
        self._randomness = randomness
        self._scripted: list[_Scripted] = []

    def add(self, fault: Fault, instance: str | None) -> None:
        self._scripted.append(_Scripted(fault, instance, fault.count))
        self._scripted.sort(key=lambda scripted: scripted.instance is None)  # stable: keeps the order of scripting

    def clear(self, instance: str | None = None) -> None:
        """Forget the faults of one instance, or of all."""
        self._scripted = [kept for kept in self._scripted if instance is not None and kept.instance != instance]

    def meet(self, instance: str, operation: str, mirakl_product_ids: Collection[str]) -> Fault | None:
        """Find the fault that this call meets, and count it down."""
        for scripted in self._scripted:
            fault = scripted.fault
            if (
                scripted.instance in (None, instance)
                and scripted.left != 0
                and fault.concerns(operation, mirakl_product_ids)
                and (fault.probability == 1 or self._randomness.random() < fault.probability)
            ):
                if scripted.left is not None:
                    scripted.left -= 1
                return fault
        return None

    def listing(self) -> list[dict[str, object]]:
        return [
            {
                "instance": scripted.instance,
                "left": scripted.left,
                "fault": scripted.fault.model_dump(mode="json", exclude_defaults=True),
            }
            for scripted in self._scripted
        ]
