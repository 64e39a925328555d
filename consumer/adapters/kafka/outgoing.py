"""Outcomes handed to a producer: their sizes, and the deliveries that failed."""

import logging
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Final, Protocol, TypeAlias

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from consumer.adapters.kafka.policy import CLIENTS, PublishingPolicy
from consumer.engine.commands import PartitionCommit

WATCH_ALL: Final = -1
BY_KEY: Final = -1
"""Parameter ``partition`` of ``Producer.produce``: the partitioner chooses it."""
NOW: Final = 0
"""Parameter ``timestamp`` of ``Producer.produce``: the record gets the present time."""

_log = logging.getLogger(__name__)


Headers: TypeAlias = list[tuple[str, str | bytes | None]]
Publication: TypeAlias = tuple[str, bytes | None, bytes | None, Headers]
"""One record to produce: topic, key, value and headers. A plain tuple, since each request makes one.

Nobody may log it: unlike other objects with content, it shows all of it."""


class Publisher(Protocol):
    """Makes records of verdicts: results and dead letters, each with its headers."""

    def publications(self, outcomes: Sequence[Any]) -> Iterable[Publication]:
        """Return one record for each outcome, in order, no larger than its topic accepts."""
        ...

    def reduced(self, outcome: Any, *, smallest: bool) -> Publication:  # noqa: ANN401 - engine.requests.Request, opaque here
        """Return a smaller record, or the smallest that still says what happened, for one that is too large."""
        ...


class Outgoing:
    """Produces outcomes and learns from failed deliveries; for the committer thread.

    Most records are produced without a delivery report, since the transaction's end tells whether all of them were
    written. Only large ones are watched, and all of them after a failure, to find the one that a broker refuses.
    """

    def __init__(self, properties: dict[str, Any], publisher: Publisher, policy: PublishingPolicy) -> None:
        """``properties``: those of the producers; ``batch.size`` in it is lowered where brokers refuse batches."""
        self._properties = properties
        self._publisher = publisher
        self._policy = policy
        self._too_large: dict[tuple[int, int], bool] = {}
        """Coordinates of requests whose outcomes have to be made smaller -> whether as small as possible."""
        self.failed: list[tuple[Any, KafkaError]] = []
        """Deliveries that failed since ``produce`` was called: the outcomes, each with its error."""
        self.watched_from = policy.watched_bytes
        """Records with more bytes get a delivery report each; ``WATCH_ALL``: all of them."""

    def produce(self, producer: Producer, parts: Sequence[PartitionCommit]) -> None:
        """Hand all outcomes to the producer; deliveries that fail are collected in ``failed``."""
        self.failed.clear()
        for part in parts:
            publications = self._publisher.publications(part.outcomes)
            for outcome, publication in zip(part.outcomes, publications, strict=True):
                if self._too_large:
                    publication = self._as_small_as_needed(publication, outcome)  # noqa: PLW2901 - the same
                if not self._produce_one(producer, publication, outcome):
                    self._produce_reduced(producer, outcome)

    def _as_small_as_needed(self, publication: Publication, outcome: Any) -> Publication:  # noqa: ANN401 - see Publisher
        smallest = self._too_large.get(_place(outcome))
        return publication if smallest is None else self._publisher.reduced(outcome, smallest=smallest)

    def _produce_reduced(self, producer: Producer, outcome: Any) -> None:  # noqa: ANN401 - see Publisher
        if self._produce_one(producer, self._publisher.reduced(outcome, smallest=False), outcome):
            return
        smallest = self._publisher.reduced(outcome, smallest=True)
        if not self._produce_one(producer, smallest, outcome):
            raise KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE, smallest[0], txn_requires_abort=True))

    def _produce_one(self, producer: Producer, publication: Publication, outcome: Any) -> bool:  # noqa: ANN401 - see Publisher
        """``False``: it is too large for every topic, as far as their limits were known at the start."""
        topic, key, value, headers = publication
        report = None
        if len(value or b"") + len(key or b"") > self.watched_from:
            report = partial(self._delivered, outcome)
        while True:
            try:
                # All by position: the binding looks for each of its eight parameters if one is named. ``on_delivery``
                # counts only where ``callback``, another name of it, is not given at all.
                producer.produce(topic, value, key, BY_KEY, report, None, NOW, headers)
            except BufferError:
                producer.poll(self._policy.full_queue_poll)
            except KafkaException as problem:
                if problem.args[0].code() != KafkaError.MSG_SIZE_TOO_LARGE:
                    raise
                return False
            else:
                return True

    def _delivered(self, outcome: Any, error: KafkaError | None, _message: Message) -> None:  # noqa: ANN401 - see Publisher
        if error is not None:
            self.failed.append((outcome, error))

    def published(self) -> None:
        """Note that everything was written: no outcome has to be smaller any more."""
        self._too_large.clear()

    def learn(self) -> bool:
        """Learn from what a broker found too large; ``False`` if there is nothing to learn.

        A broker refuses whole batches, so batches are made smaller before a record that has one to itself is.
        """
        found = [_place(outcome) for outcome, error in self.failed if error.code() == KafkaError.MSG_SIZE_TOO_LARGE]
        batch = int(self._properties.get("batch.size", CLIENTS.batch_bytes))
        if found and batch > self._policy.smallest_batch_bytes:
            self._properties["batch.size"] = max(self._policy.smallest_batch_bytes, batch // 10)
            _log.warning(
                "A broker refuses batches of %d bytes. Check whether max.message.bytes of the topic was lowered.", batch
            )
            return True
        smaller = [place for place in found if self._too_large.get(place) is not True]
        self._too_large |= {place: place in self._too_large for place in found}
        return bool(smaller)


def _place(outcome: Any) -> tuple[int, int]:  # noqa: ANN401 - see Publisher
    return outcome.record.partition, outcome.record.offset
