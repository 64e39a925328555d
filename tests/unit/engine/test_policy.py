"""The table of the engine's numbers in the documents is the engine's."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from consumer.engine.policy import Policy

PAGE = Path(__file__).parents[3] / "docs/develop/policy.md"


def shown(value: float) -> str:
    """Return a number as people write it: 65,536, 0.75, 5."""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def rows() -> list[tuple[str, str, str, str]]:
    """Return the rows of the table: name, default, unit, reason."""
    return [
        (each.name, shown(each.default), each.metadata["unit"], each.metadata["reason"])
        for each in fields(Policy)
        if isinstance(each.default, int | float)
    ]


def test_the_table_of_numbers_is_the_policy() -> None:
    """After a change of the policy, paste the rows that this test expects."""
    table = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \| (.*) \|$", PAGE.read_text(), re.MULTILINE)

    assert rows() == table


def test_each_number_has_a_unit_and_a_reason() -> None:
    assert len(fields(Policy)) == len(rows())
    for _, _, unit, reason in rows():
        assert unit
        assert reason.endswith(".")


@pytest.mark.parametrize(("deadline", "margin"), [(300.0, 5.2), (6.0, 5.0), (1.0, 5 / 6)])
def test_a_short_deadline_leaves_time_for_a_call(deadline: float, margin: float) -> None:
    policy = Policy(request_deadline=deadline)

    assert pytest.approx(margin) == policy.call_margin
    assert policy.longest_wait > 0


def test_undecided_records_take_no_room_from_those_that_can_be_called_for() -> None:
    policy = Policy()

    assert policy.undecided_share * policy.records + policy.active_records <= policy.records
    assert policy.active_records <= policy.scarce * policy.records


def test_some_calls_are_kept_for_lanes_without_one() -> None:
    assert (192, 3, 1) == (Policy().shared_calls, Policy(calls=4).shared_calls, Policy(calls=1).shared_calls)


def test_no_call_starts_with_less_than_5_s_left_however_long_ticks_take() -> None:
    policy = Policy()
    assert 5.0 <= policy.call_margin_most - policy.tick_longest
    assert policy.tick <= policy.tick_longest <= policy.answer_margin
