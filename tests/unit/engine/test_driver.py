"""The loop around the core: events in, commands carried out, troubles told, bugs raised."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Hashable, Sequence
from itertools import pairwise
from ssl import SSLError
from time import sleep
from typing import Any

import pytest

from consumer.domain.calls import CallFailure, CallOutcome, Receipt
from consumer.domain.model import ClientSpecification, Directory, Products
from consumer.engine.clock import Instant
from consumer.engine.commands import Command, Commit, Reload, Reread, StartCall
from consumer.engine.core import Core
from consumer.engine.driver import Driver, next_events, now
from consumer.engine.events import (
    Assigned,
    CallFinished,
    Event,
    Fetched,
    MembershipChanged,
    Revoking,
    StopRequested,
    ThreadFailed,
    Tick,
    TransactionFinished,
    TransactionResult,
)
from consumer.engine.policy import Policy
from consumer.engine.ports import SourceError
from consumer.engine.records import ReadRange
from tests.support.builders import fetched_record
from tests.unit.engine.world import KEY, JsonDecoder, body, directory, specification


class Parts:
    """Everything around a driver, all in one: Mirakl, the stores, the registry, the two Kafka threads."""

    def __init__(self, policy: Policy | None = None) -> None:
        self.decoder = JsonDecoder()
        self.core = Core(self.decoder, policy or Policy())
        self.observed: list[tuple[CallOutcome, float, StartCall]] = []
        self.driver = Driver(self.core, self, self, self, lambda *seen: self.observed.append(seen))
        self.driver.connect(self, self)
        self.directory: Directory | None = directory(specification())
        self.known_versions: list[int | None] = []
        self.trouble: Exception | None = None
        self.call_trouble: Exception | None = None
        self.call_seconds = 0.001
        self.committed: list[Commit] = []
        self.done: list[tuple[str, tuple[int, ...]]] = []
        self.schemas = {"v9"}
        self.registry_troubles = 0
        self.registry_bugs = 0

    async def synchronize(self, specification: ClientSpecification, products: Products) -> CallOutcome:
        assert "secret-credential" == specification.credential
        await asyncio.sleep(self.call_seconds)
        if self.call_trouble is not None:
            raise self.call_trouble
        return Receipt("t-" + "-".join(products))

    def read(self, known_version: int | None) -> Directory | None:
        assert threading.current_thread() is not threading.main_thread()
        self.known_versions.append(known_version)
        if self.trouble is not None:
            raise self.trouble
        changed, self.directory = self.directory, None
        return changed

    async def learn(self, reference: Hashable) -> bool:
        if self.registry_bugs:
            raise SSLError("a TLS alert")
        if self.registry_troubles:
            self.registry_troubles -= 1
            raise SourceError("The registry is away.", "Restart it.")
        self.decoder.learnt.add(str(reference))
        return reference in self.schemas

    def commit(self, commit: Commit) -> None:
        self.committed.append(commit)
        kept = frozenset(part.partition for part in commit.partitions)
        self.driver.post(TransactionFinished(commit, TransactionResult.COMMITTED, kept))

    def pause(self, partitions: Sequence[int]) -> None:
        self.done.append(("pause", tuple(partitions)))

    def resume(self, partitions: Sequence[int]) -> None:
        self.done.append(("resume", tuple(partitions)))

    def drained(self, partitions: Sequence[int]) -> None:
        self.done.append(("drained", tuple(partitions)))

    def reload(self, reload: Reload) -> None:
        self.done.append(("reload", (reload.partition,)))

    def reread(self, reread: Reread) -> None:
        self.done.append(("reread", (reread.partition,)))

    # -- for the tests ---------------------------------------------------------------------------------

    def assign(self) -> None:
        self.driver.post(MembershipChanged(member=True))
        self.driver.post(Assigned(0, 1, 0, None))

    def send(self, *request_ids: str, schema: bytes | None = None) -> None:
        headers = [("dj-api-key", KEY), ("dj-client", b"OPERATOR"), ("__value_schema_id", schema)]
        records = [fetched_record(0, offset, 0, None, body(name), headers) for offset, name in enumerate(request_ids)]
        self.driver.post(Fetched({0: ReadRange(1, 0, len(records))}, records))

    def stop(self) -> None:
        self.driver.post(StopRequested())

    @property
    def answered(self) -> list[str]:
        return [
            request.request_id for commit in self.committed for each in commit.partitions for request in each.outcomes
        ]


async def until(what: Callable[[], object], seconds: float = 5.0) -> None:
    """Wait for something to become true."""
    async with asyncio.timeout(seconds):
        while not what():  # noqa: ASYNC110 - what is waited for does not know that it is
            await asyncio.sleep(0.002)


def run(parts: Parts, story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Turn the loop beside a story, which stops it in the end."""

    async def both() -> None:
        turning = asyncio.create_task(parts.driver.run())
        telling = asyncio.create_task(story())
        try:
            await asyncio.wait({turning, telling}, return_when=asyncio.FIRST_COMPLETED, timeout=10)
            if telling.done():
                telling.result()
            await asyncio.wait_for(turning, 5)
        finally:
            telling.cancel()

    asyncio.run(both())


def test_a_request_goes_all_the_way_and_a_stop_ends_the_loop() -> None:
    parts = Parts()

    async def story() -> None:
        parts.assign()
        parts.send("a", "b")
        await until(lambda: parts.answered)
        parts.stop()

    run(parts, story)
    assert ["a", "b"] == parts.answered
    ((outcome, seconds, call),) = parts.observed
    assert Receipt("t-id-a-id-b") == outcome
    assert 0 < seconds < 5
    assert 2 == call.requests


def test_events_from_other_threads_wake_the_loop() -> None:
    parts = Parts(Policy(tick=60.0))

    async def story() -> None:
        parts.assign()
        await until(lambda: parts.known_versions)
        await asyncio.sleep(0.05)
        threading.Thread(target=parts.send, args=("a",)).start()
        await until(lambda: parts.answered)
        parts.stop()

    run(parts, story)


def test_the_stores_are_asked_at_once_on_demand_of_any_thread() -> None:
    parts = Parts(Policy(directory_interval=60.0))

    async def story() -> None:
        await until(lambda: parts.known_versions == [None])
        threading.Thread(target=parts.driver.renew_directory).start()
        await until(lambda: parts.known_versions == [None, 1])
        parts.stop()

    run(parts, story)


def test_however_often_the_stores_are_to_be_asked_few_questions_wait() -> None:
    parts = Parts(Policy(directory_interval=60.0))
    read, begun = parts.read, threading.Event()

    def slow(known_version: int | None) -> Directory | None:
        begun.wait(5)
        return read(known_version)

    parts.read = slow  # type: ignore[method-assign]  # a database that takes its time

    async def story() -> None:
        for _ in range(9):
            parts.driver.renew_directory()
            await asyncio.sleep(0.01)
        begun.set()
        await until(lambda: len(parts.known_versions) > 1)
        await asyncio.sleep(0.1)
        parts.stop()

    run(parts, story)
    assert len(parts.known_versions) <= 3  # one of them because the core asks


def test_the_stores_are_asked_with_the_version_that_is_known() -> None:
    parts = Parts()

    async def story() -> None:
        await until(lambda: len(parts.known_versions) > 1)
        parts.stop()

    run(parts, story)
    assert [None, 1] == parts.known_versions[:2]


def test_trouble_of_the_stores_is_told_and_ends_nothing() -> None:
    parts = Parts()
    parts.trouble = SourceError("The database is locked.", "Wait.")

    async def story() -> None:
        parts.assign()
        parts.send("a")
        await until(lambda: parts.driver.status.troubles == ("The database is locked. Wait.",))
        assert 0 == parts.driver.fetch_budget.records
        parts.trouble = None
        await until(lambda: parts.answered)
        parts.stop()

    run(parts, story)
    assert ["a"] == parts.answered


def test_an_ignored_progress_map_is_logged_with_its_partition(caplog: pytest.LogCaptureFixture) -> None:
    parts = Parts()

    async def story() -> None:
        parts.driver.post(Assigned(7, 1, 10, "somebody else's words"))
        await until(lambda: parts.driver.status.progress_maps_ignored)
        parts.stop()

    run(parts, story)
    assert "partition 7: the progress map committed with offset 10 is ignored (not base85)" in caplog.text


def test_a_schema_is_looked_up_and_what_waited_goes_on() -> None:
    parts = Parts()

    async def story() -> None:
        parts.assign()
        parts.send("a", schema=b"v9")
        await until(lambda: parts.answered)
        parts.stop()

    run(parts, story)
    assert ["a"] == parts.answered


def test_pauses_and_given_up_partitions_reach_the_owner_thread() -> None:
    parts = Parts()
    parts.directory = directory(keys={})

    async def story() -> None:
        parts.assign()
        await until(lambda: ("pause", (0,)) in parts.done)
        parts.directory = directory(specification(), version=2)
        await until(lambda: ("resume", (0,)) in parts.done)
        parts.driver.post(Revoking([0], patience=0.25))
        await until(lambda: ("drained", (0,)) in parts.done)
        parts.stop()

    run(parts, story)


def test_whatever_a_call_raises_is_the_outcome_of_that_call(caplog: pytest.LogCaptureFixture) -> None:
    parts = Parts()
    parts.call_trouble = UnicodeError("secret-credential is no label")

    async def story() -> None:
        parts.assign()
        parts.send("a")
        await until(lambda: parts.observed)
        parts.call_trouble = None
        await until(lambda: parts.answered)
        parts.stop()

    run(parts, story)
    assert ["a"] == parts.answered
    failure = parts.observed[0][0]
    assert isinstance(failure, CallFailure)
    assert failure.may_have_reached
    assert "UnicodeError" in failure.reason
    assert "UnicodeError at test_driver.py" in caplog.text
    assert "secret-credential" not in caplog.text + failure.reason


def test_whatever_the_stores_raise_closes_the_intake_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    parts = Parts()
    parts.trouble = TypeError("secret-credential")

    async def story() -> None:
        parts.assign()
        parts.send("a")
        await until(lambda: any("TypeError" in trouble for trouble in parts.driver.status.troubles))
        parts.trouble = None
        await until(lambda: parts.answered)
        parts.stop()

    run(parts, story)
    assert ["a"] == parts.answered
    assert "secret-credential" not in caplog.text


def test_whatever_the_registry_raises_holds_up_its_own_records_only() -> None:
    parts = Parts()
    parts.registry_bugs = 1

    async def story() -> None:
        parts.assign()
        parts.send("a", schema=b"v9")
        await until(lambda: any("ssl" in trouble.lower() for trouble in parts.driver.status.troubles))
        parts.stop()

    run(parts, story)


def test_a_problem_of_another_thread_ends_the_loop() -> None:
    parts = Parts()

    async def story() -> None:
        parts.driver.post(ThreadFailed(OSError("the owner thread has ended")))
        await asyncio.sleep(60)

    with pytest.raises(OSError, match="owner thread"):
        run(parts, story)


def test_a_halt_ends_the_loop_whatever_is_unfinished() -> None:
    parts = Parts()

    parts.call_seconds = 3600.0

    async def story() -> None:
        parts.assign()
        parts.send("a")
        await until(lambda: parts.known_versions)
        parts.driver.halt()

    run(parts, story)
    assert [] == parts.answered


def test_events_that_come_after_the_end_disturb_nobody() -> None:
    parts = Parts()

    async def story() -> None:
        parts.stop()
        await asyncio.sleep(0)

    run(parts, story)
    parts.assign()


def test_progress_and_status_are_fresh_although_nothing_happens() -> None:
    parts = Parts()

    async def story() -> None:
        await asyncio.sleep(0.5)
        before = parts.driver.progress_at, parts.driver.status.taken_at
        await asyncio.sleep(0.5)
        assert before[0] < parts.driver.progress_at
        assert before[1] < parts.driver.status.taken_at
        assert 1.0 > now().mono - parts.driver.status.taken_at
        parts.stop()

    run(parts, story)


def test_the_status_shows_at_once_that_requests_are_taken_in() -> None:
    """A start, and each step of a rolling upgrade, waits for ``/readyz``."""
    parts = Parts(Policy(status_interval=60.0))

    async def story() -> None:
        await until(lambda: parts.known_versions)
        assert not parts.driver.status.joined
        parts.driver.post(MembershipChanged(member=True))
        await until(lambda: parts.driver.status.joined and not parts.driver.status.troubles)
        parts.driver.post(MembershipChanged(member=False))
        await until(lambda: not parts.driver.status.joined)
        parts.stop()

    run(parts, story)


def test_a_turn_has_no_more_events_than_allowed_and_ends_behind_what_may_take_long() -> None:
    records, end = Fetched({}, [fetched_record(0, 0, 0, None, body("a"), [])]), Fetched({}, [])
    ended = [CallFinished(number, Receipt("t")) for number in range(7)]
    failed = CallFinished(7, CallFailure("HTTP 503", may_have_reached=False, status=503))
    over = ThreadFailed(OSError())
    inbox = deque[Event]([ended[0], end, records, records, ended[1], failed, failed, *ended[2:], over])

    turns = [next_events(inbox, 4) for _ in range(8)]
    assert [[ended[0], end, records], [records], [ended[1], failed], [failed], ended[2:6]] == turns[:5]
    assert [[ended[6]], [over], []] == turns[5:]


@pytest.mark.interpreted
def test_ticks_that_take_long_leave_the_loop_to_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """With hundreds of busy lanes a tick takes tens of milliseconds, and ten a second were a third of all time."""
    parts, ticked_at = Parts(), list[float]()
    handle = parts.core.handle

    def handle_slowly(events: Sequence[Event], at: Instant) -> list[Command]:
        if isinstance(events[0], Tick):
            ticked_at.append(at.mono)
            sleep(0.03)
        return handle(events, at)

    monkeypatch.setattr(parts.core, "handle", handle_slowly)

    async def story() -> None:
        end = now().mono + 1.5
        while now().mono < end:
            parts.driver.post(MembershipChanged(member=True))
            await asyncio.sleep(0)
        parts.stop()

    run(parts, story)
    intervals = [later - earlier for earlier, later in pairwise(ticked_at[:-1])]
    assert intervals
    assert 0.18 < min(intervals)
