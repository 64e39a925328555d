"""Retries are recognized by their reasons, whatever ids and reasons people choose."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from producer_tools.policy import TOOLS
from producer_tools.retries.history import Retries, retry_reason
from producer_tools.retries.selection import Candidate, Group, Place
from schemas.contract import MAX_ID_CHARACTERS

PIECES = st.sampled_from(["retry of ", "r1", " (0:1)", " (", ")", ": ", "0", "\n", "é"])
IDS = st.one_of(st.text(min_size=1, max_size=MAX_ID_CHARACTERS), st.lists(PIECES, min_size=1, max_size=20).map("".join))
PLACES = st.tuples(st.integers(0, 2**31 - 2), st.integers(0, 2**63 - 2))


def candidate(request_id: str, place: Place) -> Candidate:
    group = Group("CM21_UNAVAILABLE", None, None)
    return Candidate(request_id, group, None, datetime.now(UTC), datetime.now(UTC), None, place, None)


@given(IDS, PLACES, st.one_of(st.none(), IDS))
def test_what_a_retry_repeats_is_found_by_its_reason(request_id: str, place: Place, reason: str | None) -> None:
    repeated = candidate(request_id, place)
    others = [candidate(request_id, (place[0] + 1, place[1])), candidate(request_id + "x", place)]

    claim = Retries([repeated, *others]).repeated_by(retry_reason(request_id, place, reason))

    assert [repeated] == [each for each in (repeated, *others) if each.claim == claim]


@given(st.lists(PLACES, min_size=1, max_size=5), st.text(max_size=2 * TOOLS.reason_characters))
def test_a_chain_of_retries_keeps_the_original_reason_and_does_not_grow(places: list[Place], original: str) -> None:
    reason = original
    for number, place in enumerate(places):
        reason = retry_reason(f"r{number}", place, reason)

    partition, offset = places[-1]
    mark = f"retry of r{len(places) - 1} ({partition}:{offset})"
    assert (f"{mark}: {original[: TOOLS.reason_characters]}" if original else mark) == reason
