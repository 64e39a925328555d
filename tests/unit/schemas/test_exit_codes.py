"""Exit codes are those of the contract, in its precedence."""

from hypothesis import given
from hypothesis import strategies as st

from schemas.exit_codes import ExitCode, foremost

CONTRACT = [130, 1, 6, 5, 4, 3]


@given(st.sets(st.sampled_from(CONTRACT)))
def test_if_several_codes_apply_the_contract_says_which_is_used(holding: set[int]) -> None:
    expected = next((code for code in CONTRACT if code in holding), 0)

    assert expected == foremost({ExitCode(code) for code in holding})
