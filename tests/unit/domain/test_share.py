"""Several processes of one replica share its quotas."""

from hypothesis import given
from hypothesis import strategies as st

from consumer.domain.model import build_directory
from consumer.domain.share import Share
from tests.unit.engine.world import specification


@given(whole=st.integers(1, 100_000), processes=st.integers(1, 64))
def test_the_parts_add_up_to_the_whole_and_nobody_gets_none(whole: int, processes: int) -> None:
    parts = [Share(process, processes).of_number(whole) for process in range(processes)]

    assert min(parts) >= 1
    assert sum(parts) == max(whole, processes)
    assert max(parts) - min(parts) <= 1


def test_concurrent_calls_and_calls_per_hour_are_shared_and_batches_stay_whole() -> None:
    whole = specification(products_per_call=100, concurrent_calls=5, calls_per_hour=1_000)
    unlimited = specification("other", calls_per_hour=None)
    directory = build_directory(1, [whole, unlimited], {})

    shares = [Share(process, 2).of_directory(directory).specifications for process in range(2)]

    assert [(100, 3, 500), (100, 2, 500)] == [
        (each.products_per_call, each.concurrent_calls, each.calls_per_hour)
        for each in (share[whole.id] for share in shares)
    ]
    assert all(share[unlimited.id].calls_per_hour is None for share in shares)


def test_a_single_process_has_everything() -> None:
    directory = build_directory(1, [specification(concurrent_calls=5)], {})

    assert Share().of_directory(directory) is directory
