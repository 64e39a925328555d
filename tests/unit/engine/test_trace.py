"""Traces: replayed to the same commands, without payload and secrets, within their bounds."""

import asyncio
import stat
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from consumer.adapters.event_trace import TraceFile
from consumer.domain.authorization import CredentialPolicy, key_digest
from consumer.domain.calls import CallFailure, Refusal
from consumer.domain.model import QuotaPart
from consumer.domain.retry import Backoff
from consumer.engine.clock import Instant
from consumer.engine.commands import Command
from consumer.engine.core import Core
from consumer.engine.credentials import Credentials
from consumer.engine.driver import Driver
from consumer.engine.events import Event, SchemaFound, Tick, TransactionResult, TransactionTrouble
from consumer.engine.policy import Policy
from consumer.engine.trace import EventTrace
from schemas.signature import signer, signing_secret
from tests.simulation.replay import ReplayError, replay
from tests.support.builders import api_key
from tests.unit.engine.serving import one_each
from tests.unit.engine.test_driver import Parts, run, until
from tests.unit.engine.world import FIRST, KEY, SECOND, JsonDecoder, World, body, json_encodings, specification


class TracedWorld(World):
    """A world whose core is traced to ``lines``."""

    def __init__(self) -> None:
        super().__init__(specification(), specification(SECOND, calls_per_hour=60), start=False)
        self.lines: list[str] = []
        backoff = Backoff(jitter=0.1)
        credentials = Credentials(CredentialPolicy(max_age=1_500.0))
        trace = EventTrace(keep_in(self.lines), self.decoder, json_encodings, self.policy, "salt", backoff, credentials)
        self.core = Core(trace, self.policy, "salt", backoff, trace.precedence, trace.credentials)
        handle = self.core.handle

        def traced(events: Sequence[Event], at: Instant) -> list[Command]:
            commands = handle(events, at)
            trace.record(events, at, commands)
            return commands

        self.core.handle = traced  # type: ignore[method-assign]


def keep_in(lines: list[str]) -> Callable[[str], bool]:
    def write(line: str) -> bool:
        lines.append(line)
        return True

    return write


@pytest.fixture
def world() -> TracedWorld:
    """A world in which much has happened."""
    world = TracedWorld()
    world.assign(0)
    world.send("a", {"id-1": "sku-1"}, given=FIRST)
    world.send("b", given=FIRST)
    world.fail(status=503)
    world.wait(2)
    world.answer()
    world.commit()
    world.send("older", {"shared": "1"}, given=FIRST, schema="v9")
    world.send("newer", {"shared": "2"}, given=FIRST)
    world.send("apart", {"other": "2"}, given=FIRST)
    world.decoder.learnt.add("v9")
    world.do(SchemaFound("v9"))
    world.send("c", given=SECOND, key=b"never-issued-key")
    world.send("d", given=SECOND, caller=None)
    world.send("e", key=b"  ")
    world.send("f", value=b"no request at all")
    world.change(
        specification(credential="renewed-credential"),
        specification(SECOND, suspended=True),
        keys={KEY: api_key(signing_secret=signing_secret(KEY)), b"cannot-sign": api_key(id="key-2")},
    )
    world.wait(2)
    world.answer(outcome=Refusal(422, "what Mirakl says of a payload"))
    world.wait(2)
    while world.calls:
        world.answer(outcome=CallFailure("no answer", may_have_reached=True))
    if world.transaction is not None:
        world.commit(TransactionResult.ABORTED, trouble=TransactionTrouble("no leader: look at the brokers"))
    world.settle()
    world.send("signed", given=FIRST, signed=True)
    world.send("signed-unread", value=b"a signed value", signed=True)
    world.send("stranger", given=FIRST, key=b"stranger", signed=True)
    world.send("unable", given=FIRST, key=b"cannot-sign", signed=True)
    stolen = world.record(body("stolen", given=FIRST), signed=True)
    world.fetch([replace(stolen, value=body("stolen", given=SECOND))])
    world.fetch([replace(world.record(body("blank")), headers=[("dj-signature", b" ")])])
    world.fetch([replace(world.record(body("malformed")), headers=[("dj-signature", b"v1:")])])
    world.wait(1)
    while world.calls:
        world.answer()
    world.settle()
    world.jump(600)
    world.send("too-old", given=FIRST, signed=True)
    world.wait(1)
    world.settle()
    return world


@pytest.mark.interpreted
def test_a_trace_leads_to_the_same_commands_again(world: TracedWorld) -> None:
    steps = list(replay(world.lines))

    assert len(world.lines) - 1 == len(steps)
    kinds = {command[0] for step in steps for command in step.commands}
    assert kinds >= {"StartCall", "Commit", "ConfirmDirectory", "LookUpSchema", "Resume"}
    assert world.code("signed") == "SYNCHRONIZED"
    refused = ("stranger", "unable", "stolen", "malformed", "too-old")
    assert ["API_KEY_INVALID"] * len(refused) == [world.code(each) for each in refused]
    assert "API_KEY_MISSING" == world.code("blank")


@pytest.mark.interpreted
def test_a_replay_has_the_same_part_of_the_quotas() -> None:
    world = TracedWorld()
    world.assign(0)
    world.change(specification(products_per_call=1, concurrent_calls=2, part=QuotaPart(1, None)))
    world.wait(1.5)
    one_each(world, 5)

    assert 1 == len(world.calls)
    assert len(world.lines) - 1 == len(list(replay(world.lines)))


@pytest.mark.interpreted
def test_a_core_that_does_something_else_than_recorded_is_noticed(world: TracedWorld) -> None:
    number = next(number for number, line in enumerate(world.lines) if '["StartCall",1,' in line)
    world.lines[number] = world.lines[number].replace('["StartCall",1,', '["StartCall",9,')

    with pytest.raises(ReplayError, match=rf"turn {number} led to other commands(.|\n)*\"StartCall\", 1,"):
        list(replay(world.lines))


def test_something_else_than_a_trace_is_refused() -> None:
    with pytest.raises(ReplayError, match="no trace of version"):
        list(replay(['{"trace": 0}']))


@pytest.mark.interpreted
def test_a_trace_holds_no_value_no_key_and_no_secret(world: TracedWorld) -> None:
    text = "".join(world.lines)

    assert "id-1" in text
    for secret in (KEY.decode(), "never-issued-key", "secret-credential", "renewed-credential", "mirakl.example"):
        assert secret not in text
    assert signing_secret(KEY).hex() not in text
    assert f"v1:{signer(key_digest(KEY))}" not in text
    assert "no request at all" not in text
    assert "what Mirakl says" not in text
    assert body("a", {"id-1": "sku-1"}).hex() not in text


def test_the_service_s_own_loop_can_be_replayed() -> None:
    lines: list[str] = []
    parts = Parts()
    trace = EventTrace(keep_in(lines), parts.decoder, json_encodings, Policy())
    core = Core(trace, Policy(), precedence=trace.precedence)
    parts.driver = Driver(core, parts, parts, parts, record=trace.record)
    parts.driver.connect(parts, parts)

    async def story() -> None:
        parts.assign()
        parts.send("a", "b", schema=b"v9")
        await until(lambda: parts.answered)
        await asyncio.sleep(0.2)
        parts.stop()

    run(parts, story)
    steps = list(replay(lines))
    assert ["a", "b"] == parts.answered
    assert ["Stopped"] in steps[-1].commands


@pytest.mark.interpreted
def test_nothing_is_traced_once_no_line_is_kept() -> None:
    kept: list[str] = []

    def write(line: str) -> bool:
        kept.append(line)
        return len(kept) < 3

    trace = EventTrace(write, JsonDecoder(), json_encodings, Policy())
    world = TracedWorld()
    for _ in range(5):
        trace.record([Tick()], world.at, [])

    assert 3 == len(kept)


def test_a_trace_file_is_the_owner_s_alone_and_spares_the_former_one(tmp_path: Path) -> None:
    path = tmp_path / "events.trace"
    path.write_text("of the last run")

    file = TraceFile(path)
    assert file.write("1\n")
    file.close()

    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    assert "of the last run" == (tmp_path / "events.trace.1").read_text()


def test_a_full_trace_file_ends_with_a_log_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = TraceFile(tmp_path / "events.trace", most_bytes=20)

    assert file.write("0123456789\n")
    assert not file.write("0123456789\n")

    assert "0123456789\n" == (tmp_path / "events.trace").read_text()
    assert "is full and ends here" in caplog.text
