"""Whatever goes wrong with the stores is a trouble of ours, in the engine's words."""

from typing import cast

import pytest

from consumer.adapters.stores import DirectoryReader, StoredDirectory, StoreError
from consumer.domain.model import Directory
from consumer.domain.share import Share
from consumer.engine.ports import SourceError


@pytest.mark.parametrize(
    "problem",
    [ValueError("a row"), OverflowError("a number"), StoreError("It is away.", "Wait.", missing_or_old=False)],
)
def test_whatever_the_database_provokes_is_a_trouble_and_never_the_end(problem: Exception) -> None:
    class Reader:
        warnings = ()

        def read(self, _: int | None) -> Directory | None:
            raise problem

    with pytest.raises(SourceError):
        StoredDirectory(cast("DirectoryReader", Reader()), Share()).read(None)
