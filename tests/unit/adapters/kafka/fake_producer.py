"""The producer's calls on a broker of ours, which answers as a test's script says."""

from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition

Delivered = Callable[[KafkaError | None, Any], None]
Pending = tuple[str, bytes | None, bytes | None, Delivered | None]
Script = KafkaError | Callable[[], None]

ABORTABLE = KafkaError(KafkaError.INVALID_TXN_STATE, "abort it", txn_requires_abort=True)
REFUSED = KafkaError(KafkaError.ILLEGAL_GENERATION, "the group has moved on", txn_requires_abort=True)
RETRIABLE = KafkaError(KafkaError._TIMED_OUT, "not yet", retriable=True)
FATAL = KafkaError(KafkaError._FENCED, "fenced", fatal=True)
FINAL = KafkaError(KafkaError._STATE, "no such state")


class Broker:
    """A broker in memory: what has been committed, and a script of the failures to come."""

    def __init__(self) -> None:
        self.producers: list[FakeProducer] = []
        self.script: dict[str, deque[Script]] = defaultdict(deque)
        self.most_bytes = 1 << 30
        """Limit of a batch; a larger one is refused when it is delivered."""
        self.records: list[tuple[str, bytes | None, bytes | None]] = []
        self.offsets: dict[int, tuple[int, str]] = {}
        self.metadata: list[object] = []
        self.asked: list[str] = []

    def asked_for(self, what: str) -> None:
        """Note the question; answer as the script says."""
        self.asked.append(what)
        if self.script[what]:
            answer = self.script[what].popleft()
            if isinstance(answer, KafkaError):
                raise KafkaException(answer)
            answer()


class FakeProducer:
    """The producer's calls, on a broker of ours. After a record that was not written none of its transactions commits.

    That is so after a failed delivery, and where an abort purges records: observed with librdkafka 2.16 and Apache
    Kafka 4.3.1, which then answers ``OUT_OF_ORDER_SEQUENCE_NUMBER``.
    """

    def __init__(self, broker: Broker, properties: dict[str, Any]) -> None:
        self.broker, self.properties = broker, properties
        self.pending: list[Pending] = []
        self.delivered: list[tuple[str, bytes | None, bytes | None]] = []
        self.sent: list[TopicPartition] = []
        self.failed: KafkaError | None = None
        broker.producers.append(self)

    def init_transactions(self, _timeout: float) -> None:
        self.broker.asked_for("init")

    def begin_transaction(self) -> None:
        self.broker.asked_for("begin")
        if self.failed is not None:
            raise KafkaException(FINAL)
        self.pending, self.delivered, self.sent = [], [], []

    def produce(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        partition: int,
        callback: Delivered | None,
        on_delivery: None,
        timestamp: int,
        headers: object,
    ) -> None:
        self.broker.asked_for("produce")
        if len(value or b"") > int(self.properties.get("message.max.bytes", 1 << 30)):
            raise KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))
        assert (-1, None, 0) == (partition, on_delivery, timestamp)
        assert headers is not None
        self.pending.append((topic, key, value, callback))

    def poll(self, _timeout: float) -> int:
        return 0

    def flush(self, _timeout: float) -> int:
        self.broker.asked_for("flush")
        self._deliver()
        return 0

    def _deliver(self) -> None:
        """In batches, each of which is taken or refused as a whole."""
        pending, self.pending = deque(self.pending), []
        most_in_batch = int(self.properties.get("batch.size", 1_000_000))
        while pending:
            batch, size = [pending[0]], len(pending.popleft()[2] or b"")
            while pending and size + len(pending[0][2] or b"") <= most_in_batch:
                size += len(pending[0][2] or b"")
                batch.append(pending.popleft())
            self._deliver_batch(batch, too_large=size > self.broker.most_bytes)

    def _deliver_batch(self, batch: list[Pending], *, too_large: bool) -> None:
        error = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE, txn_requires_abort=True) if too_large else None
        self.failed = self.failed or error
        for topic, key, value, on_delivery in batch:
            if error is None:
                self.delivered.append((topic, key, value))
            if on_delivery is not None:
                on_delivery(error, None)

    def send_offsets_to_transaction(self, offsets: list[TopicPartition], metadata: object, _timeout: float) -> None:
        self.broker.asked_for("offsets")
        if self.failed is not None:
            raise KafkaException(FINAL)
        self.broker.metadata.append(metadata)
        self.sent = offsets

    def commit_transaction(self, _timeout: float) -> None:
        self._deliver()
        self.broker.asked_for("commit")
        if self.failed is not None:
            raise KafkaException(self.failed)
        self.broker.records += self.delivered
        self.broker.offsets |= {each.partition: (each.offset, each.metadata or "") for each in self.sent}

    def abort_transaction(self, _timeout: float) -> None:
        if self.pending:
            self.failed = FINAL
        self.broker.asked_for("abort")
