"""A committer that ends with its test."""

from collections.abc import Iterable

import pytest

from tests.unit.adapters.kafka.committing import Bench


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterable[Bench]:
    made = Bench(monkeypatch)
    yield made
    assert made.sink.stop(5)
    assert made.sink.failure is None
