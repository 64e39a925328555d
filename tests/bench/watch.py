"""How far a run has come, seen from outside at next to no cost, and made exact afterwards.

While it runs, a sample every 50 ms asks for the *last stable offsets* of the results topic: where a
``read_committed`` reader would stand. Transaction markers take offsets too, so how many results lay before them is
counted when the run is over and all results have been read.
"""

import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

from schemas.avro.codec import ResultDecoder
from tests.bench.procfs import ProcessGroup, machine_busy_seconds
from tests.bench.workload import Workload
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
    """Spent so far by each program that takes part."""
    busy: float
    """Spent so far by the whole machine."""


class Watch:
    """Looks at one results topic and at processes by name."""

    def __init__(self, bootstrap: str, topic: str, partitions: int) -> None:
        """Waits until the topic, which may be new, has its leaders."""
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 4})
        self._latest = {TopicPartition(topic, number): OffsetSpec.latest() for number in range(partitions)}  # type: ignore[no-untyped-call] # theirs
        wait_until(self._answered, timeout=ANSWER_SECONDS, what=f"the leaders of {topic} are known")

    def sample(self, programs: Mapping[str, ProcessGroup]) -> Sample:
        """Look once."""
        ends = self._ends()
        cpu = {name: processes.cpu_seconds() for name, processes in programs.items()}
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
    """The results of one run as a ``read_committed`` reader found them, and who had to get one.

    Of each record only its place is kept: a run may have a million of them.
    """

    def __init__(self, records: Iterable[ReadRecord], workload: Workload, dead: frozenset[int]) -> None:
        """``dead``: the client specifications whose Mirakl does not answer; their requests do not count."""
        self._workload = workload
        self._dead = dead
        self._ids = [workload.specification_id(number) for number in range(workload.specifications)]
        self._answers = bytearray(workload.requests)
        """Results of each request; 255 stands for more as well."""
        self._wrong: list[str] = []
        self._offsets: defaultdict[int, list[int]] = defaultdict(list)
        """Partition of the results topic -> offsets of the results that count, in order."""
        self._of_specification: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        """The same by (client specification, partition)."""
        self._read(records)

    def _read(self, records: Iterable[ReadRecord]) -> None:
        decoder = ResultDecoder(registry=False)
        for record in records:
            number = self._workload.number((record.key or b"").decode())
            self._check_content(number, decoder.decode(record.value))
            self._answers[number] = min(255, self._answers[number] + 1)
            if self._answers[number] > 1:
                continue
            specification = self._workload.specification_of(number)
            if specification not in self._dead:
                self._offsets[record.partition].append(record.offset)
                self._of_specification[specification, record.partition].append(record.offset)
        for offsets in (*self._offsets.values(), *self._of_specification.values()):
            offsets.sort()

    @property
    def expected(self) -> int:
        """Requests that count."""
        return sum(not self._is_dead(number) for number in range(self._workload.requests))

    @property
    def complete(self) -> bool:
        """Every request that counts has a result."""
        return all(answers or self._is_dead(number) for number, answers in enumerate(self._answers))

    @property
    def repeated(self) -> int:
        """Results beyond the first of a request, which count for nothing."""
        return sum(max(0, answers - 1) for answers in self._answers)

    @property
    def given_up(self) -> int:
        """Requests that do not count, and were answered all the same."""
        return sum(bool(answers) and self._is_dead(number) for number, answers in enumerate(self._answers))

    def visible(self, sample: Sample) -> int:
        """Results that count and could be read at that moment."""
        return _before(sample, self._offsets.items())

    def reached(self, samples: Iterable[Sample], share: float) -> Sample:
        """The first sample with that share of the results, at least with one."""
        wanted = max(1, ceil(share * self.expected))
        return next(sample for sample in samples if self.visible(sample) >= wanted)

    def silences(self, samples: Sequence[Sample]) -> tuple[float, ...]:
        """For each client specification that counts: the most seconds without a result until its last one."""
        specifications = sorted({specification for specification, _ in self._of_specification})
        return tuple(self._silence(specification, samples) for specification in specifications)

    def _silence(self, specification: int, samples: Sequence[Sample]) -> float:
        """From the first sample on, and up to the one that shows its last result."""
        partitions = range(len(samples[0].ends))
        offsets = [(each, self._of_specification[specification, each]) for each in partitions]
        longest, since, seen = 0.0, samples[0].at, _before(samples[0], offsets)
        for sample in samples:
            visible = _before(sample, offsets)
            if visible > seen:
                longest, since, seen = max(longest, sample.at - since), sample.at, visible
        return longest

    def check(self, *, at_least_once: bool = False) -> None:
        """Exactly one result for each request, of the right content; ``at_least_once``: one or more.

        Raises :class:`WrongResultsError`.
        """
        twice = [number for number, answers in enumerate(self._answers) if answers > 1]
        if twice and not at_least_once:
            raise WrongResultsError(f"{len(twice)} requests got more than one result, such as {twice[:5]}")
        if not self.complete:
            missing = [n for n, answers in enumerate(self._answers) if not answers and not self._is_dead(n)]
            raise WrongResultsError(f"{len(missing)} requests got no result, such as {missing[:5]}")
        if self._wrong:
            raise WrongResultsError(self._wrong[0])

    def _check_content(self, number: int, result: object) -> None:
        dead = self._is_dead(number)
        expected = {
            "requestId": self._workload.request_id(number),
            "status": "FAILED" if dead else "SYNCHRONIZED",
            "synchronizedProducts": 0 if dead else self._workload.products,
            "clientSpecificationId": self._ids[self._workload.specification_of(number)],
        }
        if not isinstance(result, dict) or expected != {name: result[name] for name in expected}:
            self._wrong.append(f"{result} is not what was asked for: {expected}")

    def _is_dead(self, number: int) -> bool:
        return self._workload.specification_of(number) in self._dead


def _before(sample: Sample, offsets: Iterable[tuple[int, list[int]]]) -> int:
    """Count the offsets of each partition that could be read at that moment."""
    return sum(bisect_left(each, sample.ends[partition]) for partition, each in offsets)
