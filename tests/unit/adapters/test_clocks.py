"""Clocks of others, as ``doctor`` compares them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.adapters.clocks import ClockReading, check_clocks, http_date, reading


@pytest.mark.parametrize(
    ("ahead", "uncertainty", "said"),
    [
        (0.0, 0.0, None),
        (1.0, 0.0, None),
        (-1.0, 0.0, None),
        (1.5, 0.0, "at least 1.5 s ahead of"),
        (-90.0, 0.0, "at least 90.0 s behind"),
        (1.5, 0.6, None),
        (-3.0, 1.0, "at least 2.0 s behind"),
    ],
)
def test_a_clock_is_warned_of_where_it_certainly_differs_by_more_than_a_second(
    ahead: float, uncertainty: float, said: str | None
) -> None:
    (found,) = check_clocks([ClockReading("the database", ahead, uncertainty)])
    assert ("OK" if said is None else "WARN") == found.level
    assert (said or "agrees") in found.message
    assert "the database" in found.message


@given(
    before=st.floats(1e9, 2e9),
    way=st.floats(0, 60),
    at=st.floats(0, 1),
    ahead=st.floats(-1e5, 1e5),
    resolution=st.sampled_from([0.0, 1.0]),
)
def test_what_is_said_to_be_certain_is_true(
    before: float, way: float, at: float, ahead: float, resolution: float
) -> None:
    """However long the way is, and at whatever moment of it the clock was read."""
    theirs = before + at * way + ahead
    shown = theirs // resolution * resolution if resolution else theirs
    found = reading("x", shown, before, before + way, resolution)
    assert found.certain <= abs(ahead) + 1e-5
    assert abs(found.ahead - ahead) <= found.uncertainty + 1e-5


def test_a_date_of_http_is_read_and_anything_else_is_none() -> None:
    date = http_date("Sun, 06 Nov 1994 08:49:37 GMT")
    assert date is not None
    assert 784111777 == date.timestamp()
    assert [None, None, None] == [http_date(value) for value in (None, "", "yesterday")]
