"""A short run of the fuzzer: the fixed seeds, and some that no run has seen."""

import time

import pytest

from tests.fuzz.__main__ import STEPS, TARGETS, try_cases

FIXED, FRESH = 5000, 2500
SLOWER = {"alert-rules": 50, "schema": 5, "resolution": 25, "schema-cost": 250}


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_that_others_send_breaks_a_promise(target: str) -> None:
    fresh = time.time_ns()
    slower = STEPS.get(target, SLOWER.get(target, 1))

    assert [] == try_cases((target, 0, FIXED // slower))
    assert [] == try_cases((target, fresh, FRESH // slower))
