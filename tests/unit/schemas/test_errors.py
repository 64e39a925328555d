"""Problem and remedy: two fields, joined in one place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import ExplainedError, exit_code_of
from schemas.explanation import sentences
from schemas.registry.errors import RegistryError


@pytest.mark.parametrize(
    ("problem", "remedy", "shown"),
    [
        ("It is broken.", "Mend it.", "It is broken. Mend it."),
        ("It is broken", "Mend it", "It is broken. Mend it."),
        ("It is broken.", "", "It is broken."),
        ("Unknown setting X. Did you mean Y?", "", "Unknown setting X. Did you mean Y?"),
        ("It is broken; nobody knows why.", "Mend it.", "It is broken; nobody knows why. Mend it."),
    ],
)
def test_they_are_shown_as_sentences(problem: str, remedy: str, shown: str) -> None:
    error = ExplainedError(problem, remedy)

    assert shown == str(error)
    assert (problem, remedy) == (error.problem, error.remedy)


@given(st.lists(st.text(st.sampled_from("ab.?!;: "), max_size=9), max_size=4))
def test_no_sentence_ends_twice(texts: list[str]) -> None:
    joined = sentences(*texts)

    assert "?." not in joined or any("?." in text for text in texts)
    assert not joined or joined.endswith((".", "?", "!", "…"))


def test_an_error_that_is_an_oserror_too_has_no_number() -> None:
    """Two arguments of an ``OSError`` would be taken for a number and its text."""
    from producer_tools import UnreachableError

    assert (None, None) == (UnreachableError("a", "b").errno, UnreachableError("a", "b").strerror)


def test_a_failure_that_is_not_expected_counts_as_unexpected() -> None:
    assert (1, 6) == (exit_code_of(ValueError()), exit_code_of(RegistryError("a", "b")))
