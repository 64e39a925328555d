"""Plans and reports survive the way between parent and process."""

import pytest

from consumer.domain.quota_plan import Division, QuotaPlan, QuotaReport


def test_a_plan_is_read_as_it_was_written() -> None:
    plan = QuotaPlan(7, {"shop": Division((0, 2)), "other": Division((0, 1, 2), following=(1,))})

    assert plan == QuotaPlan.read(plan.line())


def test_a_report_is_read_as_it_was_written() -> None:
    report = QuotaReport(7, frozenset({"shop", "other"}), frozenset({"shop"}), settled=True)

    assert report == QuotaReport.read(report.line())


@pytest.mark.parametrize("message", [QuotaPlan, QuotaReport])
def test_a_line_that_is_cut_off_is_no_message(message: type[QuotaPlan | QuotaReport]) -> None:
    with pytest.raises(ValueError, match="Expecting"):
        message.read(b'[7,["shop",')
