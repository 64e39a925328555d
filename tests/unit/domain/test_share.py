"""Several processes of one replica share its quotas."""

from hypothesis import given
from hypothesis import strategies as st

from consumer.domain.model import ClientSpecification, QuotaPart, build_directory
from consumer.domain.quota_plan import Division, QuotaPlan
from consumer.domain.share import Share
from tests.unit.engine.world import FIRST, SECOND, specification

EQUALLY = QuotaPlan(1, {})


def quotas(plan: QuotaPlan | None, processes: int, whole: ClientSpecification) -> list[QuotaPart]:
    """Return the parts of all processes."""
    snapshot = build_directory(1, [whole], {})
    shares = (Share(process, processes, plan) for process in range(processes))
    return [each.of_directory(snapshot).specifications[whole.id].quota for each in shares]


@given(
    whole=st.integers(1, 100_000),
    processes=st.integers(2, 64),
    users=st.sets(st.integers(0, 63), min_size=1),
    following=st.none() | st.sets(st.integers(0, 63), min_size=1),
)
def test_the_parts_add_up_to_the_whole_and_nobody_gets_none(
    whole: int, processes: int, users: set[int], following: set[int] | None
) -> None:
    def numbers(given: set[int]) -> tuple[int, ...]:
        return tuple(sorted({each % processes for each in given}))

    division = Division(numbers(users), None if following is None else numbers(following))
    plan = QuotaPlan(1, {FIRST: division})
    parts = [each.concurrent_calls for each in quotas(plan, processes, specification(concurrent_calls=whole))]

    assert min(parts) >= 1
    assert sum(parts) <= max(whole, processes)
    if following is None:
        assert sum(parts) == max(whole, processes)
        of_users = [parts[user] for user in division.users]
        assert max(of_users) - min(of_users) <= 1


def test_where_all_have_work_the_parts_are_equal_and_batches_stay_whole() -> None:
    whole = specification(products_per_call=100, concurrent_calls=5, calls_per_hour=1_001)
    unlimited = specification(SECOND, calls_per_hour=None)
    directory = build_directory(1, [whole, unlimited], {})

    shares = [Share(process, 2, EQUALLY).of_directory(directory).specifications for process in range(2)]

    parts = [share[FIRST].quota for share in shares]
    assert [QuotaPart(3, 501, processes=2), QuotaPart(2, 500, processes=2)] == parts
    assert [100, 100] == [share[FIRST].products_per_call for share in shares]
    assert all(share[SECOND].quota.calls_per_hour is None for share in shares)


def test_one_that_has_all_the_work_gets_all_calls_at_once_but_one_for_each_other() -> None:
    """Calls per hour are divided equally whatever the work is."""
    plan = QuotaPlan(1, {FIRST: Division((1,))})

    parts = quotas(plan, 3, specification(concurrent_calls=8, calls_per_hour=600))
    assert [1, 6, 1] == [each.concurrent_calls for each in parts]
    assert [200, 200, 200] == [each.calls_per_hour for each in parts]


def test_while_the_users_change_each_has_the_smaller_part() -> None:
    plan = QuotaPlan(1, {FIRST: Division((0, 1), following=(1, 2))})

    assert [1, 4, 1] == [each.concurrent_calls for each in quotas(plan, 3, specification(concurrent_calls=9))]


def test_without_a_plan_a_process_has_one_call_at_once() -> None:
    whole = specification(concurrent_calls=8, calls_per_hour=600)

    assert [QuotaPart(1, 300, processes=2)] * 2 == quotas(None, 2, whole)


def test_only_what_is_divided_otherwise_is_made_anew() -> None:
    directory = build_directory(1, [specification(), specification(SECOND)], {})
    former = Share(0, 2, QuotaPlan(7, {}))
    divided = former.of_directory(directory)
    later = Share(0, 2, QuotaPlan(8, {SECOND: Division((1,))})).of_directory(directory, former, divided)

    assert divided.specifications[FIRST] is later.specifications[FIRST]
    assert 1 == later.specifications[SECOND].quota.concurrent_calls
    assert 8 == later.quota_plan


def test_a_part_is_no_change_of_the_row() -> None:
    whole = specification(concurrent_calls=5, changed_at="2026-01-01")
    changed = Share(0, 2, QuotaPlan(1, {FIRST: Division((1,))})).of_directory(build_directory(1, [whole], {}))

    assert whole == changed.specifications[FIRST]


def test_a_snapshot_names_the_plan_by_which_it_divides() -> None:
    directory = build_directory(1, [], {})

    assert 0 == Share(0, 2).of_directory(directory).quota_plan
    assert 7 == Share(0, 2, QuotaPlan(7, {})).of_directory(directory).quota_plan


def test_a_single_process_has_everything() -> None:
    directory = build_directory(1, [specification(concurrent_calls=5, calls_per_hour=9)], {})

    assert Share().of_directory(directory) is directory
    assert QuotaPart(5, 9) == directory.specifications[FIRST].quota
