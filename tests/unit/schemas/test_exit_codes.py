"""Exit codes are those of the contract, in its precedence."""

from hypothesis import given
from hypothesis import strategies as st

from schemas.exit_codes import ExitCode, foremost

CONTRACT = [130, 1, 6, 5, 4, 3]
USAGE = 2
"""Applies where nothing was sent at all: a right is missing, or each request is too large for the topic."""


@given(st.sets(st.sampled_from([*CONTRACT, USAGE])))
def test_if_several_codes_apply_the_contract_says_which_is_used(holding: set[int]) -> None:
    expected = next((code for code in [*CONTRACT, USAGE] if code in holding), 0)

    assert expected == foremost({ExitCode(code) for code in holding})
