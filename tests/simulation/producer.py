"""What ``confluent_kafka.Producer`` looks like from inside, over the simulated broker."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import GeneratorType
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from tests.simulation.broker import ProducerState, Refused, Transaction
from tests.simulation.kafka import Network, abortable, fatal, refused, refused_records
from tests.simulation.loop import Steps


class SimulatedProducer:
    """A transactional producer."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.replica = config["replica"]
        self.network: Network = self.replica.network
        self.broker = self.network.broker
        self._id: str = config["transactional.id"]
        self._state: ProducerState | None = None
        self._transaction: Transaction | None = None
        self._outcomes: list[Any] = []
        self._watched: list[tuple[Any, Callable[..., Any]]] = []
        """Outcomes with a delivery report of their own."""
        self._failed: KafkaException | None = None
        self._fatal: KafkaException | None = None

    def init_transactions(self, timeout: float) -> Steps:
        process = self.replica.process
        try:
            self._state = yield from self.network.ask(
                "init", lambda: self.broker.init_producer(self._id, process), min(timeout, 2.0)
            )
        except Refused as problem:
            raise refused(problem) from problem

    def begin_transaction(self) -> None:
        if self._fatal:
            raise self._fatal
        if self._state is None:
            raise AssertionError("begun before it was initialized")
        self._transaction = self.broker.begin(self._state)
        self._outcomes, self._watched, self._failed = [], [], None

    def produce(self, _topic: str, value: Any, _key: Any, *options: Any) -> None:  # noqa: ANN401
        _partition, on_delivery, _no_other, _timestamp, _headers = options
        self._outcomes.append(value)
        if on_delivery is not None:
            self._watched.append((value, on_delivery))

    def poll(self, _seconds: float) -> int:
        return 0

    def flush(self, timeout: float) -> Steps:
        """Deliver what is in the queue; how many records are still in it."""
        if not self._outcomes:
            return 0
        try:
            yield from self._deliver(timeout)
        except KafkaException as problem:
            if problem.args[0].retriable():
                return len(self._outcomes)
        return 0

    def _deliver(self, timeout: float) -> Steps:
        outcomes, transaction = self._outcomes, self._transaction
        if transaction is None:
            raise AssertionError("no transaction")
        undelivered = self._undelivered()
        written: list[bool] = []

        def write() -> None:
            if not written:
                self.broker.produce(transaction, outcomes)
                written.append(True)

        while not written:
            try:
                yield from self.network.ask("produce", write, min(timeout, 1.0))
            except Refused as problem:
                raise self._kept(refused_records(problem)) from problem
            except KafkaException:
                continue
        self._outcomes = []
        for outcome, report in self._watched:
            steps = report(undelivered.get(id(outcome)), None)
            if isinstance(steps, GeneratorType):
                yield from steps
        self._watched = []

    def _undelivered(self) -> dict[int, KafkaError]:
        """Draw a record that is not delivered, which nothing but its report tells."""
        if not self._watched or not self.replica.world.failure("delivery"):
            return {}
        outcome, _ = self.network.rng.choice(self._watched)
        self._outcomes[:] = [each for each in self._outcomes if each is not outcome]
        return {id(outcome): KafkaError(KafkaError._MSG_TIMED_OUT, "not delivered")}

    def send_offsets_to_transaction(self, offsets: Sequence[TopicPartition], metadata: bytes, timeout: float) -> Steps:
        transaction = self._usable()
        wanted = {each.partition: (each.offset, each.metadata or "") for each in offsets}
        yield from self._ask(
            "send offsets", lambda: self.broker.send_offsets(transaction, wanted, metadata), min(timeout, 1.0)
        )

    def commit_transaction(self, timeout: float) -> Steps:
        transaction = self._usable()
        if self._outcomes:
            yield from self._deliver(timeout)
        yield from self._ask("commit", lambda: self.broker.end(transaction, "committed"), min(timeout, 1.0))
        self._transaction = None

    def abort_transaction(self, timeout: float) -> Steps:
        if self._fatal:
            raise self._fatal
        self._failed = None
        transaction = self._transaction
        if transaction is None:
            return
        self._outcomes = []
        if transaction.state == "aborted" and self.network.rng.random() < 0.5:
            self._transaction = None  # the coordinator was quicker; newer clients take that for an abort
            return
        yield from self._ask("abort", lambda: self.broker.end(transaction, "aborted"), min(timeout, 1.0))
        self._transaction = None

    def _usable(self) -> Transaction:
        if self._fatal:
            raise self._fatal
        if self._failed:
            raise self._failed
        if self._transaction is None:
            raise AssertionError("no transaction")
        return self._transaction

    def _kept(self, error: KafkaException) -> KafkaException:
        """Keep an error that ends the transaction or, if it is fatal, the producer."""
        if error.args[0].fatal():
            self._fatal = error
        else:
            self._failed = error
        return error

    def _ask(self, what: str, effect: Callable[[], None], patience: float) -> Steps:
        """Ask, perhaps with a failure that the world has in store."""
        failure = self.replica.world.failure(what)
        if failure == "before":
            raise abortable(KafkaError.NOT_COORDINATOR, f"{what} failed")
        if failure == "fatal before":
            self._fatal = fatal(KafkaError._FATAL, f"{what} failed")
            raise self._fatal
        try:
            yield from self.network.ask(what, effect, patience)
        except Refused as problem:
            raise self._kept(refused(problem)) from problem
        if failure == "fatal after":
            self._fatal = fatal(KafkaError._FATAL, f"{what} happened, but the producer broke")
            raise self._fatal


@dataclass(slots=True, eq=False)
class _Sent:
    outcome: Any
    report: Callable[..., Any]
    written: bool = False
    problem: KafkaError | None = None


class PlainProducer:
    """An idempotent producer without transactions: a record is visible once it is written."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.replica = config["replica"]
        self.network: Network = self.replica.network
        self._queue: list[_Sent] = []

    def produce(self, _topic: str, value: Any, _key: Any, *options: Any) -> None:  # noqa: ANN401
        _partition, on_delivery, _no_other, _timestamp, _headers = options
        self._queue.append(_Sent(value, on_delivery))

    def poll(self, _seconds: float) -> int:
        return 0

    def flush(self, timeout: float) -> Steps:
        """Deliver what is in the queue; how many records are still in it. One that was written is not written again."""
        sent = self._queue
        if not sent:
            return 0
        broker, process = self.network.broker, self.replica.process
        lost = self.network.rng.choice(sent) if self.replica.world.failure("delivery") else None

        def write() -> None:
            for each in sent:
                if each is lost:
                    each.problem = KafkaError(KafkaError._MSG_TIMED_OUT, "not delivered")
                elif not each.written and broker.refuses(each.outcome.outlet):
                    each.problem = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED, "refused")
                elif not each.written:
                    each.written, each.problem = True, None
                    broker.on_write(process, each.outcome)

        try:
            yield from self.network.ask("produce", write, min(timeout, 1.0))
        except KafkaException:
            return len(sent)
        self._queue = []
        for each in sent:
            steps = each.report(None if each.written else each.problem, None)
            if isinstance(steps, GeneratorType):
                yield from steps
        return 0
