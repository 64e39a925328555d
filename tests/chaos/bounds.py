"""A million requests for a Mirakl that is away: what they are answered, how late, and how much memory that takes."""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from confluent_kafka import Producer
from rich.console import Console

from schemas.avro.codec import ResultDecoder
from tests.chaos.outcomes import Outcomes
from tests.chaos.stage import Plan, Replica, Stage, prepared
from tests.chaos.workload import Requests, clients
from tests.support.records import RawRecord, scan_topic

PARTITIONS = 8
DEADLINE_SECONDS = 20.0
LATE_SECONDS = 1.0
"""From being decided to being published, and between two looks."""
LOOK_SECONDS = 0.5
LONGEST_SECONDS = 900.0
FLUSH_SECONDS = 180.0
SETTLED_SHARE = 0.1
"""When so many have been answered, memory has to have reached its height."""
FLAT_MEGABYTES = 32.0
AGE = "resync_oldest_unanswered_request_age_seconds "


@dataclass(slots=True)
class Bounds:
    """What was seen."""

    requests: int
    codes: dict[str, int] = field(default_factory=dict)
    """Error code of the results, or ``SYNCHRONIZED``."""
    seconds: float = 0.0
    oldest: float = 0.0
    """The highest age, in seconds, that a request reached before its answer was published."""
    settled_megabytes: float = 0.0
    """The most resident memory until a tenth was answered."""
    peak_megabytes: float = 0.0
    silent: int = 0
    """Looks at which ``/livez`` or ``/metrics`` did not answer."""

    @property
    def held(self) -> bool:
        """Whether all were answered, in time, by a process that stayed as it was."""
        return (
            self.codes == {"CM21_UNAVAILABLE": self.requests}
            and self.oldest <= DEADLINE_SECONDS + LATE_SECONDS
            and self.peak_megabytes <= self.settled_megabytes + FLAT_MEGABYTES
            and self.silent == 0
        )

    def __str__(self) -> str:
        return (
            f"{self.requests} requests waited for an absent Mirakl: {self.codes} within {self.seconds:.0f} s; "
            f"none later than {self.oldest:.1f} s after it was read (deadline {DEADLINE_SECONDS:g} s); memory "
            f"{self.settled_megabytes:.0f} MB until a tenth was answered, {self.peak_megabytes:.0f} MB at most; "
            f"{self.silent} times no sign of life"
        )


def measure(folder: Path, requests: int, console: Console) -> Bounds:
    """Let them wait, start one replica, watch it until all are answered."""
    plan = Plan(PARTITIONS, clients(8), 1, settings={"RESYNC_REQUEST_DEADLINE": f"{DEADLINE_SECONDS:g}s"})
    with prepared(plan, folder) as stage:
        [replica] = stage.replicas
        replica.terminate()
        stage.mirakl.kill()
        _send(stage, requests)
        found = Bounds(requests)
        with Outcomes(stage.broker.bootstrap, stage.topics) as outcomes:
            replica.start(wait=True)
            began = time.monotonic()
            while outcomes.answered < requests and time.monotonic() < began + LONGEST_SECONDS:
                _look(replica, found, settled=outcomes.answered >= SETTLED_SHARE * requests)
                time.sleep(LOOK_SECONDS)
            found.seconds = time.monotonic() - began
        found.codes = dict(_codes(stage))
    console.print(str(found))
    return found


def _send(stage: Stage, count: int) -> None:
    producer = Producer({"bootstrap.servers": stage.broker.bootstrap, "linger.ms": 20, "log_level": 2})
    for record in _records(stage, count):
        while True:
            try:
                producer.produce(
                    stage.topics.requests, record.value, record.key, record.partition or 0, headers=list(record.headers)
                )
            except BufferError:
                producer.poll(0.1)
            else:
                break
    if producer.flush(FLUSH_SECONDS):
        raise TimeoutError("the broker did not acknowledge all requests")


def _records(stage: Stage, count: int) -> Iterator[RawRecord]:
    requests, all_clients = Requests(stage.api_key, 1, mix=False), stage.plan.clients
    for number in range(count):
        client = all_clients[number % len(all_clients)]
        yield requests.record(number, client, number // len(all_clients) % stage.plan.partitions)


def _look(replica: Replica, found: Bounds, *, settled: bool) -> None:
    status = Path(f"/proc/{replica.service.pid}/status").read_text()
    megabytes = int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:"))) / 1024
    found.peak_megabytes = max(found.peak_megabytes, megabytes)
    if not settled:
        found.settled_megabytes = found.peak_megabytes
    try:
        metrics = replica.service.get("/metrics").text
    except httpx.TransportError:
        found.silent += 1
        return
    age = next(line.removeprefix(AGE) for line in metrics.splitlines() if line.startswith(AGE))
    found.oldest = max(found.oldest, float(age))
    found.silent += replica.service.status("/livez") != httpx.codes.OK


def _codes(stage: Stage) -> Counter[str]:
    decoder, codes = ResultDecoder(registry=False), Counter[str]()
    for record in scan_topic(stage.broker.bootstrap, stage.topics.results):
        result = decoder.decode(record.value)
        if not isinstance(result, dict):
            raise TypeError(f"{result} at result {record.partition}:{record.offset}")
        codes[result["error"]["code"] if result["error"] else "SYNCHRONIZED"] += 1
    return codes
