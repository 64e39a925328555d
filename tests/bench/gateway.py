"""``python -m tests.bench --gateway``: speed and size of the gateway, beside a bare handler on the same server.

Requests per second on one core follow from the CPU time that a request takes in the server's process: on two
processors that broker, service, simulated Mirakl and callers share, a wall clock would measure those.
"""

import asyncio
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Final

from confluent_kafka import Producer
from rich.console import Console
from rich.table import Table

from producer_tools.publisher import ResyncPublisher, new_request
from producer_tools.subscriber import ResyncResults
from schemas.settings import load
from tests.bench.http_caller import Called, Caller, call_bytes, call_for, call_in_company
from tests.bench.procfs import cpu_seconds, peak_megabytes
from tests.bench.stage import Limits, Mirakl, Stage, prepared
from tests.bench.workload import Workload
from tests.support.parts import answers, free_port
from tests.support.process import ChildProcess
from tests.support.service import Service, environment
from tests.support.topics import Topics

LOAD_SECONDS: Final = 6.0
CALLERS: Final = 128
"""Connections at a time: enough that requests travel to Mirakl together, as they would."""
LATENCY_CALLS: Final = 200
WAITING: Final = 1_000
WAITING_PER_SECOND: Final = 250
"""Calls that begin to wait: all of them do long before the first ends."""
WAIT_SECONDS: Final = 10
PASSING_PER_SECOND: Final = 20_000
PASSING_SECONDS: Final = 8.0
PASSING_BATCH: Final = 0.05
"""Seconds of results that are written at a time."""

Row = tuple[str, str]


def measure(console: Console) -> None:
    """Measure and print."""
    workload = Workload(1, 1, keyed=True)
    with prepared(workload, 4, Limits(1_000, 8), {"RESYNC_LOG__REQUESTS": "failed"}) as stage:
        rows: list[Row] = []
        call = call_bytes(stage.issue_key(), workload.specification_id(0))
        with stage.topics(preloaded=False) as topics, stage.mirakl(Mirakl("0ms")):
            settings = {**stage.settings, **topics.environment}
            with Service(settings, stage.folder, "service"), _gateway(settings, stage.folder) as (gateway, port, ready):
                rows.append(("start to ready", f"{ready:.2f} s"))
                rows += _latency(stage, topics, port, call)
                rows += _load(gateway, port, stage.folder, call)
            with _gateway(settings, stage.folder) as (gateway, port, _):
                rows += _waiting(gateway, port, stage.issue_key(), workload.specification_id(0))
                rows += _passing(stage, topics, gateway, port, stage.issue_key(), workload.specification_id(0))
        _show(console, rows)


@contextmanager
def _gateway(settings: dict[str, str], folder: Path) -> Iterator[tuple[Service, int, float]]:
    port = free_port()
    own = {**settings, "RESYNC_GATEWAY__PORT": str(port), "RESYNC_GATEWAY__CALLS": "2000"}
    own |= {"RESYNC_GATEWAY__CALLS_PER_KEY": "2000"}
    gateway = Service(own, folder, f"gateway-{port}", program=("producer_tools", "gateway"))
    began = time.monotonic()
    gateway.start()
    try:
        gateway.wait_ready()
        yield gateway, port, time.monotonic() - began
    finally:
        gateway.kill()


def _latency(stage: Stage, topics: Topics, port: int, call: bytes) -> list[Row]:
    """Idle, one at a time: over HTTP and over the plain pipeline in turn, so that both meet the same machine."""
    settings = load(
        {name: value for name, value in {**stage.settings, **topics.environment}.items() if "__" in name},
        uses=("kafka", "topics"),
    )
    publisher = ResyncPublisher(settings, api_key=stage.issue_key())
    over_http, plain = [], []

    async def one(caller: Caller) -> float:
        return (await caller.call(call)).seconds

    with publisher, ResyncResults(settings, start="end", follow=True) as results, asyncio.Runner() as runner:
        caller = runner.run(Caller.connect(port))
        for number in range(LATENCY_CALLS + 10):
            took = runner.run(one(caller))
            asked = _ask_plainly(publisher, results, stage.workload.specification_id(0))
            if number >= 10:  # the first ones warm up
                over_http.append(took)
                plain.append(asked)
        caller.close()
    http, kafka = _spread(over_http), _spread(plain)
    return [
        ("latency over HTTP, idle", f"p50 {http[0]:.1f} ms, p99 {http[1]:.1f} ms"),
        ("latency of the plain pipeline", f"p50 {kafka[0]:.1f} ms, p99 {kafka[1]:.1f} ms"),
        ("added by HTTP (at most 20 and 60 ms)", f"p50 {http[0] - kafka[0]:.1f} ms, p99 {http[1] - kafka[1]:.1f} ms"),
    ]


def _ask_plainly(publisher: ResyncPublisher, results: ResyncResults, specification_id: str) -> float:
    request = new_request([("MKL-1", "SKU-1")], requested_by="bench", client_specification_id=specification_id)
    began = time.monotonic()
    publisher.submit(request)
    while True:
        result = results.read(1.0)
        if result is not None and result.value.request_id == request.request_id:
            return time.monotonic() - began


def _load(gateway: Service, port: int, folder: Path, call: bytes) -> list[Row]:
    bare_port = free_port()
    bare = ChildProcess(
        [sys.executable, "-m", "tests.bench.bare_http", str(bare_port)],
        log=folder / "bare.log",
        environment=environment({}),
    )
    bare.start()
    try:
        bare.wait_ready(lambda: answers(bare_port), timeout=30)
        bare_us, bare_rate = _cpu_of_a_request(bare.pid, bare_port, call)
    finally:
        bare.end()
    own_us, own_rate = _cpu_of_a_request(gateway.pid, port, call)
    return [
        ("bare handler, CPU of a request", f"{bare_us:.0f} µs: {1e6 / bare_us:,.0f} requests/s on one core"),
        ("gateway, CPU of a request", f"{own_us:.0f} µs: {1e6 / own_us:,.0f} requests/s on one core"),
        ("ratio", f"{bare_us / own_us:.2f}"),
        ("requests/s here, all parts sharing two processors", f"bare {bare_rate:,.0f}, gateway {own_rate:,.0f}"),
    ]


def _cpu_of_a_request(pid: int, port: int, call: bytes) -> tuple[float, float]:
    """Microseconds, and requests a second by the wall clock."""
    asyncio.run(call_for(port, call, CALLERS, 1.0))
    before, began = cpu_seconds(pid), time.monotonic()
    called = asyncio.run(call_for(port, call, CALLERS, LOAD_SECONDS))
    _all_have(called, 200)
    return (cpu_seconds(pid) - before) / len(called) * 1e6, len(called) / (time.monotonic() - began)


def _waiting(gateway: Service, port: int, api_key: str, specification_id: str) -> list[Row]:
    """All wait for a service that is not there, until their time is over."""
    call = call_bytes(api_key, specification_id, f"Prefer: wait={WAIT_SECONDS}")
    before = _resident_megabytes(gateway.pid)
    called = asyncio.run(call_in_company(port, call, WAITING, WAITING_PER_SECOND))
    _all_have(called, 504)
    late = sorted(each.seconds - WAIT_SECONDS for each in called)
    return [
        (f"{WAITING:,} waiting calls, memory", f"{before:.0f} MB before, {_resident_megabytes(gateway.pid):.0f} after"),
        ("  late by (at most 100 ms)", f"p50 {late[len(late) // 2] * 1e3:.0f} ms, most {late[-1] * 1e3:.0f} ms"),
    ]


def _passing(
    stage: Stage, topics: Topics, gateway: Service, port: int, api_key: str, specification_id: str
) -> list[Row]:
    """Results of others, while one call waits."""
    producer = Producer({"bootstrap.servers": stage.bootstrap, "linger.ms": 20, "log_level": 0})
    call = call_bytes(api_key, specification_id, f"Prefer: wait={int(PASSING_SECONDS) + 2}")

    def pass_by() -> tuple[int, float]:
        value, began, written = b"x" * 300, time.monotonic(), 0
        cpu = cpu_seconds(gateway.pid)
        while (passed := time.monotonic() - began) < PASSING_SECONDS:
            while written < passed * PASSING_PER_SECOND:
                producer.produce(topics.results, value, str(uuid.uuid4()))
                written += 1
            producer.poll(0)
            time.sleep(PASSING_BATCH)
        share = (cpu_seconds(gateway.pid) - cpu) / (time.monotonic() - began)
        producer.flush()
        return written, share

    async def both() -> tuple[Called, tuple[int, float]]:
        caller = await Caller.connect(port)
        waiting = asyncio.create_task(caller.call(call))
        passed = await asyncio.to_thread(pass_by)
        return await waiting, passed

    _, (written, share) = asyncio.run(both())
    return [
        (f"{written / PASSING_SECONDS:,.0f} results/s of others passing by", f"{share:.1%} of a core"),
        ("peak memory (at most 120 MB)", f"{peak_megabytes(gateway.pid):.0f} MB"),
    ]


def _all_have(called: Sequence[Called], status: int) -> None:
    others = {each.status for each in called} - {status}
    if others or not called:
        raise RuntimeError(f"calls were answered {sorted(others)} instead of {status}")


def _spread(seconds: Sequence[float]) -> tuple[float, float]:
    """Milliseconds: median and 99th percentile."""
    return median(seconds) * 1e3, quantiles(seconds, n=100)[98] * 1e3


def _resident_megabytes(pid: int) -> float:
    [line] = [each for each in Path(f"/proc/{pid}/status").read_text().splitlines() if each.startswith("VmRSS:")]
    return int(line.split()[1]) / 1024


def _show(console: Console, rows: Sequence[Row]) -> None:
    table = Table("", "measured", title="The gateway")
    for row in rows:
        table.add_row(*row)
    console.print(table)
    console.print(
        "The service answers on the same machine, with a simulated Mirakl that takes no time. CPU: user and system "
        "time of the server's process. Latency: from the first byte of the call to the head of its response; the plain "
        "pipeline from sending the record to reading its result, in turn with HTTP."
    )
