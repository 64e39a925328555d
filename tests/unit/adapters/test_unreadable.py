"""The end of a batch that cannot be unpacked is found exactly, whatever stands around it."""

from hypothesis import given
from hypothesis import strategies as st

from consumer.adapters.unreadable import CONFIRMATIONS, BatchSearch


@given(begins=st.integers(0, 50), before=st.integers(0, 50), length=st.integers(1, 5000), behind=st.integers(0, 5000))
def test_each_offset_of_the_batch_and_no_other_is_given_up(begins: int, before: int, length: int, behind: int) -> None:
    first = begins + before
    end = first + length
    search = BatchSearch(begins, first, end + behind)
    for _ in range(CONFIRMATIONS - 1):
        assert not search.confirmed
        assert first == search.probe
        search.inside()

    steps = 0
    while search.end is None:
        (search.inside if search.probe < end else search.outside)()
        steps += 1

    assert end == search.end
    assert steps <= (length + behind).bit_length()
