"""One run: start a program on a preloaded log, watch it to the end, hold its results against what was asked.

The clock runs **from the sample that first shows a result to a ``read_committed`` reader to the one that shows
95 % or 100 % of them**; the results of that first sample do not count. So it tells the pace at which results become
readable; start and joining the group stand apart.

CPU a request: user and system time of a process over that span, by the results that appeared in it. A service has
read ahead when its first result appears, so the same is also given for its whole life, less an empty start.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from tests.bench.pace import Pace, pace
from tests.bench.peers import Peer, peers
from tests.bench.procfs import ProcessGroup, broker_pid
from tests.bench.profiler import Profiler
from tests.bench.programs import Program, Replicas, bare_loops
from tests.bench.stage import Mirakl, RunningMirakl, Stage
from tests.bench.watch import EVERY_SECONDS, Results, Sample, Watch, WrongResultsError
from tests.bench.workload import WITH_KEY, Form
from tests.support.records import scan_topic
from tests.support.service import Service
from tests.support.topics import Topics

LONGEST_SECONDS = 240.0
QUIET_SECONDS = 3.0
"""Nothing new for so long, and all may be there: worth reading the topic. Longer than the slowest call."""
READ_SECONDS = 120.0
SETTLED_SECONDS = 1.5
"""After being ready, for a start on an empty log to be over."""
OUTPUT_SHOWN = 3_000
"""Characters of what a program said last."""
MICROSECONDS = 1e6
PROGRAM, BROKER, MIRAKL, HARNESS = "program", "broker", "simulated Mirakl", "harness"
COLLECTOR = "collector of spans"
NO_SETTINGS: Mapping[str, str] = {}
OTHERS, IDLE = "others", "nobody"


@dataclass(frozen=True, slots=True)
class Run:
    """What one run showed."""

    results: int
    """Those that count."""
    ready_seconds: float | None
    """From the start of the process to its first 200 on ``/readyz``."""
    first_seconds: float
    """From the start of the process to the first result."""
    seconds_95: float
    seconds_100: float
    per_second_95: float | None
    per_second_100: float | None
    """``None``: all were there at the first look."""
    pace: Pace
    moments: Mapping[str, float]
    """When a second replica joined and left, in seconds after the first result."""
    cpu_us: Mapping[str, float | None]
    """Microseconds of each program that takes part, per result of the span."""
    cpu_us_whole: float
    """Microseconds of the program, per result, over its whole life less an empty start."""
    cores_share: Mapping[str, float]
    """Of the time of all processors over the span: what each program took, others took, and nobody took."""
    process_megabytes: Sequence[float]
    """Peak memory of each process of the program: of several, the first one starts and watches the others."""
    requests_per_call: float | None
    """``None``: nobody was called."""
    repeated: int
    """Results beyond the first of a request."""
    given_up: int
    """Requests of a dead client specification that were answered meanwhile."""
    spans: int | None = None
    """Spans that a collector had got by the end; ``None``: there was none."""

    @property
    def others_share(self) -> float | None:
        """Of all processors: what processes took that do not take part. ``None``: not known."""
        return self.cores_share[OTHERS] if BROKER in self.cores_share else None


@dataclass(frozen=True, slots=True)
class _Target:
    """A program that is about to run, and what belongs to it."""

    program: Program
    topics: Topics
    others: Mapping[str, int] = field(default_factory=dict)
    """Processes that take part, by name."""
    dead: frozenset[int] = frozenset()
    at_least_once: bool = False


@dataclass(frozen=True, slots=True)
class _Observed:
    program: Program
    started_at: float
    ready_at: float | None
    samples: Sequence[Sample]
    results: Results


class Runner:
    """Runs programs on one stage; ``processes``: of each replica, and bare loops or peers at once."""

    def __init__(self, stage: Stage, profiler: Profiler | None = None, processes: int = 1) -> None:
        self._stage = stage
        self._profiler = profiler
        self._processes = processes
        broker = broker_pid(stage.bootstrap)
        self._always = {HARNESS: os.getpid(), **({} if broker is None else {BROKER: broker})}

    def bare(self, *, headers: bool) -> Run:
        """The bare loop."""
        stage = self._stage
        with stage.topics() as topics:
            loops = bare_loops(stage.bootstrap, stage.folder, topics, self._processes, headers=headers)
            return self._summary(self._observe(_Target(loops, topics)), 0.0)

    def peer(self, peer: Peer, behaviour: Mirakl) -> Run:
        """A peer with a simulated Mirakl."""
        with self._stage.topics() as topics, self._stage.mirakl(behaviour) as mirakl:
            program = peers(peer, self._stage, topics, self._processes)
            others = {MIRAKL: mirakl.pid}
            observed = self._observe(_Target(program, topics, others, behaviour.dead, peer.at_least_once))
            return self._summary(observed, 0.0, mirakl)

    def service(
        self,
        behaviour: Mirakl,
        empty_start_cpu: float,
        *,
        form: Form = WITH_KEY,
        rebalance: bool = False,
        exporting: bool = False,
    ) -> Run:
        """The service with a simulated Mirakl; ``empty_start_cpu`` as :meth:`empty_start` gives it.

        ``exporting``: its spans, to a collector that keeps them.
        """
        with ExitStack() as stack:
            topics = stack.enter_context(self._stage.topics(form=form))
            mirakl = stack.enter_context(self._stage.mirakl(behaviour))
            collector = stack.enter_context(self._stage.collector()) if exporting else None
            settings = {} if collector is None else collector.settings
            others = {MIRAKL: mirakl.pid, **({} if collector is None else {COLLECTOR: collector.pid})}
            service = Replicas(lambda name: self._service(topics, name, settings), topics.group, rebalance=rebalance)
            observed = self._observe(_Target(service, topics, others, behaviour.dead))
            if letters := list(scan_topic(self._stage.bootstrap, topics.dead_letters)):
                raise WrongResultsError(f"{len(letters)} dead letters, the first: {letters[0].headers}")
            spans = None if collector is None else collector.spans()
            return replace(self._summary(observed, empty_start_cpu, mirakl), spans=spans)

    def empty_start(self) -> float:
        """CPU seconds of a service that starts and finds nothing to do."""
        with self._stage.topics(preloaded=False) as topics, self._service(topics, topics.group) as service:
            time.sleep(SETTLED_SECONDS)
            return ProcessGroup(service.pid).cpu_seconds()

    def _service(self, topics: Topics, name: str, settings: Mapping[str, str] = NO_SETTINGS) -> Service:
        own = {"RESYNC_PROCESSES": str(self._processes), **settings}
        return Service({**self._stage.settings, **topics.environment, **own}, self._stage.folder, name)

    # -- observing -------------------------------------------------------------------------------------

    def _observe(self, target: _Target) -> _Observed:
        watch = Watch(self._stage.bootstrap, target.topics.results, self._stage.partitions)
        started_at = time.monotonic()
        target.program.start()
        try:
            with ExitStack() as stack:
                ready_at, samples, results = self._follow(target, watch, stack)
            return _Observed(target.program, started_at, ready_at, samples, results)
        finally:
            target.program.kill()

    def _follow(
        self, target: _Target, watch: Watch, stack: ExitStack
    ) -> tuple[float | None, Sequence[Sample], Results]:
        """Look until every request that counts has its result, and nothing more comes."""
        expected = Results([], self._stage.workload, target.dead).expected
        stillness = _Stillness(expected)
        samples: list[Sample] = []
        ready_at: float | None = None
        first_at: float | None = None
        for sample in self._looks(target, watch):
            samples.append(sample)
            if ready_at is None and target.program.is_ready():
                ready_at = time.monotonic()
                if self._profiler:
                    stack.enter_context(self._profiler.attached(target.program.pid))
            if first_at is None and any(sample.ends):
                first_at = sample.at
            if first_at is not None and sum(sample.ends) < expected:
                target.program.go_on(sample.at - first_at)
            if stillness.lasts(sample):
                results = self._read(target)
                if results.complete and watch.sample({}).ends == sample.ends:
                    results.check(at_least_once=target.at_least_once)
                    return ready_at, samples, results
        raise WrongResultsError(f"the program has not finished in time:\n{target.program.output()[-OUTPUT_SHOWN:]}")

    def _looks(self, target: _Target, watch: Watch) -> Iterator[Sample]:
        """Samples at their pace, while there is time. Raises :class:`WrongResultsError` where the program ends."""
        pids = {**target.others, **self._always}
        others = {name: ProcessGroup(pid, with_children=False) for name, pid in pids.items()}
        programs = {PROGRAM: target.program.processes, **others}
        deadline = time.monotonic() + LONGEST_SECONDS
        while time.monotonic() < deadline:
            if not target.program.running:
                raise WrongResultsError(f"the program has ended:\n{target.program.output()[-OUTPUT_SHOWN:]}")
            sample = watch.sample(programs)
            yield sample
            time.sleep(max(0.0, sample.at + EVERY_SECONDS - time.monotonic()))

    def _read(self, target: _Target) -> Results:
        records = scan_topic(self._stage.bootstrap, target.topics.results, timeout=READ_SECONDS)
        return Results(records, self._stage.workload, target.dead)

    # -- summing up ------------------------------------------------------------------------------------

    def _summary(self, observed: _Observed, empty_start_cpu: float, mirakl: RunningMirakl | None = None) -> Run:
        results, samples = observed.results, observed.samples
        first, most, end = (results.reached(samples, share) for share in (0.0, 0.95, 1.0))
        head_start = results.visible(first)
        counted = results.visible(end) - head_start
        spent = {name: end.cpu[name] - first.cpu[name] for name in end.cpu}
        seconds = end.at - first.at
        span = samples[samples.index(first) : samples.index(end) + 1]
        return Run(
            results=results.expected,
            ready_seconds=observed.ready_at and observed.ready_at - observed.started_at,
            first_seconds=first.at - observed.started_at,
            seconds_95=most.at - first.at,
            seconds_100=seconds,
            per_second_95=_rate(results.visible(most) - head_start, most.at - first.at),
            per_second_100=_rate(counted, seconds),
            pace=pace(results, span),
            moments=observed.program.moments,
            cpu_us={name: _rate(MICROSECONDS * cpu, counted) for name, cpu in spent.items()},
            cpu_us_whole=MICROSECONDS * (end.cpu[PROGRAM] - empty_start_cpu) / results.expected,
            cores_share=_shares(spent, seconds, end.busy - first.busy),
            process_megabytes=observed.program.processes.peaks,
            requests_per_call=None if mirakl is None else results.expected / mirakl.calls(),
            repeated=results.repeated,
            given_up=results.given_up,
        )


def _shares(spent: Mapping[str, float], seconds: float, busy: float) -> dict[str, float]:
    """Shares of all processors' time; empty where the span was too short to be timed."""
    whole = seconds * (os.cpu_count() or 1)
    if whole <= 0:
        return {}
    shares = {name: cpu / whole for name, cpu in spent.items()}
    return {**shares, OTHERS: max(0.0, busy / whole - sum(shares.values())), IDLE: max(0.0, 1 - busy / whole)}


def _rate(amount: float, per: float) -> float | None:
    """``None`` where the span was too short to be timed."""
    return amount / per if per > 0 else None


class _Stillness:
    """Tells when the topic has as many records as it must, and has not grown for a while."""

    def __init__(self, expected: int) -> None:
        self._expected = expected
        self._quiet = QUIET_SECONDS
        self._seen = 0
        self._since = float("inf")

    def lasts(self, sample: Sample) -> bool:
        """Having said so once, it takes twice as long to say so again: reading the topic disturbs the run."""
        if sum(sample.ends) != self._seen:
            self._seen, self._since = sum(sample.ends), sample.at
        if self._seen < self._expected or sample.at - self._since < self._quiet:
            return False
        self._since = sample.at
        self._quiet *= 2
        return True
