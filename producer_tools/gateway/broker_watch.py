"""Watches whether the brokers respond and grant what is needed, and whether the results reader keeps up with them.

Once a second the leaders of all partitions of both topics are asked for the ends of their logs. The answers show that
each leader responds, and how far the reader has to be: it is up to date if it has read everything that was there at an
earlier query. This does not depend on other clocks, and works while records arrive without a pause.

Every two seconds the brokers are asked what this user may do on both topics. A right that is missing would otherwise
show only once calls have failed: DESCRIBE alone suffices for the ends.
"""

import contextlib
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from typing import TypeAlias

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AclOperation, OffsetSpec  # type: ignore[attr-defined]  # public, yet not marked

from producer_tools.connection import Connection, may_pass
from producer_tools.errors import MissingRightError
from producer_tools.gateway.policy import GatewayPolicy
from producer_tools.gateway.results_reader import ResultsReader
from producer_tools.policy import TOOLS
from schemas.rights import Right, missing_right

Ends: TypeAlias = Mapping[int, int]
"""Partition of the results topic -> offset behind its last committed record."""

_log = logging.getLogger(__name__)


class TopicEnds:
    """Queries the ends of the requests and results topics, whose partitions it knows.

    The constructor queries the partitions and the rights, each for ``connect_seconds`` at most, and raises what
    ``Connection.partitions`` raises.
    """

    def __init__(self, connection: Connection, requests: str, results: str) -> None:
        self._admin = connection.admin()
        self._requests, self._results = requests, results
        self._needed = {requests: Right.WRITE, results: Right.READ}
        self._of_requests = connection.partitions(self._admin, requests, Right.WRITE)
        self.partitions = connection.partitions(self._admin, results, Right.READ)
        """Of the results topic."""
        deadline = time.monotonic() + TOOLS.connect_seconds
        missing = connection.ask(lambda: self.missing_rights(TOOLS.attempt_seconds), self._admin, requests, deadline)
        if missing:
            topic, right = next(iter(missing.items()))
            raise MissingRightError(*missing_right(right, topic))

    def ends(self, timeout: float) -> Ends:
        """Return the ends of the results topic. Raises ``KafkaException`` unless all leaders answer in time."""
        asked = [TopicPartition(self._results, partition) for partition in self.partitions]
        asked += [TopicPartition(self._requests, partition) for partition in self._of_requests]
        found = self._ask(asked, OffsetSpec.latest(), timeout)  # type: ignore[no-untyped-call]  # the library has no annotation here
        return {each.partition: offset for each, offset in found.items() if each.topic == self._results}

    def since(self, seconds: float, timeout: float) -> Ends:
        """Return the offsets of the first committed results of the last ``seconds``, by the records' times.

        Where a partition has none that young it is its end, asked for beforehand so that nothing falls between.
        """
        ends = self.ends(timeout)
        time_millis = int((time.time() - seconds) * 1000)
        asked = [TopicPartition(self._results, partition) for partition in self.partitions]
        found = self._ask(asked, OffsetSpec.for_timestamp(time_millis), timeout)
        return {each.partition: at if at >= 0 else ends[each.partition] for each, at in found.items()}

    def find_added(self, timeout: float) -> Sequence[int]:
        """Return partitions of the results topic that were added since the last look. Raises ``KafkaException``."""
        found = self._admin.list_topics(self._results, timeout=timeout).topics[self._results].partitions
        added = sorted(set(found) - set(self.partitions))
        self.partitions += added
        return added

    def missing_rights(self, timeout: float) -> Mapping[str, Right]:
        """Return topic -> right on it that this user lacks. Raises ``KafkaException`` where no broker tells in time.

        Brokers that have no ACLs, or do not know the question, leave nothing missing.
        """
        cluster = self._admin.list_topics(self._results, timeout=timeout)
        if cluster.controller_id not in cluster.brokers:  # an embedded broker has none, and no ACLs either
            return {}
        asked = self._admin.describe_topics(
            TopicCollection(list(self._needed)), include_authorized_operations=True, request_timeout=timeout
        )
        missing = {}
        for topic, answer in asked.items():
            right = self._needed[topic]
            try:
                allowed = answer.result(timeout + 1).authorized_operations
            except TimeoutError:  # the library itself is late
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT)) from None  # noqa: SLF001 - librdkafka's own name
            except KafkaException as error:
                if may_pass(error.args[0]):
                    raise
                is_missing = error.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED
            else:
                is_missing = bool(allowed) and not {AclOperation[right], AclOperation.ALL} & set(allowed)
            if is_missing:
                missing[topic] = right
        return missing

    def _look_for_leaders(self, timeout: float) -> None:
        """Have the client learn the leaders anew, for the next question.

        ``list_offsets`` of librdkafka 2.16 keeps asking with the leader epoch that it knows, and gets
        ``FENCED_LEADER_EPOCH`` for ever once a leader was elected anew (observed after a broker had been frozen).
        """
        for topic in (self._requests, self._results):
            with contextlib.suppress(KafkaException):
                self._admin.list_topics(topic, timeout=timeout)

    def _ask(
        self, places: Collection[TopicPartition], which: OffsetSpec, timeout: float
    ) -> Mapping[TopicPartition, int]:
        answers = self._admin.list_offsets(
            dict.fromkeys(places, which), isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=timeout
        )
        try:
            return {place: answer.result(timeout + 1).offset for place, answer in answers.items()}
        except KafkaException as error:
            if error.args[0].code() > 0:  # a broker's answer, not a silence of it
                self._look_for_leaders(timeout)
            raise


class BrokerWatch:
    """Queries the brokers again and again, on a separate thread. The properties may be read on any thread."""

    def __init__(self, connection: Connection, topics: TopicEnds, reader: ResultsReader, policy: GatewayPolicy) -> None:
        self._connection = connection
        self._topics = topics
        self._reader = reader
        self._policy = policy
        self._answered_at = self._looked_at = time.monotonic()
        self._answering = True
        self._caught_up_at: float | None = None
        """Of the newest answer up to whose ends the reader has read."""
        self._unread: deque[tuple[float, Ends]] = deque(maxlen=math.ceil(policy.behind_seconds / policy.probe_seconds))
        """Later answers and their times, oldest first."""
        self.lag_records = 0
        """Records between the reader's positions and the ends at the last response."""
        self.missing_rights: Mapping[str, Right] = {}
        """Topic -> right on it that this user lacks: nothing can be written, or no result be read."""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="broker-watch", daemon=True)

    @property
    def brokers_answer(self) -> bool:
        """Whether all leaders answered the last question, and no handle has lost all brokers since."""
        return self._answering and self._connection.all_down_at < self._answered_at

    @property
    def reader_is_up_to_date(self) -> bool:
        """Whether the reader has read all that was there ``behind_seconds`` ago, so that calls may be taken."""
        return self._caught_up_at is not None and time.monotonic() - self._caught_up_at < self._policy.behind_seconds

    def start(self) -> None:
        """Begin to ask the brokers, on a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Let the thread end, after the question that is under way; does not wait."""
        self._stopping.set()

    def probe(self) -> None:
        """Ask once. Raises ``KafkaException`` or ``TimeoutError`` where a leader does not answer."""
        if self.missing_rights or time.monotonic() - self._looked_at >= self._policy.look_seconds:
            self._look()
        asked_at = time.monotonic()
        try:
            ends = self._topics.ends(self._policy.probe_timeout_seconds)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_AUTHORIZATION_FAILED:
                raise
            self._look()
            if not self.missing_rights:
                raise
            self._answered_at = asked_at
            return
        self._answered_at = asked_at
        self._unread.append((asked_at, ends))
        self.lag_records = sum(max(0, end - self._reader.progress.get(place, 0)) for place, end in ends.items())
        read = self._reader.progress
        while self._unread and all(read.get(place, 0) >= end for place, end in self._unread[0][1].items()):
            self._caught_up_at, _ = self._unread.popleft()

    def _look(self) -> None:
        """Look for rights that are missing, and for partitions that were added.

        Brokers that do not tell in time leave all as at the last look: whether they answer, the ends show.
        """
        self._looked_at = time.monotonic()
        with contextlib.suppress(KafkaException):
            self._look_for_rights()
            self._look_for_partitions()

    def _look_for_rights(self) -> None:
        former = self.missing_rights
        self.missing_rights = self._topics.missing_rights(self._policy.look_timeout_seconds)
        for topic, right in self.missing_rights.items():
            if topic not in former:
                _log.error("%s", missing_right(right, topic))
        if former and not self.missing_rights:
            _log.warning("the rights on both topics suffice again")

    def _look_for_partitions(self) -> None:
        added = self._topics.find_added(self._policy.look_timeout_seconds)
        if added:
            _log.warning("partitions were added to the results topic: %s", added)
            self._reader.add_partitions(added)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.probe()
            except (KafkaException, TimeoutError) as error:
                self._note(answering=False, detail=str(error))
            else:
                self._note(answering=True)
            pause = self._policy.first_probes_seconds if self._caught_up_at is None else self._policy.probe_seconds
            self._stopping.wait(pause)

    def _note(self, *, answering: bool, detail: str = "") -> None:
        if answering != self._answering:
            _log.warning("the brokers answer again" if answering else f"the brokers do not answer: {detail}")
        self._answering = answering
