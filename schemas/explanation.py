"""What happened, and what to do: the two texts of every problem that people are shown."""

from typing import Final, NamedTuple

_SENTENCE_ENDS: Final = (".", "!", "?", "…")


class Explanation(NamedTuple):
    """A problem and its remedy, each one or more sentences without a secret. As text, both in one line."""

    problem: str
    remedy: str = ""
    """Empty: there is nothing to do."""

    def __str__(self) -> str:
        return sentences(*self)


def sentences(*texts: str) -> str:
    """Join texts as sentences in one line: "Problem. Remedy."; empty texts are left out."""
    return " ".join(text if text.endswith(_SENTENCE_ENDS) else f"{text}." for text in texts if text)
