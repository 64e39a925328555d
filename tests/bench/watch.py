"""How far a run has come, seen from outside at next to no cost, and made exact afterwards.

While it runs, a sample every 50 ms asks for the *last stable offsets* of the results topic: where a
``read_committed`` reader would stand. Transaction markers take offsets too, so how many results lay before them is
counted when the run is over and all results have been read.
"""

import time
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

from schemas.avro.codec import ResultDecoder
from tests.bench.procfs import cpu_seconds, machine_busy_seconds
from tests.bench.workload import PRODUCTS_PER_REQUEST, Workload
from tests.support.parts import wait_until
from tests.support.records import ReadRecord

EVERY_SECONDS = 0.05
ANSWER_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Sample:
    """One look; times in seconds."""

    at: float
    """Monotonic."""
    ends: tuple[int, ...]
    """Of each partition of the results topic: what lies before it can be read."""
    cpu: Mapping[str, float]
    """Spent so far by each process that takes part."""
    busy: float
    """Spent so far by the whole machine."""


class Watch:
    """Looks at one results topic and at processes by name."""

    def __init__(self, bootstrap: str, topic: str, partitions: int) -> None:
        """Waits until the topic, which may be new, has its leaders."""
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 4})
        self._latest = {TopicPartition(topic, number): OffsetSpec.latest() for number in range(partitions)}  # type: ignore[no-untyped-call] # theirs
        wait_until(self._answered, timeout=ANSWER_SECONDS, what=f"the leaders of {topic} are known")

    def sample(self, pids: Mapping[str, int]) -> Sample:
        """Look once."""
        ends = self._ends()
        cpu = {name: cpu_seconds(pid) for name, pid in pids.items()}
        return Sample(time.monotonic(), ends, cpu, machine_busy_seconds())

    def _ends(self) -> tuple[int, ...]:
        asked = self._admin.list_offsets(
            self._latest, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=ANSWER_SECONDS
        )
        ends = {place.partition: answer.result(ANSWER_SECONDS).offset for place, answer in asked.items()}
        return tuple(end for _, end in sorted(ends.items()))

    def _answered(self) -> bool:
        try:
            return bool(self._ends())
        except KafkaException:
            return False


class WrongResultsError(Exception):
    """What was measured is worth nothing: the results are not what was asked for."""


class Results:
    """The results of one run as a ``read_committed`` reader found them, and who had to get one."""

    def __init__(self, records: Sequence[ReadRecord], workload: Workload, dead: frozenset[int]) -> None:
        """``dead``: the client specifications whose Mirakl does not answer; their requests do not count."""
        self._workload = workload
        self._dead = dead
        self._answers: dict[int, list[ReadRecord]] = {}
        for record in records:
            self._answers.setdefault(workload.number((record.key or b"").decode()), []).append(record)
        partitions = 1 + max((record.partition for record in records), default=0)
        self._offsets: list[list[int]] = [[] for _ in range(partitions)]
        for number, answers in self._answers.items():
            for record in answers if not self._is_dead(number) else ():
                self._offsets[record.partition].append(record.offset)
        for offsets in self._offsets:
            offsets.sort()

    @property
    def expected(self) -> int:
        """Requests that count."""
        return sum(not self._is_dead(number) for number in range(self._workload.requests))

    @property
    def complete(self) -> bool:
        """Every request that counts has a result."""
        return sum(not self._is_dead(number) for number in self._answers) == self.expected

    @property
    def given_up(self) -> int:
        """Requests that do not count, and were answered all the same."""
        return sum(map(self._is_dead, self._answers))

    def visible(self, sample: Sample) -> int:
        """Results that count and could be read at that moment."""
        return sum(bisect_left(offsets, end) for offsets, end in zip(self._offsets, sample.ends, strict=False))

    def reached(self, samples: Iterable[Sample], share: float) -> Sample:
        """The first sample with that share of the results, at least with one."""
        wanted = max(1, ceil(share * self.expected))
        return next(sample for sample in samples if self.visible(sample) >= wanted)

    def check(self) -> None:
        """Exactly one result for each request, of the right content. Raises :class:`WrongResultsError`."""
        twice = [number for number, records in self._answers.items() if len(records) > 1]
        if twice:
            raise WrongResultsError(f"{len(twice)} requests got more than one result, such as {twice[:5]}")
        if not self.complete:
            missing = {number for number in range(self._workload.requests) if not self._is_dead(number)}
            missing -= self._answers.keys()
            raise WrongResultsError(f"{len(missing)} requests got no result, such as {sorted(missing)[:5]}")
        self._check_contents()

    def _check_contents(self) -> None:
        decoder = ResultDecoder(registry=False)
        for number, [record] in self._answers.items():
            dead = self._is_dead(number)
            expected = {
                "requestId": self._workload.request_id(number),
                "status": "FAILED" if dead else "SYNCHRONIZED",
                "synchronizedProducts": 0 if dead else PRODUCTS_PER_REQUEST,
                "clientSpecificationId": self._workload.specification_id(self._workload.specification_of(number)),
            }
            result = decoder.decode(record.value)
            if not isinstance(result, dict) or expected != {name: result[name] for name in expected}:
                raise WrongResultsError(f"{result} is not what was asked for: {expected}")

    def _is_dead(self, number: int) -> bool:
        return self._workload.specification_of(number) in self._dead
