"""``python -m tests.bench --paced 50,500,2000``: how long a request takes at a steady rate.

From the moment the request is handed to a producer until its result reaches a ``read_committed`` consumer. The rates
are kept whatever the service does, so that one that falls behind shows it.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median, quantiles
from typing import Final

from confluent_kafka import Consumer, Producer, TopicPartition
from rich.console import Console
from rich.table import Table

from tests.bench.stage import Limits, Mirakl, Stage, prepared
from tests.bench.watch import WrongResultsError
from tests.bench.workload import Workload
from tests.support.service import Service

WARM_UP_SECONDS: Final = 3
MEASURED_SECONDS: Final = 15
LAST_SECONDS: Final = 15.0
"""For the results that are missing when the last request was sent."""
_SHORTEST_POLL: Final = 0.001
"""Seconds. librdkafka counts whole milliseconds, so a shorter poll does not wait at all, and keeps a core busy."""


@dataclass(frozen=True, slots=True)
class Paced:
    """Latencies at one rate, in seconds."""

    rate: int
    """Requests a second."""
    p50: float
    p99: float
    requests_per_call: float


def measure(console: Console, rates: Sequence[int], clients: int, latency: str, limits: Limits) -> Sequence[Paced]:
    """Measure each rate in turn and print the table."""
    workload = Workload(1, clients, keyed=True)
    with prepared(workload, clients, limits, {"RESYNC_LOG__REQUESTS": "failed"}) as stage:
        measured = [_at_rate(stage, rate, clients, latency) for rate in rates]
    table = Table("requests/s", "p50 ms", "p99 ms", "requests a CM21 call", title=f"CM21 takes {latency}")
    for each in measured:
        figures = f"{1e3 * each.p50:.0f}", f"{1e3 * each.p99:.0f}", f"{each.requests_per_call:.2f}"
        table.add_row(f"{each.rate:,}", *figures)
    console.print(table)
    return measured


def _at_rate(stage: Stage, rate: int, clients: int, latency: str) -> Paced:
    workload = Workload(rate * (WARM_UP_SECONDS + MEASURED_SECONDS), clients, keyed=True)
    with stage.topics(preloaded=False) as topics, stage.mirakl(Mirakl(latency)) as mirakl:
        service = Service({**stage.settings, **topics.environment}, stage.folder, topics.group)
        with service:
            exchange = _Exchange(replace(stage, workload=workload), topics.requests, topics.results, rate)
            latencies = exchange.run()
        calls = mirakl.calls()
    measured = latencies[rate * WARM_UP_SECONDS :]
    return Paced(rate, median(measured), quantiles(measured, n=100)[98], workload.requests / calls)


class _Exchange:
    """Sends requests at their times and takes the results in between."""

    def __init__(self, stage: Stage, requests: str, results: str, rate: int) -> None:
        common = {"bootstrap.servers": stage.bootstrap}
        self._producer = Producer({**common, "linger.ms": 0})
        reading = {"group.id": "unused", "enable.auto.commit": False, "fetch.wait.max.ms": 500}
        self._consumer = Consumer({**common, **reading, "isolation.level": "read_committed"})
        self._consumer.assign([TopicPartition(results, number, 0) for number in range(stage.partitions)])
        self._stage, self._topic, self._rate = stage, requests, rate
        self._workload = stage.workload
        self._sent_at = [0.0] * self._workload.requests
        self._latencies: dict[int, float] = {}

    def run(self) -> Sequence[float]:
        """Return the seconds that each request took, in the order in which they were sent.

        Raises :class:`WrongResultsError` where results are missing.
        """
        key_bytes = self._stage.issue_key().encode()
        headers: list[tuple[str, str | bytes | None]] = [("dj-client", b"OPERATOR"), ("dj-api-key", key_bytes)]
        records = list(self._workload.values())  # encoded before the clock starts
        for number, (value, key) in enumerate(self._paced(records)):
            partition = self._workload.specification_of(number) % self._stage.partitions
            self._sent_at[number] = time.monotonic()
            self._producer.produce(self._topic, value, key, partition=partition, headers=headers)
            self._producer.poll(0)
        deadline = time.monotonic() + LAST_SECONDS
        while len(self._latencies) < self._workload.requests:
            if time.monotonic() > deadline:
                missing = self._workload.requests - len(self._latencies)
                raise WrongResultsError(f"{missing} results are missing at {self._rate} requests a second")
            self._producer.poll(0)
            self._take(0.1)
        self._consumer.close()
        return [latency for _, latency in sorted(self._latencies.items())]

    def _paced(self, records: Sequence[tuple[bytes, bytes | None]]) -> Iterator[tuple[bytes, bytes | None]]:
        began = time.monotonic()
        for number, record in enumerate(records):
            due = began + number / self._rate
            while (left := due - time.monotonic()) > 0:
                self._take(left)
            yield record

    def _take(self, seconds: float) -> None:
        if seconds < _SHORTEST_POLL:
            time.sleep(seconds)
            seconds = 0.0
        first = self._consumer.poll(seconds)
        for message in () if first is None else (first, *self._consumer.consume(500, 0)):
            if message.error() is None:
                number = self._workload.number((message.key() or b"").decode())
                self._latencies.setdefault(number, time.monotonic() - self._sent_at[number])
