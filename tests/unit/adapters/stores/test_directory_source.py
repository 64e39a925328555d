"""The directory as the engine asks for it: its failures, and this process's share of the quotas."""

from typing import cast

import pytest

from consumer.adapters.stores import DirectoryReader, StoredDirectory, StoreError
from consumer.domain.model import Directory
from consumer.domain.quota_plan import Division, QuotaPlan
from consumer.domain.share import Share
from consumer.engine.ports import SourceError
from tests.unit.engine.world import FIRST, directory, specification


class Reader:
    """A database that holds one client specification, unless there is a problem."""

    warnings = ()
    problem: Exception | None = None

    def __init__(self) -> None:
        self.snapshot = directory(specification(concurrent_calls=8), version=5)

    def read(self, known_version: int | None) -> Directory | None:
        if self.problem is not None:
            raise self.problem
        return None if known_version == self.snapshot.version else self.snapshot


class Shared:
    """The first of two processes, and its directory."""

    def __init__(self) -> None:
        self.reader = Reader()
        self.share = Share(0, 2)
        self.directory = StoredDirectory(cast("DirectoryReader", self.reader), lambda: self.share)

    def follow(self, number: int, users: tuple[int, ...]) -> None:
        self.share = Share(0, 2, QuotaPlan(number, {FIRST: Division(users)}))

    def read(self, known_version: int | None) -> tuple[int, int] | None:
        """The plan and the concurrent calls of the snapshot that is read."""
        snapshot = self.directory.read(known_version)
        if snapshot is None:
            return None
        return snapshot.quota_plan, snapshot.specifications[FIRST].quota.concurrent_calls


@pytest.mark.parametrize(
    "problem",
    [ValueError("a row"), OverflowError("a number"), StoreError("It is away.", "Wait.", missing_or_old=False)],
)
def test_whatever_the_database_provokes_is_a_trouble_and_never_the_end(problem: Exception) -> None:
    shared = Shared()
    shared.reader.problem = problem

    with pytest.raises(SourceError):
        shared.directory.read(None)


def test_a_plan_makes_a_new_snapshot_of_tables_that_have_not_changed() -> None:
    shared = Shared()
    assert (0, 1) == shared.read(None)
    assert shared.read(5) is None

    shared.follow(1, (0,))
    assert (1, 7) == shared.read(5)
    assert shared.read(5) is None


def test_tables_that_change_are_divided_by_the_same_plan() -> None:
    shared = Shared()
    shared.follow(1, (0,))
    assert (1, 7) == shared.read(None)

    shared.reader.snapshot = directory(specification(concurrent_calls=4), version=6)
    assert (1, 3) == shared.read(5)


def test_a_plan_that_came_while_the_database_was_down_counts_afterwards() -> None:
    shared = Shared()
    shared.read(None)
    shared.follow(1, (0,))
    shared.reader.problem = ValueError("a row")
    with pytest.raises(SourceError):
        shared.read(5)
    shared.reader.problem = None

    assert (1, 7) == shared.read(5)


def test_the_directory_of_a_single_process_is_that_of_the_database() -> None:
    reader, everything = Reader(), Share()
    alone = StoredDirectory(cast("DirectoryReader", reader), lambda: everything)

    assert reader.snapshot is alone.read(None)
    assert alone.read(5) is None
