"""Numbers of the stores, each with its unit and its reason."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class StoresPolicy:
    """Timeouts of the database in seconds, and lengths of texts about it."""

    statement_seconds: float = 3.0
    """One statement: less than the 5 s within which a change must take effect."""
    connect_seconds: int = 3
    """One connection to PostgreSQL, in whole seconds as libpq wants it."""
    grace_seconds: float = 1.0
    """Beyond a statement's time, after which a server that does not answer counts as gone."""
    excerpt_characters: int = 300
    """Of a driver's own words in a message."""
    upgrade_seconds: float = 60.0
    """One statement of an upgrade, and all attempts: a migration may wait for another one, or for the writers of a
    table."""
    lock_seconds: float = 1.0
    """A migration waits so long for a table. Whoever needs the table queues behind it, replicas too: they wait 3 s for
    an answer, and must confirm their directory every 5 s."""
    attempt_pause_seconds: float = 0.5
    """Between two attempts of an upgrade, in which those who queued get the table."""
    revision_characters: int = 32
    """Of a revision in a message; anyone with rights may have written it."""


STORES: Final = StoresPolicy()
