"""Kinds of database errors that this program tells apart."""

from enum import Enum, auto


class Diagnosis(Enum):
    """Meaning of a driver's error, whichever the database."""

    NO_TABLE = auto()
    """A table or column of ours is missing."""
    NOT_ALLOWED = auto()
    """The database user lacks a right."""
    TOO_SLOW = auto()
    """A lock or a statement took longer than allowed."""
    FROZEN = auto()
    """The server, or the network on the way to it, did not answer in time."""
    OTHER = auto()
    """The database cannot be used, for another reason."""
