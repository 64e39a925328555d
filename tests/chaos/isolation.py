"""What one client's trouble costs the others: throughput and latency of the healthy, alone and in bad company."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from schemas.avro.codec import ResultDecoder
from tests.chaos.load import Stream
from tests.chaos.scene import under_load
from tests.chaos.stage import Plan, Stage, prepared
from tests.chaos.workload import Client, Requests, clients
from tests.support.records import scan_topic

HEALTHY = 5
HANG: dict[str, object] = {"effect": "hang"}
THROTTLED: dict[str, object] = {"effect": "status", "status": 429, "retry_after": "5"}
SETTLE_SECONDS = 15.0
"""A broker that was just started takes twice the processor time, which would be measured as the company's doing."""
TOLERANCE = 0.2
BACKLOG_REQUESTS = 2_000
BACKLOG_DEADLINE_SECONDS = 20
"""The backlog takes several times as long."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the healthy clients had."""

    per_second: float
    p50: float
    p99: float
    """Seconds from sending to the result that a ``read_committed`` subscriber sees."""

    def __str__(self) -> str:
        return f"{self.per_second:.1f}/s, p50 {self.p50 * 1000:.0f} ms, p99 {self.p99 * 1000:.0f} ms"


@dataclass(slots=True)
class Comparison:
    """Alone and in company, in turns."""

    scenario: str
    alone: list[Seen] = field(default_factory=list)
    company: list[Seen] = field(default_factory=list)

    @property
    def throughput_change(self) -> float:
        """Share, of the medians."""
        return _change([each.per_second for each in self.alone], [each.per_second for each in self.company])

    @property
    def p99_change(self) -> float:
        """Share, of the medians."""
        return _change([each.p99 for each in self.alone], [each.p99 for each in self.company])

    @property
    def held(self) -> bool:
        """The healthy noticed nothing to speak of."""
        return self.throughput_change >= -TOLERANCE and self.p99_change <= TOLERANCE


def measure(folder: Path, rounds: int, seconds: float, console: Console) -> list[Comparison]:
    """Compare the healthy alone with the healthy in company.

    Five beside one that hangs, one that throttles and one that floods; then five with a thousand requests a second
    on one partition, beside a dead one.
    """
    everyone = clients(8)
    healthy, (hanging, throttled, flooding) = everyone[:HEALTHY], everyone[HEALTHY:]
    company = [(hanging, 10.0), (throttled, 10.0), (flooding, 1000.0)]
    faults = {hanging: HANG, throttled: THROTTLED}
    eight = _compare(
        Comparison("five beside one that hangs, one that throttles, one that floods"),
        _Cast([(each, 10.0) for each in healthy], company, faults),
        Plan(4, everyone, 2, latency="50ms", jitter="20ms", tail="0:0s"),
        _Course(_folder(folder, "eight"), rounds, seconds, console),
    )
    one = _compare(
        Comparison("1,000 requests/s on one partition, beside a dead one"),
        _Cast([(each, 200.0) for each in healthy], [(hanging, 100.0)], {hanging: HANG}),
        Plan(1, everyone, 1, latency="50ms", jitter="20ms", tail="0:0s"),
        _Course(_folder(folder, "one"), rounds, seconds, console),
    )
    return [eight, one]


@dataclass(frozen=True, slots=True)
class _Cast:
    healthy: Sequence[tuple[Client, float]]
    """With requests a second."""
    company: Sequence[tuple[Client, float]]
    faults: dict[Client, dict[str, object]]


@dataclass(frozen=True, slots=True)
class _Course:
    folder: Path
    rounds: int
    seconds: float
    """Of each turn."""
    console: Console


def _compare(comparison: Comparison, cast: _Cast, plan: Plan, course: "_Course") -> Comparison:
    for turn in range(1, course.rounds + 1):
        for company, found in ((False, comparison.alone), (True, comparison.company)):
            name = f"{'company' if company else 'alone'}-{turn}"
            with prepared(plan, _folder(course.folder, name)) as stage:
                for client, fault in cast.faults.items():
                    stage.mirakl.script(fault, client)
                found.append(_watch(stage, cast, course.seconds, company=company))
            course.console.print(f"{comparison.scenario}, {name}: {found[-1]}")
    return comparison


def _watch(stage: Stage, cast: _Cast, seconds: float, *, company: bool) -> Seen:
    partitions = range(stage.plan.partitions)
    streams = [Stream(client, rate, partitions, timed=True) for client, rate in cast.healthy]
    streams += [Stream(client, rate, partitions) for client, rate in (cast.company if company else ())]
    with under_load(stage, Requests(stage.api_key, 1, mix=False), streams) as scene:
        time.sleep(SETTLE_SECONDS)
        scene.outcomes.arrived_at = {}
        begin = time.monotonic()
        time.sleep(seconds)
        end = time.monotonic()
        sent = {place: at for place, at in scene.load.sent_at.copy().items() if begin <= at < end}
        wait = time.monotonic() + seconds
        while sent.keys() - scene.outcomes.arrived_at.keys() and time.monotonic() < wait:
            time.sleep(0.1)
        arrived = dict(scene.outcomes.arrived_at)
    healthy = {place for place in arrived if place in scene.load.sent_at}
    in_time = sum(begin <= arrived[place] < end for place in healthy)
    delays = sorted(arrived.get(place, float("inf")) - at for place, at in sent.items())
    return Seen(in_time / (end - begin), median(delays), delays[int(len(delays) * 0.99)])


def slow_backlog(folder: Path, console: Console) -> Counter[str]:
    """Let a client work off what takes it several deadlines, though it is healthy; the answers by code."""
    client = clients(1)
    plan = Plan(
        2,
        client,
        1,
        latency="200ms",
        jitter="50ms",
        tail="0:0s",
        settings={"RESYNC_REQUEST_DEADLINE": str(BACKLOG_DEADLINE_SECONDS)},
        products_per_call=10,
        concurrent_calls=1,
    )
    with prepared(plan, _folder(folder, "backlog")) as stage:
        requests = Requests(stage.api_key, 1, mix=False)
        began = time.monotonic()
        with under_load(stage, requests, [Stream(client[0], BACKLOG_REQUESTS, range(2))], settle=False) as scene:
            while scene.load.acknowledged < BACKLOG_REQUESTS:
                time.sleep(0.01)
            drained = scene.drain(600)
        decoder = ResultDecoder(registry=False)
        codes: Counter[str] = Counter()
        for record in scan_topic(stage.broker.bootstrap, stage.topics.results):
            result = decoder.decode(record.value)
            assert isinstance(result, dict)
            codes[result["error"]["code"] if result["error"] else "SYNCHRONIZED"] += 1
        if not drained:
            codes["no answer"] = scene.load.acknowledged - scene.outcomes.answered
    console.print(
        f"a slow but healthy client: {codes.total()} requests in {time.monotonic() - began:.0f} s "
        f"with a deadline of {BACKLOG_DEADLINE_SECONDS} s: {dict(codes)}"
    )
    return codes


def table(comparisons: Sequence[Comparison]) -> Table:
    """For people."""
    shown = Table("the healthy", title="Medians of the rounds: alone → in company")
    for column in ("requests/s", "p50 ms", "p99 ms", "p99 change", "held"):
        shown.add_column(column, justify="right")
    for each in comparisons:
        pairs = [
            f"{median(getattr(seen, name) for seen in each.alone) * unit:.0f} → "
            f"{median(getattr(seen, name) for seen in each.company) * unit:.0f}"
            for name, unit in (("per_second", 1), ("p50", 1000), ("p99", 1000))
        ]
        shown.add_row(each.scenario, *pairs, f"{each.p99_change:+.0%}", "yes" if each.held else "NO")
    return shown


def _change(before: Sequence[float], after: Sequence[float]) -> float:
    return median(after) / median(before) - 1


def _folder(folder: Path, name: str) -> Path:
    own = folder / name
    own.mkdir()
    return own
