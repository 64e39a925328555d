"""Commits that this process knows to have succeeded: an answer of the brokers that lacks one is not credible.

A group coordinator can forget commits: after a crash, Apache Kafka 4.3.1 has reported committed offsets that were two
minutes old. Notes therefore outlive assignments: a partition that was lost in the same crash is checked when it comes
back. ``Positions`` asks again until the answer is credible, for a minute at most (docs/decisions/0045).
"""

from consumer.domain.progress import CommitPoint


class KnownProgress:
    """Partition -> its latest commit. ``learn`` may be called on any thread, the rest on the owner thread."""

    def __init__(self) -> None:
        self._points: dict[int, CommitPoint] = {}

    def learn(self, partition: int, point: CommitPoint) -> None:
        """Note a commit that has certainly succeeded, or the progress with which an assignment begins."""
        self._points[partition] = point

    def denied(self, partition: int, told: CommitPoint) -> CommitPoint | None:
        """Return the noted commit if the brokers' answer ``told`` lacks some of it; ``None`` if it can be true."""
        known = self._points.get(partition)
        return None if known is None or told.includes(known) else known

    def forget(self, partition: int) -> None:
        """Drop the note: nothing tells any more which topic it is of."""
        self._points.pop(partition, None)
