"""Which tree an upgrade begins with."""

from pathlib import Path

import pytest

from tests.chaos.releases import CHANGELOG, THIS, checked_out, last_release
from tests.support.parts import PartMissing

UNRELEASED = "# Changelog\n\n## [Unreleased]\n\n- Commit `0000000` is not one.\n\n"


@pytest.mark.parametrize(
    ("released", "expected"),
    [
        ("## [0.1.0] - 2026-11-24\n\nThe first: commit `abcdef0`.\n", "abcdef0"),
        ("## [0.2.0] - 2027-01-01\n\n- More.\n\n## [0.1.0] - 2026-11-24\n\nThe first: commit `abcdef0`.\n", "v0.2.0"),
        ("## [1.10.3]\n", "v1.10.3"),
    ],
)
def test_the_former_release_is_the_newest_released_section_of_the_changelog(released: str, expected: str) -> None:
    assert expected == last_release(UNRELEASED + released)


def test_without_a_release_there_is_no_upgrade() -> None:
    with pytest.raises(ValueError, match="released"):
        last_release(UNRELEASED)


def test_the_changelog_names_one() -> None:
    assert last_release(CHANGELOG.read_text())


def test_a_commit_that_is_not_there_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(PartMissing, match="--from"):
        checked_out("no-such-commit", tmp_path)


def test_the_tree_at_hand_runs_from_its_own_sources() -> None:
    THIS.verify()
    assert "mirakl-resync-consumer" in THIS.run({}, "--version")


def test_a_command_that_fails_is_told_with_its_words(tmp_path: Path) -> None:
    settings = {"RESYNC_DATABASE_URL": f"sqlite:///{tmp_path}/none/at/all.db"}
    with pytest.raises(RuntimeError, match=r"db upgrade of this release ended with 1: .*all\.db"):
        THIS.run(settings, "db", "upgrade")
