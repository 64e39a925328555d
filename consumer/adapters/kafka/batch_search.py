"""Search for the end of a batch that librdkafka cannot decompress.

librdkafka names the offset at which such a batch begins, but not where it ends, and fetches it again for ever. Three
kilobytes can stand for more records than it accepts. Reading from an offset inside the batch leads to the same error;
reading from an offset beyond it leads to another batch or the end of the log. So steps double from the batch's begin
until one of them is outside, then bisection finds the end: the cost depends on the batch, not on the log behind it.
Each offset of the batch can then get its outcome, and the records after it are read.
"""

from consumer.adapters.kafka.policy import READING


class BatchSearch:
    """The search for the end of one unreadable batch: by growing steps, then by bisection."""

    def __init__(self, begins: int, read_to: int, log_end: int) -> None:
        """``begins``: the offset that librdkafka names; ``read_to``: up to where the log was read before."""
        self.begins = begins
        self.read_to = read_to
        self.first = self._inside = max(begins, read_to)
        """The first offset of the batch without outcome."""
        self._outside = max(log_end, self.first + 1)
        self._unconfirmed = READING.confirmations - 1
        self._step = 1

    @property
    def confirmed(self) -> bool:
        """Whether the batch has failed often enough to be unreadable for good."""
        return not self._unconfirmed

    @property
    def end(self) -> int | None:
        """The offset after the batch's last one, once it is known."""
        return self._outside if self.confirmed and self._outside - self._inside == 1 else None

    @property
    def probe(self) -> int:
        """The offset to read from next: a step ahead, or halfway between known inside and known outside."""
        if not self.confirmed:
            return self.read_to
        return min(self._inside + self._step, (self._inside + self._outside) // 2)

    def inside(self) -> None:
        """Note that reading from ``probe`` met the same batch."""
        if self._unconfirmed:
            self._unconfirmed -= 1
        else:
            self._inside = self.probe
            self._step *= 2

    def outside(self, begins: int | None = None) -> None:
        """Note that reading from ``probe`` met something else.

        Readable records, or another unreadable batch, which ``begins`` there.
        """
        self._outside = self.probe if begins is None else min(self.probe, max(begins, self._inside + 1))
