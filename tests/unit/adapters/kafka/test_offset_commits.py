"""Which answer belongs to which commit outside of transactions."""

from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from consumer.adapters.kafka.offset_commits import OffsetCommits

REFUSED = KafkaError(KafkaError.REBALANCE_IN_PROGRESS, "rebalance")


class Consumer:
    """Answers later, or at once where it is waited for."""

    def __init__(self, answer: KafkaError | None = None, *, partition_errors: bool = False) -> None:
        self.asked: list[list[TopicPartition]] = []
        self.answer = answer
        self.partition_errors = partition_errors

    def commit(self, offsets: list[TopicPartition], *, asynchronous: bool) -> Any:  # noqa: ANN401 - the binding's
        self.asked.append(offsets)
        if asynchronous:
            return None
        if self.answer is not None:
            raise KafkaException(self.answer)
        return [Answered(each, REFUSED if self.partition_errors else None) for each in offsets]


class Answered:
    """A ``TopicPartition`` as librdkafka hands it back, with its own error."""

    def __init__(self, place: TopicPartition, error: KafkaError | None) -> None:
        self.partition, self.offset, self.metadata, self.error = place.partition, place.offset, place.metadata, error


def places(offset: int, metadata: str = "") -> list[TopicPartition]:
    return [TopicPartition("requests", partition, offset + partition, metadata) for partition in (0, 1)]


def asked(commits: OffsetCommits, consumer: Consumer, offset: int, *, wait: bool = False) -> list[KafkaError | None]:
    answers: list[KafkaError | None] = []
    commits.commit(consumer, places(offset), answers.append, wait=wait)  # type: ignore[arg-type]  # a fake
    return answers


def test_a_late_answer_says_nothing_about_the_next_commit() -> None:
    """The committer gave the first up: were its answer taken for the second's, results could be lost."""
    commits, consumer = OffsetCommits(), Consumer()
    first = asked(commits, consumer, 10)
    second = asked(commits, consumer, 20)

    commits.answered(None, places(10))
    assert ([], []) == (first, second)
    commits.answered(REFUSED, places(20))
    assert ([], [REFUSED]) == (first, second)


def test_offsets_with_another_progress_map_are_another_commit() -> None:
    commits, consumer = OffsetCommits(), Consumer()
    answers = asked(commits, consumer, 10)

    commits.answered(None, places(10, "map"))
    assert not answers
    commits.answered(None, list(reversed(places(10))))
    assert [None] == answers


def test_a_commit_is_answered_once() -> None:
    commits, consumer = OffsetCommits(), Consumer()
    answers = asked(commits, consumer, 10)
    commits.answered(None, places(10))
    commits.answered(REFUSED, places(10))

    assert [None] == answers


@pytest.mark.parametrize("wait", [True, False])
def test_one_refused_partition_is_a_failure_of_the_whole(*, wait: bool) -> None:
    commits, consumer = OffsetCommits(), Consumer(partition_errors=True)
    answers = asked(commits, consumer, 10, wait=wait)
    if not wait:
        offsets: Any = [Answered(each, error) for each, error in zip(places(10), (None, REFUSED), strict=True)]
        commits.answered(None, offsets)

    assert [REFUSED] == answers


def test_a_refused_commit_that_is_waited_for_is_answered_at_once() -> None:
    assert [REFUSED] == asked(OffsetCommits(), Consumer(REFUSED), 10, wait=True)
