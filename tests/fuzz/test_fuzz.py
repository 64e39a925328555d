"""A short run of the fuzzer: the fixed seeds, and some that no run has seen."""

import time

import pytest

from tests.fuzz.__main__ import TARGETS, try_cases

FIXED, FRESH = 5000, 2500


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_that_others_send_breaks_a_promise(target: str) -> None:
    fresh = time.time_ns()
    slower = 50 if target == "engine" else 5 if target == "schema" else 1

    assert [] == try_cases((target, 0, FIXED // slower))
    assert [] == try_cases((target, fresh, FRESH // slower))
