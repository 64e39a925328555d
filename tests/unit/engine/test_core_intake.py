"""Our own troubles close the intake; a *no* of the database is never given too early."""

from typing import Any

import pytest

from consumer.domain.calls import CallFailure
from consumer.domain.outcome import DeadLettered, Failed, Synchronized
from consumer.engine.events import (
    MembershipChanged,
    PublishingTrouble,
    SchemaFound,
    SchemaMissing,
    SchemaUnavailable,
    TransactionResult,
    TransactionTrouble,
)
from consumer.engine.policy import Policy
from schemas.contract import DeadLetterReason
from schemas.explanation import Explanation
from tests.support.builders import api_key
from tests.unit.engine.world import FIRST, KEY, SECOND, TICK, World, body, specification

DEADLINE = Policy().request_deadline


def test_no_api_key_in_the_database_at_all_is_no_answer() -> None:
    world = World()
    world.change(specification(), keys={})
    world.wait(0.5)
    world.send("waits", key=b"a key made later")
    world.wait(2.0)

    assert world.transaction is None
    assert "no API key" in world.status.troubles[0]
    assert {0} == world.paused

    world.change(specification(), keys={b"a key made later": api_key()})
    world.wait(2.0)
    world.answer()
    world.settle()
    assert "SYNCHRONIZED" == world.code("waits")
    assert not world.paused


def test_an_empty_table_of_keys_is_not_asked_about_more_often_than_once_a_second() -> None:
    world = World()
    world.change(keys={})
    world.wait(1.5)
    before = world.questions
    world.wait(10.0)

    assert 11 >= world.questions - before


def test_records_read_while_the_database_is_away_wait_and_nothing_of_them_is_committed() -> None:
    world = World()
    world.database = False
    world.wait(6.0)
    world.send("waits")

    assert "database" in world.status.troubles[0]
    assert {0} == world.paused
    assert not world.calls
    assert world.transaction is None

    world.database = True
    world.wait(1.1)
    assert not world.status.troubles
    assert not world.paused
    world.answer()
    world.settle()
    assert "SYNCHRONIZED" == world.code("waits")


def test_the_intake_stays_open_while_the_database_is_silent_for_less_than_five_seconds() -> None:
    world = World()
    world.database = False
    world.wait(4.5)
    world.send("served")

    assert not world.status.troubles
    assert 1 == len(world.calls)


def test_the_clock_of_a_request_stands_still_while_the_intake_is_closed() -> None:
    """Read before the outage, it still has what was left of its time after it."""
    world = World(policy=Policy(request_deadline=60.0))
    world.send("patient")
    world.database = False
    world.wait(600.0)
    world.settle()
    assert [] == world.committed

    world.database = True
    world.wait(30.0)
    assert world.transaction is None
    world.answer()
    world.settle()
    assert "SYNCHRONIZED" == world.code("patient")


def test_a_no_waits_for_one_question_that_serves_all_who_wait() -> None:
    world = World()
    world.wait(0.5)
    world.database = False
    before = world.questions
    world.fetch([world.record(body(f"r{n}"), key=b"unknown") for n in range(50)])
    world.wait(0.3)
    assert 1 == world.questions - before
    assert world.transaction is None

    world.confirm(world.now)
    world.settle()
    assert {"API_KEY_INVALID"} == {world.code(f"r{n}") for n in range(50)}


def test_a_no_that_came_true_before_the_confirmation_is_a_yes() -> None:
    """The key was issued a moment before the request was sent."""
    world = World()
    world.database = False
    world.wait(0.5)
    world.send("fresh", key=b"new key")
    world.change(specification(), keys={KEY: api_key(), b"new key": api_key(id="key-2")})
    world.confirm(world.now)
    world.answer()
    world.settle()

    assert "SYNCHRONIZED" == world.code("fresh")


def test_an_answer_to_a_question_asked_before_the_record_was_read_confirms_no_no() -> None:
    world = World()
    world.database = False
    world.wait(1.0)
    asked_at = world.now
    world.now += 0.01
    world.send("late", key=b"unknown")
    world.confirm(asked_at)
    assert world.transaction is None

    world.confirm(world.now)
    world.settle()
    assert "API_KEY_INVALID" == world.code("late")


@pytest.mark.parametrize(
    ("code", "sent"),
    [
        ("API_KEY_INVALID", {"key": b"unknown"}),
        ("CLIENT_SPECIFICATION_NOT_FOUND", {"given": "00000000-0000-0000-0000-00000000dead"}),
        ("NO_ACTIVE_CLIENT_SPECIFICATION", {"key": b"other tenant"}),
        ("MULTIPLE_ACTIVE_CLIENT_SPECIFICATIONS", {}),
    ],
)
def test_every_no_that_rests_on_the_database_waits_for_its_confirmation(code: str, sent: dict[str, Any]) -> None:
    world = World(start=False)
    world.change(
        specification(), specification(SECOND), keys={KEY: api_key(), b"other tenant": api_key(tenant="other")}
    )
    world.do(MembershipChanged(member=True))
    world.assign(0)
    world.database = False
    world.now += 0.5
    world.send("asks", **sent)
    assert world.transaction is None

    world.confirm(world.now)
    world.settle()
    assert code == world.code("asks")


@pytest.mark.parametrize(
    ("code", "sent"),
    [
        ("API_KEY_MISSING", {"key": None}),
        ("API_KEY_MISSING", {"key": b" \t"}),
        ("VALIDATION_FAILED", {"products": {}}),
        ("VALIDATION_FAILED", {"given": "not a uuid"}),
    ],
)
def test_a_no_that_rests_on_the_request_alone_is_given_at_once(code: str, sent: dict[str, Any]) -> None:
    world = World()
    world.database = False
    world.send("asks", **sent)
    world.settle()

    assert code == world.code("asks")


def test_the_checks_are_made_in_the_order_of_the_contract() -> None:
    """Everything is wrong; the first that fails is the answer, then the next one."""
    world = World()
    given = "00000000-0000-0000-0000-00000000dead"
    world.change(keys={KEY: api_key(), b"supplier": api_key(id="key-2")})
    wrong: dict[str, str] = {}
    world.send("1", wrong, given="no uuid", key=None, caller=None)
    world.send("2", wrong, given="no uuid", key=b"unknown", caller=None)
    world.send("3", wrong, given="no uuid", key=KEY, caller=None)
    world.send("4", wrong, given=given)
    world.send("5", given=given)
    world.wait(2.0)
    world.settle()

    assert [
        "API_KEY_MISSING",
        "API_KEY_INVALID",
        "OPERATOR_REQUIRED",
        "VALIDATION_FAILED",
        "CLIENT_SPECIFICATION_NOT_FOUND",
    ] == [world.code(str(n)) for n in range(1, 6)]


def test_a_specification_of_another_tenant_is_not_found() -> None:
    world = World(specification(tenant="other"))
    world.send("asks", given=FIRST)
    world.settle()

    assert "CLIENT_SPECIFICATION_NOT_FOUND" == world.code("asks")
    verdict = world.verdict("asks")
    assert isinstance(verdict, Failed)
    assert verdict.client_specification_id is None


def test_a_given_specification_is_used_although_it_is_not_active() -> None:
    world = World(specification(active=False))
    world.send("asks", given=FIRST.upper())
    world.answer()
    world.settle()

    verdict = world.verdict("asks")
    assert isinstance(verdict, Synchronized)
    assert FIRST == verdict.client_specification_id


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"suspended": True}, "CLIENT_SPECIFICATION_SUSPENDED"),
        ({"unusable": Explanation("Its credential cannot be decrypted.")}, "CLIENT_SPECIFICATION_UNUSABLE"),
    ],
)
def test_a_specification_that_cannot_be_called_is_named_in_the_result(fields: dict[str, Any], code: str) -> None:
    world = World(specification(**fields))
    world.send("asks")
    world.settle()

    verdict = world.verdict("asks")
    assert isinstance(verdict, Failed)
    assert code == verdict.error.code
    assert FIRST == verdict.client_specification_id
    assert not world.calls


# -- schemas -------------------------------------------------------------------------------------------


def test_a_schema_is_unknown_when_the_registry_has_said_so_twice_thirty_seconds_apart() -> None:
    world = World()
    world.send("odd", schema="v9")
    assert ["v9"] == world.lookups
    world.do(SchemaMissing("v9"))
    world.wait(29.0)
    assert ["v9"] == world.lookups
    assert world.transaction is None

    world.wait(1.5)
    assert ["v9", "v9"] == world.lookups
    world.do(SchemaMissing("v9"))
    world.settle()
    (dead,) = world.dead
    assert DeadLetterReason.UNKNOWN_SCHEMA == dead.reason


def test_trouble_of_the_registry_is_no_proof_that_a_schema_is_unknown() -> None:
    world = World()
    world.send("odd", schema="v9")
    for _ in range(100):
        world.do(SchemaUnavailable("v9", "the registry answers HTTP 500: look after it"))
        world.wait(2.1)

    assert world.transaction is None
    assert 99 < len(world.lookups) < 102
    assert any("registry" in trouble for trouble in world.status.troubles)
    assert world.status.intake_open, "only this record waits"
    assert 1 == world.status.unavailable_schemas

    world.decoder.learnt.add("v9")
    world.do(SchemaFound("v9"))
    assert 0 == world.status.unavailable_schemas
    world.answer()
    world.settle()
    assert "SYNCHRONIZED" == world.code("odd")


def test_one_lookup_serves_all_records_of_a_schema_and_the_time_it_took_is_not_theirs() -> None:
    world = World()
    for n in range(5):
        world.send(f"r{n}", schema="v9")
    assert ["v9"] == world.lookups
    world.do(SchemaUnavailable("v9", "away"))
    world.wait(DEADLINE + 100)
    world.decoder.learnt.add("v9")
    world.do(SchemaFound("v9"))
    world.wait(DEADLINE - 30)
    assert world.transaction is None
    world.answer()
    world.settle()

    assert {"SYNCHRONIZED"} == {world.code(f"r{n}") for n in range(5)}


def test_a_record_that_waited_for_its_schema_does_not_hide_the_deadlines_of_those_behind_it() -> None:
    world = World()
    world.send("odd", schema="v9")
    world.send("plain")
    world.jump(DEADLINE - 60)
    world.decoder.learnt.add("v9")
    world.do(SchemaFound("v9"))
    world.wait(60)
    world.settle()

    assert ["plain"] == world.answered


def test_other_records_do_not_wait_for_a_schema() -> None:
    world = World()
    world.send("odd", schema="v9")
    world.send("plain")
    world.answer()
    world.settle()

    assert ["plain"] == world.answered


def test_a_schema_learnt_while_the_database_is_away_decides_nothing_on_the_old_state() -> None:
    world = World()
    world.send("odd", schema="v9")
    world.database = False
    world.wait(10.0)
    world.decoder.learnt.add("v9")
    world.do(SchemaFound("v9"))
    assert not world.calls

    world.change(specification(), keys={b"another": api_key(id="key-2")})
    world.database = True
    world.wait(1.5)
    world.settle()
    assert "API_KEY_INVALID" == world.code("odd")


# -- the broker ----------------------------------------------------------------------------------------


def test_no_call_starts_while_no_transaction_gets_through_and_no_time_is_lost() -> None:
    world = World(policy=Policy(request_deadline=60.0))
    world.send("first")
    world.send("waits for a call")
    world.answer()
    world.wait(4.9)
    world.fail()  # called again after a second, if anything may be called
    world.wait(0.3)
    world.send("second")
    started = len(world.call_log)
    world.wait(300.0)
    assert started == len(world.call_log)
    assert any("broker" in trouble.lower() for trouble in world.status.troubles)

    world.commit()
    world.wait(1.0)
    while world.calls:
        world.answer()
    world.settle()
    assert ["first", "second", "waits for a call"] == sorted(world.answered)
    assert "SYNCHRONIZED" == world.code("second") == world.code("waits for a call")


def test_nothing_is_shed_while_nothing_can_be_published() -> None:
    """Its Mirakl may be well again, and only our own fault keeps the lane from asking."""
    world = World(specification(), specification(SECOND), policy=Policy(window=40))
    world.send("other", given=SECOND)
    world.answer()
    world.settle()
    world.send("first", given=FIRST)
    world.fail(retry_after=3.0)
    world.fetch([world.record(body(f"r{n}", given=FIRST)) for n in range(31)])
    world.do(PublishingTrouble("no coordinator: add brokers"))
    world.wait(60.0)
    world.do(PublishingTrouble(None))
    world.answer()
    world.settle()

    assert {"SYNCHRONIZED"} == {world.code(f"r{n}") for n in range(31)}


def test_transactions_that_abort_again_and_again_are_a_trouble_of_the_broker() -> None:
    world = World()
    world.send("first")
    world.answer()
    for _ in range(60):
        world.wait(0.1)
        if world.transaction is not None:
            world.commit(TransactionResult.ABORTED)

    assert 1 == len(world.status.troubles)
    world.send("second")
    assert not world.calls


def test_three_transactions_that_fail_in_a_row_close_the_intake_within_a_second() -> None:
    world = World()
    world.send("first")
    world.answer()
    began = world.now
    for failures in range(1, 4):
        world.commit(TransactionResult.ABORTED, trouble=TransactionTrouble("The topic refuses us. Grant WRITE."))
        assert (failures == 3) is ("publishing" in world.status.intake_closed)
        while world.transaction is None:
            world.wait(0.1)

    assert 1.0 > world.now - began
    assert 0 == world.core.fetch_budget.records


def test_each_closing_is_counted_by_its_reason() -> None:
    world = World()
    before = dict(world.status.intake_closed)
    world.database = False
    world.wait(10.0)
    world.database = True
    world.wait(2.0)
    world.change(keys={})
    world.wait(2.0)

    after = world.status.intake_closed
    assert 1 == after["database"] - before.get("database", 0)
    assert 1 == after["no-api-key"]


# -- dead letters --------------------------------------------------------------------------------------


def test_what_is_no_request_gets_one_dead_letter_with_the_tenant_where_the_key_is_known() -> None:
    world = World()
    world.send("", value=b"garbage")
    world.send("", value=b"garbage", key=b"unknown")
    world.settle()

    assert [DeadLettered(DeadLetterReason.UNREADABLE, "not a request")] * 2 == world.dead
    assert ["default", None] == [request.tenant for request in world.committed]


LACKING = "This process has no file descriptor left for a connection to Mirakl. Raise its limit (ulimit -n)."


def lack_resources(world: World, seconds: float, client: str | None = None) -> None:
    """Let calls fail for lack of our own resources, all or those of one client."""
    end = world.now + seconds
    while world.now < end:
        for call in [each for each in world.calls.values() if client in (None, each.specification.id)]:
            world.answer(call, CallFailure("no connection", may_have_reached=False, ours=LACKING))
        world.wait(TICK)


def test_calls_that_lack_our_own_resources_close_the_intake_and_no_request_grows_old() -> None:
    world = World(policy=Policy(request_deadline=60.0))
    world.send("patient")
    lack_resources(world, 600.0)

    assert ([LACKING], False) == (list(world.status.troubles), world.status.intake_open)
    assert 1 == world.status.intake_closed["calls"]
    assert {0} == world.paused
    assert [] == world.committed
    assert world.transaction is None
    assert 500 < len(world.call_log) < 620, "one probe a second"

    world.wait(1.1)
    world.answer()
    world.wait(5.1)
    world.settle()
    assert not world.status.troubles
    assert world.status.intake_open
    assert not world.paused
    assert "SYNCHRONIZED" == world.code("patient")


def test_nothing_is_shed_while_calls_lack_our_own_resources() -> None:
    """The lane waits for us, not for its Mirakl: its requests are not answered 503 for it."""
    world = World(specification(), specification(SECOND), policy=Policy(window=40, request_deadline=60.0))
    world.fetch([world.record(body(f"r{n}", given=(FIRST, SECOND)[n % 2])) for n in range(39)])
    lack_resources(world, 30.0, client=FIRST)
    assert all("SYNCHRONIZED" == world.code(request_id) for request_id in world.answered)
    world.wait(1.1)
    for _ in range(20):
        if world.calls:
            world.answer()
        world.live(1.0)
    assert {"SYNCHRONIZED"} == {world.code(f"r{n}") for n in range(39)}
