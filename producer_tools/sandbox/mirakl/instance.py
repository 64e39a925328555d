"""One simulated Mirakl instance: what it answers to CM21, CM22 and CM23, and what it takes in.

A CM21 call passes these gates in this order, each refusing as Mirakl would: credential (401), content type (415),
size (413), form (400), an id that is just being sent with another SKU (400), number of entries (413); then the
scripted faults; then concurrent calls and calls per hour (429). What only a wrong caller can cause is a *violation*:
refused, counted, and shouted about.
"""

import json
import math
import random
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from producer_tools.sandbox.mirakl.entries import Malformed, read_entries
from producer_tools.sandbox.mirakl.faults import FaultPlan, delivery, error_response
from producer_tools.sandbox.mirakl.journal import Counters, Journal, Submission
from producer_tools.sandbox.mirakl.rules import Processing, Rules
from producer_tools.sandbox.mirakl.wire import Delivery, Request, Then, response

_PHASES: Final = ("WAITING", "QUEUED", "RUNNING")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """State that all instances of one simulator share: faults, journal, randomness and the witness."""

    plan: FaultPlan
    journal: Journal
    randomness: random.Random
    violated: Callable[[str], None]


class Instance:
    """One Mirakl of many, with its own rules, credential, quota and counters."""

    def __init__(self, name: str, rules: Rules, surroundings: Surroundings) -> None:
        self.name = name
        self.counters = Counters()
        self._shared = surroundings
        self._out: dict[int, dict[str, str]] = {}
        """The products of the calls that are not answered yet, by the number of the call."""
        self._sending: dict[str, str] = {}
        """All these products together."""
        self.rules = rules

    @property
    def rules(self) -> Rules:
        return self._rules

    @rules.setter
    def rules(self, rules: Rules) -> None:
        self._rules = rules
        self._tokens: float = rules.burst or rules.calls_per_hour or math.inf
        self._refilled_at = time.monotonic()

    # CM21

    def synchronize(self, request: Request) -> Delivery:
        """Answer CM21 as strictly as Mirakl would: check everything, then take the products in."""
        self.counters.calls += 1
        try:
            return self._admit(request, self._read(request))
        except _RefusedError as refusal:
            self.counters.answers[str(refusal.status)] += 1
            return Delivery(error_response(refusal.status, str(refusal), headers=refusal.headers))

    def _read(self, request: Request) -> dict[str, str]:
        self._authorize(request)
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise self._violation(415, "the content type is not application/json")
        if self._rules.max_body_bytes is not None and len(request.body) > self._rules.max_body_bytes:
            raise _RefusedError(413, f"The body is larger than {self._rules.max_body_bytes} bytes")
        products = read_entries(request.body)
        if isinstance(products, Malformed):
            raise self._violation(400, "; ".join(products.problems))
        self._refuse_conflicts(products)
        self.counters.entries += len(products)
        self.counters.largest_call = max(self.counters.largest_call, len(products))
        if self._rules.max_entries is not None and len(products) > self._rules.max_entries:
            raise _RefusedError(413, f"There are more than {self._rules.max_entries} entries")
        return products

    def _refuse_conflicts(self, products: dict[str, str]) -> None:
        if not self._sending.keys().isdisjoint(products):
            conflicts = [each for each, sku in products.items() if self._sending.get(each, sku) != sku]
            if conflicts:
                raise self._violation(400, f"{conflicts[:10]} are in a concurrent call with another SKU")

    def _admit(self, request: Request, products: dict[str, str]) -> Delivery:
        fault = self._shared.plan.meet(self.name, "CM21", products)
        if fault is None or fault.takes_in:
            self._respect_limits()
        answer = self._take_in(request, products) if fault is None or fault.takes_in else b""
        result = Delivery(answer) if fault is None else delivery(fault, answer, time.time())
        self.counters.answers[_described(result)] += 1
        return replace(result, delay=result.delay + self._latency(), ended=self._calling(products))

    def _respect_limits(self) -> None:
        if self._rules.concurrent_calls is not None and len(self._out) >= self._rules.concurrent_calls:
            raise _RefusedError(429, "Too many concurrent calls")
        wait = self._take_token()
        if wait > 0:
            raise _RefusedError(429, "Too many calls in the last hour", {"Retry-After": str(math.ceil(wait))})

    def _take_token(self) -> float:
        """Take one of the calls per hour; where none is left, give the seconds until the next."""
        if self._rules.calls_per_hour is None:
            return 0.0
        per_second = self._rules.calls_per_hour / 3600
        now = time.monotonic()
        refilled = self._tokens + (now - self._refilled_at) * per_second
        self._tokens = min(refilled, self._rules.burst or self._rules.calls_per_hour)
        self._refilled_at = now
        if self._tokens < 1:
            return (1 - self._tokens) / per_second
        self._tokens -= 1
        return 0.0

    def _take_in(self, request: Request, products: dict[str, str]) -> bytes:
        bits = f"{self._shared.randomness.getrandbits(128):032x}"
        tracking_id = f"{bits[:8]}-{bits[8:12]}-{bits[12:16]}-{bits[16:20]}-{bits[20:]}"
        self._shared.journal.record(Submission(time.time(), self.name, tracking_id, request.body))
        self.counters.taken_in_calls += 1
        self.counters.taken_in_entries += len(products)
        return self._answer(self._rules.status, {"tracking_id": tracking_id})

    def _latency(self) -> float:
        latency, chance = self._rules.latency, self._shared.randomness.random
        seconds = latency.seconds
        if latency.jitter:
            seconds += latency.jitter * chance()
        if latency.tail_share and chance() < latency.tail_share:
            seconds += latency.tail_seconds
        return seconds

    def _calling(self, products: dict[str, str]) -> Callable[[], None]:
        """Note that a call is out; what is returned notes its end."""
        call = self.counters.calls
        self._out[call] = products
        self._sending |= products
        self.counters.concurrent_calls = len(self._out)
        self.counters.most_concurrent_calls = max(self.counters.most_concurrent_calls, len(self._out))
        return partial(self._called, call)

    def _called(self, call: int) -> None:
        disjoint = len(self._sending) == sum(map(len, self._out.values()))
        products = self._out.pop(call)
        if disjoint:
            deque(map(self._sending.pop, products), maxlen=0)
        else:
            self._sending = {each: sku for others in self._out.values() for each, sku in others.items()}
        self.counters.concurrent_calls = len(self._out)

    # CM22 and CM23

    def state(self, request: Request, tracking_id: str) -> Delivery:
        return self._about(request, "CM22", tracking_id, self._state)

    def report(self, request: Request, tracking_id: str) -> Delivery:
        return self._about(request, "CM23", tracking_id, self._report)

    def _about(
        self, request: Request, operation: str, tracking_id: str, describe: Callable[[Submission], dict[str, object]]
    ) -> Delivery:
        try:
            self._authorize(request)
            submission = self._submission(tracking_id)
            answer = self._answer(200, describe(submission))
        except _RefusedError as refusal:
            return Delivery(error_response(refusal.status, str(refusal)))
        fault = self._shared.plan.meet(self.name, operation, submission.products)
        return Delivery(answer) if fault is None else delivery(fault, answer, time.time())

    def _submission(self, tracking_id: str) -> Submission:
        submission = self._shared.journal.find(tracking_id)
        if submission is None or submission.instance != self.name:
            raise _RefusedError(404, f"There is no synchronization with the tracking id {tracking_id}")
        return submission

    def _state(self, submission: Submission) -> dict[str, object]:
        processing = self._rules.processing
        status = _status(processing, time.time() - submission.time)
        state: dict[str, object] = {"tracking_id": submission.tracking_id, "status": status}
        if processing.bare:
            return state
        final = status not in _PHASES
        failed = len(processing.failed_products.keys() & submission.products.keys())
        return state | {
            "processed": len(submission.products) if final else 0,
            "succeeded": len(submission.products) - failed if final else 0,
            "failed": failed if final else 0,
            "has_report": processing.has_report and final,
            "partial_read": processing.partial_read,
            "archived": processing.archived,
        }

    def _report(self, submission: Submission) -> dict[str, object]:
        processing = self._rules.processing
        if not processing.has_report or _status(processing, time.time() - submission.time) in _PHASES:
            raise _RefusedError(404, f"There is no report for the tracking id {submission.tracking_id}")
        return {
            "processed_items": [
                _item(each, sku, processing)
                for each, sku in reversed(submission.products.items())  # never by position
            ],
            "global_errors": [error.model_dump() for error in processing.global_errors],
        }

    # All three

    def _authorize(self, request: Request) -> None:
        authorization = request.headers.get("authorization", "")
        accepted = self._rules.authorization
        if self._rules.revoked or not authorization or (accepted is not None and authorization not in accepted):
            raise _RefusedError(401, "Unauthorized")

    def _answer(self, status: int, fields: Mapping[str, object]) -> bytes:
        unknown = {f"unknown_{number}": {"x": [None]} for number in range(self._rules.unknown_fields)}
        return response(status, json.dumps(unknown | dict(fields)).encode())

    def _violation(self, status: int, problem: str) -> "_RefusedError":
        self._shared.violated(f"{self.name}: {problem}")
        return _RefusedError(status, problem)


class _RefusedError(Exception):
    """A gate that a request does not pass: credential, method, quota, size or content."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers


def _described(result: Delivery) -> str:
    if result.then in (Then.HANG, Then.RESET):
        return result.then.name.lower()
    return result.data[9:12].decode() if result.data.startswith(b"HTTP/") else "none"


def _status(processing: Processing, age: float) -> str:
    if age >= processing.seconds:
        return processing.final_status
    return _PHASES[int(age / processing.seconds * len(_PHASES))]


def _item(mirakl_product_id: str, product_sku: str, processing: Processing) -> dict[str, object]:
    error = processing.failed_products.get(mirakl_product_id)
    return {
        "mirakl_product_id": mirakl_product_id,
        "product_sku": product_sku,
        "status": "FAILURE" if error else "SUCCESS",
        "synchronization_errors": [error.model_dump()] if error else [],
    }
