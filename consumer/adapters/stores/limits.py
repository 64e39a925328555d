"""Limits of the numbers and names of a row, for writing and for reading."""

from dataclasses import dataclass

from schemas.contract import canonical_uuid
from schemas.explanation import Explanation

LONGEST_NAME = 255
"""Characters of a name or a tenant, as the tables' columns have it."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A whole number from 1 to ``highest``, as the tables' constraints have it."""

    highest: int
    optional: bool = False

    def allows(self, value: object) -> bool:
        """Return whether it is such a number, or nothing if that is allowed."""
        if value is None:
            return self.optional
        return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= self.highest

    def __str__(self) -> str:
        return f"a whole number from 1 to {self.highest}"


LIMITS = {
    "products_per_call": Limit(100_000),
    "concurrent_calls": Limit(1_000),
    "calls_per_hour": Limit(1_000_000_000, optional=True),
}


def name_problem(name: str, what: str = "name") -> Explanation | None:
    """Return why people could not type a name or a tenant, or tell it from another; ``None``: they can.

    ``what``: the word for it. Names that look like an id are refused, since commands take ``ID|NAME``.
    """
    if not 1 <= len(name) <= LONGEST_NAME:
        return Explanation(f"The {what} must have 1 to {LONGEST_NAME} characters.", "Choose another one.")
    if name != name.strip() or not name.isprintable():
        return Explanation(
            f"The {what} must not begin or end with white space, nor contain invisible characters.",
            "Choose another one.",
        )
    if canonical_uuid(name):
        return Explanation(f"The {what} must not look like an id.", "Choose words.")
    return None
