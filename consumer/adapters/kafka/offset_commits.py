"""Commits of offsets outside of transactions, for the at-least-once mode."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

Answer: TypeAlias = Callable[[KafkaError | None], None]
_Key: TypeAlias = list[tuple[int, int, str]]


class OffsetCommits:
    """One commit at a time, for the owner thread.

    The committer gives a commit up after a timeout and requests the next one. The answer to the former can arrive after
    that, and says nothing about the offsets of the next. So an answer counts only if it repeats exactly the offsets and
    metadata that are waited for.
    """

    def __init__(self) -> None:
        self._awaited: tuple[_Key, Answer] | None = None

    def commit(self, consumer: Consumer, offsets: list[TopicPartition], done: Answer, *, wait: bool) -> None:
        """Ask for a commit; ``done`` is called once with its error, or ``None``.

        ``wait``: do not return before the answer, since no callback is served during a revocation.
        """
        self._awaited = _key(offsets), done
        try:
            if wait:
                self.answered(None, consumer.commit(offsets=offsets, asynchronous=False))
            else:
                consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as problem:
            self.answered(problem.args[0], offsets)

    def answered(self, error: KafkaError | None, offsets: Sequence[TopicPartition]) -> None:
        """Pass on an answer (callback ``on_commit``); one refused partition is a failure of the whole."""
        if self._awaited is None or self._awaited[0] != _key(offsets):
            return
        (_, done), self._awaited = self._awaited, None
        done(error or next((each.error for each in offsets if each.error is not None), None))


def _key(offsets: Sequence[TopicPartition]) -> _Key:
    return sorted((each.partition, each.offset, each.metadata or "") for each in offsets)
