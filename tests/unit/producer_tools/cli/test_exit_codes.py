"""What the shell is told."""

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer_tools import InvalidRequest, MisconfiguredError, Mistake, NotAcknowledgedError, UnreachableError
from producer_tools.cli.exit_codes import ExitCode, foremost, guarded

CONTRACT = [130, 1, 6, 5, 4, 3]


@given(st.sets(st.sampled_from(CONTRACT)))
def test_where_several_hold_the_contract_says_which_is_told(holding: set[int]) -> None:
    expected = next((code for code in CONTRACT if code in holding), 0)

    assert expected == foremost({ExitCode(code) for code in holding})


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidRequest([Mistake("p.csv line 3", "x")]), 2),
        (MisconfiguredError("x"), 2),
        (UnreachableError("x"), 6),
        (NotAcknowledgedError("x"), 6),
        (click.UsageError("x"), 2),
        (click.Abort(), 130),
    ],
)
def test_expected_trouble_becomes_one_message_and_a_code(
    error: Exception, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> int:
        raise error

    assert code == guarded(fail)
    told = capsys.readouterr()
    assert (told.out, bool(told.err), "Traceback" in told.err) == ("", True, False)


def test_a_bug_is_seen_with_its_stack() -> None:
    with pytest.raises(ZeroDivisionError):
        guarded(lambda: 1 // 0)
