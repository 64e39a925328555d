"""What a refused call says to the people who sent its requests."""

import pytest

from consumer.domain.calls import Refusal
from consumer.engine.dispatch.verdicts import refused


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refusal_for_its_entries_asks_for_other_products(status: int) -> None:
    message = refused(Refusal(status, "bad entry")).message
    assert "correct them" in message
    assert "base URL" not in message


@pytest.mark.parametrize("status", [302, 404, 405])
def test_a_refusal_of_the_whole_call_asks_for_another_base_url(status: int) -> None:
    message = refused(Refusal(status, "no such page")).message
    assert "base URL" in message
    assert "correct them" not in message
