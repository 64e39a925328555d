"""Batches that the Kafka library cannot unpack: three kilobytes can stand for more than it takes in.

It names the offset at which such a batch begins, but not where it ends, and asks for it again for ever. So the end is
searched for: whoever reads from an offset inside the batch meets the same error, from one beyond it another batch or
the end of the log. Steps double from the batch's begin until one of them is outside, then bisection finds the end: the
cost depends on the batch, not on the log behind it. Each offset of the batch can then get its outcome, and what follows
goes on.
"""

from typing import Final

CONFIRMATIONS: Final = 3
"""Errors in a row that make a batch unreadable for good: one may come from a network that garbled it."""


class BatchSearch:
    """The search for the end of one batch. ``probe`` is where to read from now."""

    def __init__(self, begins: int, read_to: int, log_end: int) -> None:
        """``begins``: what the library names; ``read_to``: up to where the log was read before."""
        self.begins = begins
        self.read_to = read_to
        self.first = self._inside = max(begins, read_to)
        """The first offset of the batch without outcome."""
        self._outside = max(log_end, self.first + 1)
        self._unconfirmed = CONFIRMATIONS - 1
        self._step = 1

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
        """A step ahead, or halfway between what is known to be inside and outside."""
        if not self.confirmed:
            return self.read_to
        return min(self._inside + self._step, (self._inside + self._outside) // 2)

    def inside(self) -> None:
        """The same batch was met."""
        if self._unconfirmed:
            self._unconfirmed -= 1
        else:
            self._inside = self.probe
            self._step *= 2

    def outside(self, begins: int | None = None) -> None:
        """Something else was met: another unreadable batch, which ``begins`` there, or what is readable."""
        self._outside = self.probe if begins is None else min(self.probe, max(begins, self._inside + 1))
