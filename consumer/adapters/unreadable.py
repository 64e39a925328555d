"""Batches that the Kafka library cannot unpack: three kilobytes can stand for more than it takes in.

It names the offset at which such a batch begins, but not where it ends, and asks for it again for ever. So the end is
searched for by halves: whoever reads from an offset inside the batch meets the same error, from one beyond it another
batch or the end of the log. Then each offset of the batch can get its outcome, and what follows goes on.
"""

from typing import Final

CONFIRMATIONS: Final = 3
"""Errors in a row that make a batch unreadable for good: one may come from a network that garbled it."""


class BatchSearch:
    """The search for the end of one batch. ``probe`` is where to read from now."""

    def __init__(self, begins: int, first: int, log_end: int) -> None:
        """``begins``: what the library names; ``first``: the first offset without outcome, inside of the batch."""
        self.begins = begins
        self.first = first
        self._inside = first
        self._outside = max(log_end, first + 1)
        self._unconfirmed = CONFIRMATIONS - 1

    @property
    def confirmed(self) -> bool:
        """The batch is unreadable for good."""
        return not self._unconfirmed

    @property
    def end(self) -> int | None:
        """The offset after the batch's last one, once it is known."""
        return self._outside if self.confirmed and self._outside - self._inside == 1 else None

    @property
    def probe(self) -> int:
        """Halfway between what is known to be inside and outside."""
        return (self._inside + self._outside) // 2 if self.confirmed else self.first

    def inside(self) -> None:
        """The same batch was met."""
        if self._unconfirmed:
            self._unconfirmed -= 1
        else:
            self._inside = self.probe

    def outside(self) -> None:
        """Something else was met, or the end of the log."""
        self._outside = self.probe
