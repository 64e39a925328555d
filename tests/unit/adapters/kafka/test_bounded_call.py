"""A call that may never come back."""

import threading

import pytest

from consumer.adapters.kafka.bounded_call import OverdueError, within


def test_gives_what_the_call_gives() -> None:
    assert 3 == within(5, max, 1, 3)


def test_raises_what_the_call_raises() -> None:
    with pytest.raises(ZeroDivisionError):
        within(5, divmod, 1, 0)


def test_a_call_that_hangs_is_left_to_itself() -> None:
    released = threading.Event()
    with pytest.raises(OverdueError, match=r"0\.05 s"):
        within(0.05, released.wait)
    released.set()
