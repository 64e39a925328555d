"""The end of a batch that cannot be unpacked is found exactly, whatever stands around it."""

from hypothesis import given
from hypothesis import strategies as st

from consumer.adapters.kafka.batch_search import BatchSearch
from consumer.adapters.kafka.policy import READING


@given(begins=st.integers(0, 50), before=st.integers(0, 50), length=st.integers(1, 5000), behind=st.integers(0, 5000))
def test_each_offset_of_the_batch_and_no_other_is_given_up(begins: int, before: int, length: int, behind: int) -> None:
    first = begins + before
    end = first + length
    search = BatchSearch(begins, first, end + behind)
    for _ in range(READING.confirmations - 1):
        assert not search.confirmed
        assert first == search.probe
        search.inside()

    steps = 0
    while search.end is None:
        (search.inside if search.probe < end else search.outside)()
        steps += 1

    assert end == search.end
    assert steps <= 2 * length.bit_length() + 1


def test_the_log_behind_a_batch_does_not_matter() -> None:
    """A batch of one record in front of a million others: one look behind it tells."""
    search = BatchSearch(0, 0, 1_000_000)
    for _ in range(READING.confirmations - 1):
        search.inside()
    assert 1 == search.probe
    search.outside()

    assert 1 == search.end


def test_another_unreadable_batch_tells_where_this_one_ends_at_the_latest() -> None:
    search = BatchSearch(0, 0, 1_000_000)
    for _ in range(READING.confirmations + 1):
        search.inside()
    assert 7 == search.probe
    search.outside(4)

    assert 4 == search.end
