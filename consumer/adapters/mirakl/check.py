"""Checks address and credential of a client specification with one CM22 call, which changes nothing.

CM22 is asked for the state of a tracking id that cannot exist. Mirakl's 404 comes from behind the check of the
credential, so it says that both are good. Other servers answer 404 too: Mirakl's is a JSON object, and what it says is
shown, since that of an API gateway is one as well. No CM21 call is made.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import httpx

from consumer.adapters.mirakl.address import state_address
from consumer.adapters.mirakl.connections import one_connection_each
from consumer.adapters.mirakl.exchange import FAILURES, Times, headers, read_body
from consumer.adapters.mirakl.failures import own_trouble, remedy
from consumer.adapters.mirakl.response import decompressed, parsed, read_answer
from consumer.adapters.mirakl.way_out import WayOut
from consumer.domain.calls import CallFailure, Receipt, Refusal, Unacknowledged
from consumer.domain.model import ClientSpecification
from schemas.explanation import Explanation

UNKNOWN_TRACKING_ID: Final = "00000000-0000-0000-0000-000000000000"
"""The nil UUID, which is never generated (RFC 9562, section 5.9). Mirakl's tracking ids look like UUIDs."""

_CHECK_URL: Final = "Correct the base URL: `clients set {id} --url URL`."
_CHECK_CREDENTIAL: Final = (
    "Set the credential anew, and --auth as this Mirakl wants it: `clients set {id} --credential-file F --auth bearer`."
)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Result of one CM22 call: whether address and credential are good, and what to do if not."""

    passed: bool
    message: str
    """The problem, or what is in order; a sentence."""
    remedy: str = ""
    """A sentence; empty: there is nothing to do."""

    @classmethod
    def failed(cls, problem: str, remedy: str) -> "CheckResult":
        """Return the result of a check that failed, with both sentences."""
        return cls(passed=False, message=problem, remedy=remedy)


async def check(specification: ClientSpecification, way_out: WayOut, call_timeout: float) -> CheckResult:
    """Make one CM22 call, within the call timeout; never raises for what Mirakl or the network do."""
    if specification.unusable is not None:
        return CheckResult.failed(*specification.unusable)
    times = Times(call_timeout)
    connection = one_connection_each(way_out)()
    body = bytearray()
    try:
        request = httpx.Request(
            "GET",
            state_address(specification.base_url, UNKNOWN_TRACKING_ID),
            headers=headers(specification),
            extensions={"timeout": times.by_step, "written": lambda: None},
        )
        async with asyncio.timeout(times.total):
            response = await connection.handle_async_request(request)
            await read_body(response, body)
    except FAILURES as error:
        found = own_trouble(error) or Explanation(f"Mirakl could not be asked: {times.reason(error)}.", remedy(error))
        return CheckResult.failed(*found)
    finally:
        await connection.aclose()
    result = judge(response.status_code, response.headers, bytes(body), specification.credential)
    return CheckResult(result.passed, result.message, result.remedy.format(id=specification.id))


def judge(status: int, answer_headers: Mapping[str, str], body: bytes, credential: str) -> CheckResult:
    """Return what an answer to CM22 says; ``{id}`` in its remedy stands for the client specification's id."""
    outcome = read_answer(status, answer_headers, body, credential=credential, wall_time=time.time())
    body = decompressed(body, answer_headers.get("content-encoding", ""))
    page = "html" in answer_headers.get("content-type", "").lower() or body.lstrip().startswith(b"<")
    match outcome:
        case Refusal(status=HTTPStatus.NOT_FOUND) if isinstance(parsed(body), dict):
            return CheckResult(
                passed=True, message=f"The answer is as of a Mirakl that accepts the credential ({_quoted(outcome)})."
            )
        case Receipt() | Unacknowledged() if page:
            problem = f"The answer is HTTP {status} with a web page, such as a login page: this is not Mirakl's API."
            return CheckResult.failed(problem, _CHECK_URL)
        case Receipt() | Unacknowledged():
            problem = f"The answer is HTTP {status} for a tracking id that cannot exist: this is not Mirakl's API."
            return CheckResult.failed(problem, _CHECK_URL)
        case CallFailure():
            return _unavailable(outcome)
        case Refusal():
            return _refused(outcome, page=page)


def _refused(refusal: Refusal, *, page: bool) -> CheckResult:
    answer = _quoted(refusal)
    match refusal.status:
        case HTTPStatus.NOT_FOUND if page:
            problem, todo = f"The answer is a web page ({answer}): this is not Mirakl's API.", _CHECK_URL
        case HTTPStatus.NOT_FOUND:
            problem, todo = f"The answer is not a JSON object ({answer}): this is not Mirakl's API.", _CHECK_URL
        case HTTPStatus.UNAUTHORIZED:
            problem, todo = f"Mirakl refuses the credential ({answer}).", _CHECK_CREDENTIAL
        case HTTPStatus.FORBIDDEN if page:
            problem = f"The answer is a web page that forbids the call ({answer})."
            todo = "Check whether this Mirakl, or a firewall before it, allows the addresses that calls come from."
        case HTTPStatus.FORBIDDEN:
            problem = f"Mirakl knows the credential and forbids the call ({answer})."
            todo = f"Have its user granted product synchronization, or use another one. {_CHECK_CREDENTIAL}"
        case status if status < HTTPStatus.BAD_REQUEST:
            problem = f"The answer leads elsewhere ({answer}), and redirects are not followed."
            todo = f"Use the address behind the redirect, if it is Mirakl's API. {_CHECK_URL}"
        case _:
            problem, todo = f"The answer is not one that Mirakl gives to CM22 ({answer}).", _CHECK_URL
    return CheckResult.failed(problem, todo)


def _quoted(refusal: Refusal) -> str:
    return f"HTTP {refusal.status}: {refusal.excerpt}" if refusal.excerpt else f"HTTP {refusal.status}"


def _unavailable(failure: CallFailure) -> CheckResult:
    if failure.status == HTTPStatus.TOO_MANY_REQUESTS:
        wait = "" if failure.retry_after is None else f" after {failure.retry_after:.0f} s"
        problem = f"Mirakl's quota for this call is used up ({failure.reason})."
        return CheckResult.failed(problem, f"Check again later{wait}.")
    problem = f"Mirakl is unavailable ({failure.reason})."
    return CheckResult.failed(problem, "Check again later; if it lasts, ask its operator.")
