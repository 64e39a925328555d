"""What is logged of a finished call."""

from consumer.adapters.observability.observers import ordered_pause
from consumer.domain.calls import CallFailure, Receipt
from tests.unit.engine.world import FIRST, specification


def test_a_long_pause_that_a_mirakl_asks_for_is_told_with_its_end_and_what_ends_it() -> None:
    told = ordered_pause(
        specification(),
        CallFailure("HTTP 503", may_have_reached=False, status=503, retry_after=86_400.0),
        1_700_000_000.0,
    )

    assert told is not None
    for part in (FIRST, "shop-1", "HTTP 503", "86400 s", "2023-11-14T22:18:20Z", "clients resume"):
        assert part in told
    for outcome in (
        CallFailure("HTTP 503", may_have_reached=False, status=503, retry_after=5.0),
        CallFailure("HTTP 503", may_have_reached=False, status=503),
        Receipt("t"),
    ):
        assert ordered_pause(specification(), outcome, 1_700_000_000.0) is None
