"""What this process knows to be committed: the measure for what the brokers tell.

A group coordinator can forget commits: after a crash, Apache Kafka 4.3.1 has told committed offsets that were two
minutes old. Who has committed them knows better, also where the partition was lost and has come back
(docs/decisions/0045).
"""

from consumer.domain.progress import CommitPoint


class KnownProgress:
    """Partition -> the progress that was committed or told last; learned on two threads, asked for on the owner's."""

    def __init__(self) -> None:
        self._points: dict[int, CommitPoint] = {}

    def learn(self, partition: int, point: CommitPoint) -> None:
        """Take what was certainly committed, or what an assignment began with."""
        self._points[partition] = point

    def denied(self, partition: int, told: CommitPoint) -> CommitPoint | None:
        """Return what was committed, if ``told`` leaves some of it out; ``None`` if ``told`` can be true."""
        known = self._points.get(partition)
        return None if known is None or told.includes(known) else known

    def forget(self) -> None:
        """Forget everything: the topic is another one, so what was committed says nothing about it."""
        self._points.clear()
