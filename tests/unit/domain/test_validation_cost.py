"""What a request costs is bounded by its bytes, and what is remembered of it by nothing that it says."""

import time
import tracemalloc
from uuid import uuid4

import pytest

from consumer.domain.outcome import ResyncError
from consumer.domain.validation import ProductReference, validate
from schemas.contract import canonical_uuid

pytestmark = pytest.mark.cost


def test_a_million_mistakes_are_counted_and_a_hundred_listed() -> None:
    references: list[ProductReference] = [{"miraklProductId": "", "productSku": " "}] * 500_000

    tracemalloc.start()
    began = time.process_time()
    answer = validate(references, None, 1_000_000)
    took, (_, peak) = time.process_time() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert isinstance(answer, ResyncError)
    assert len(answer.field_errors) == 100
    assert "1000000 mistakes" in answer.message
    assert took < 10
    assert peak < 2**20


def test_long_texts_in_place_of_a_uuid_are_not_remembered() -> None:
    tracemalloc.start()
    for number in range(100):
        assert canonical_uuid(f"{number}" * 100_000) is None
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert kept < 2**20
    assert canonical_uuid(text := str(uuid4()).upper()) == text.lower()
