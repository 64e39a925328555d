"""The demo itself: ask, show the answers as they come, judge them."""

import signal
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import FrameType
from typing import Final

from producer_tools.dead_letters import DeadLetter, DeadLetters
from producer_tools.sandbox.demo.cases import (
    CASES,
    DEADLINE_SECONDS,
    UNREADABLE_VALUE,
    Answer,
    ApiKey,
    Case,
    Observation,
    complaints,
    queue_jams,
)
from producer_tools.sandbox.demo.over_http import CALLS_OF_MIRAKL, ask_over_http
from producer_tools.sandbox.demo.screen import INTRODUCTION, Screen
from producer_tools.sandbox.demo.stage import POLL_SECONDS, Stage, staged
from producer_tools.sender import Acknowledgement, OutgoingRecord
from producer_tools.topic_reader import Headers
from schemas.contract import API_KEY_HEADER
from schemas.events import ProductResyncRequested, ProductResyncResult, ResyncStatus

PATIENCE_SECONDS: Final = DEADLINE_SECONDS + 5.0
"""Every request is decided within the deadline; the rest is for a machine that is starved."""
LINGER_SECONDS: Final = 0.5
"""For a second answer to the same request, which would be one too many."""
FORGED_SECRET: Final = "mrk_forged"  # noqa: S105  a key that nobody issued


def perform(cases: Sequence[Case] = CASES, *, keep: bool = False, verbose: bool = False) -> int:
    """Play the demo; 0 where each answer was the right one, else 1.

    Leaves no process and no file behind, whatever happens: ``keep`` keeps the folder with the database and the
    service's log, ``verbose`` shows that log as it is written. Raises ``ResyncToolError`` where a part of the system
    fails.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    screen = Screen()
    started = time.monotonic()
    screen.say(INTRODUCTION)
    with staged(screen, keep=keep, verbose=verbose) as stage:
        seen = _play(stage, screen, cases)
        wrong = [(case.title, complaint) for case, observed in seen for complaint in complaints(case, observed)]
        wrong += ask_over_http(stage, screen)
        wrong += [("all in all", complaint) for complaint in _complaints_as_a_whole(stage, seen)]
    screen.conclude(seen, wrong, time.monotonic() - started)
    return 1 if wrong else 0


def _leave(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


def _complaints_as_a_whole(stage: Stage, seen: Sequence[tuple[Case, Observation]]) -> Iterator[str]:
    yield from queue_jams(seen)
    yield from (f"CM21 was called as it must never be: {violation}" for violation in stage.mirakl.violations)
    strays = stage.mirakl.all_calls - sum(observed.calls for _, observed in seen) - CALLS_OF_MIRAKL
    if strays:
        yield f"{strays} CM21 calls that no request accounts for"
    code = stage.service.stop()
    if code:
        yield f"told to stop, the service ended with {code}. {stage.service.last_words()}"


# --- asking -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Sent:
    """A request, and what has come of it so far."""

    case: Case
    at: float
    acknowledged: Future[Acknowledgement]
    answers: list[ProductResyncResult | DeadLetter] = field(default_factory=list)
    seconds: float = PATIENCE_SECONDS
    """Until the first answer was seen."""

    def add(self, answer: ProductResyncResult | DeadLetter, screen: Screen) -> None:
        if not self.answers:
            self.seconds = time.monotonic() - self.at
            screen.answer(self.case.title, self.seconds, outcome(answer), _message(answer))
        self.answers.append(answer)


def _play(stage: Stage, screen: Screen, cases: Sequence[Case]) -> list[tuple[Case, Observation]]:
    """Send all requests at once, and wait for what comes of them."""
    sent = dict(_send(stage, case) for case in cases)
    with screen.waiting(f"{len(sent)} requests were sent at once. Their answers, as they come:"):
        _await_answers(stage, screen, sent)
    return [(each.case, _observation(stage, each)) for each in sent.values()]


def _send(stage: Stage, case: Case) -> tuple[str, _Sent]:
    request = ProductResyncRequested(
        request_id=str(uuid.uuid4()),
        client_specification_id=case.specification_id,
        products=case.products,
        requested_at=datetime.now(UTC),
        requested_by="mirakl-resync demo",
        reason=case.title,
    )
    record = stage.publisher.prepare(request)
    record = replace(record, headers=_headers(record, case.api_key, stage.api_keys))
    if not case.readable:
        record = replace(record, value=UNREADABLE_VALUE)
    return request.request_id, _Sent(case, time.monotonic(), stage.publisher.submit_record(record))


def _headers(record: OutgoingRecord, key: ApiKey | None, issued: Mapping[ApiKey, str]) -> Headers:
    """The record's headers with the API key of whoever asks, or without any."""
    others = tuple(header for header in record.headers if header[0] != API_KEY_HEADER)
    return others if key is None else (*others, (API_KEY_HEADER, issued.get(key, FORGED_SECRET).encode()))


# --- answers ----------------------------------------------------------------------------------------------------


def _await_answers(stage: Stage, screen: Screen, sent: Mapping[str, _Sent]) -> None:
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < give_up_at and any(not each.answers for each in sent.values()):
        stage.service.check()
        _take_result(stage, screen, sent)
        if any(not each.case.readable and not each.answers for each in sent.values()):
            _take_dead_letters(stage, screen, sent)
    linger_until = time.monotonic() + LINGER_SECONDS
    while time.monotonic() < linger_until:
        _take_result(stage, screen, sent)
    _take_dead_letters(stage, screen, sent)


def _take_result(stage: Stage, screen: Screen, sent: Mapping[str, _Sent]) -> None:
    result = stage.results.read(POLL_SECONDS)
    if result is not None and result.value.request_id in sent:
        sent[result.value.request_id].add(result.value, screen)


def _take_dead_letters(stage: Stage, screen: Screen, sent: Mapping[str, _Sent]) -> None:
    """Read all dead letters, and give those that are new to the requests they were made of."""
    acknowledged = [(each.acknowledged.result(), each) for each in sent.values()]
    records = {(at.partition, at.offset): each for at, each in acknowledged}
    for letter in DeadLetters(stage.settings):
        each = records.get((letter.request_partition or 0, letter.request_offset or 0))
        if each is not None and letter not in each.answers:
            each.add(letter, screen)


def outcome(answer: ProductResyncResult | DeadLetter) -> str:
    """Return the name of an answer, in the form of ``Answer.outcome``, to compare it with what was expected."""
    if isinstance(answer, DeadLetter):
        return f"dead letter {answer.reason}"
    if answer.error is None:
        return answer.status.value
    error = f"{answer.error.http_status} {answer.error.code}"
    return error if answer.status is ResyncStatus.FAILED else f"{answer.status.value} {error}"


def _message(answer: ProductResyncResult | DeadLetter) -> str:
    if isinstance(answer, DeadLetter):
        return answer.message or ""
    if answer.error is not None:
        return answer.error.message
    return f"{answer.synchronized_products:,} products, tracking id {answer.tracking_ids[0]}" + (
        f" and {len(answer.tracking_ids) - 1} more" if len(answer.tracking_ids) > 1 else ""
    )


def judged(given: ProductResyncResult | DeadLetter) -> Answer:
    """Return what is judged of an answer: its outcome, code and numbers, but neither ids nor times."""
    if isinstance(given, DeadLetter):
        return Answer(outcome(given))
    error = given.error
    return Answer(
        outcome(given),
        given.synchronized_products,
        given.client_specification_id,
        frozenset(error.available_client_specification_ids if error else ()),
        retryable=error is not None and error.retryable,
    )


def _observation(stage: Stage, sent: _Sent) -> Observation:
    case = sent.case
    calls = 0 if case.called is None else stage.mirakl.calls(case.called)
    if not sent.answers:
        return Observation(None, sent.seconds, calls, answers=0)
    first = sent.answers[0]
    missing = _missing(stage, case, first) if isinstance(first, ProductResyncResult) else 0
    return Observation(judged(first), sent.seconds, calls, missing, len(sent.answers))


def _missing(stage: Stage, case: Case, result: ProductResyncResult) -> int:
    """Return the number of products reported as synchronized that Mirakl did not accept."""
    if result.status is ResyncStatus.FAILED:
        return 0
    taken_in = set(case.products) - set(result.unsynchronized_products)
    return stage.mirakl.missing(result.tracking_ids, taken_in)
