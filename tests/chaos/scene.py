"""A stage under load, with somebody who watches what comes of it."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tests.chaos.load import Load, Stream
from tests.chaos.outcomes import Outcomes, Probe
from tests.chaos.stage import Stage
from tests.chaos.workload import Requests

WARM_UP_SECONDS = 60.0
RECOVERY_SECONDS = 90.0
"""Without an outcome on every partition for so long, nothing will come any more."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Load and outcomes of one stage."""

    stage: Stage
    load: Load
    outcomes: Outcomes

    def probe(self, since: float) -> Probe:
        """Watch for the first outcomes of requests that are written from now on; seconds count from ``since``."""
        return self.outcomes.probe(self.load.ends, since)

    def settle(self, timeout: float = RECOVERY_SECONDS) -> float:
        """Wait until each partition has an outcome of a request that is written from now on; the seconds it took."""
        probe = self.probe(time.monotonic())
        self.wait(probe, timeout)
        if probe.last is None:
            raise TimeoutError(f"no outcome on partitions {probe.waiting} for {timeout:g} s: see {self.stage.folder}")
        return probe.last

    def wait(self, probe: Probe, timeout: float = RECOVERY_SECONDS) -> None:
        """Wait for all that the probe waits for, no longer than ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while probe.waiting and time.monotonic() < deadline:
            self.check()
            time.sleep(0.01)

    def check(self) -> None:
        """Raise what has ended the watching."""
        if self.outcomes.problem is not None:
            raise self.outcomes.problem

    def drain(self, timeout: float) -> bool:
        """Send no more; whether every request had an outcome within ``timeout`` seconds."""
        self.load.stop()
        deadline = time.monotonic() + timeout
        while self.outcomes.answered < self.load.acknowledged and time.monotonic() < deadline:
            self.check()
            time.sleep(0.05)
        return self.outcomes.answered >= self.load.acknowledged


@contextmanager
def under_load(stage: Stage, requests: Requests, streams: Sequence[Stream], *, settle: bool = True) -> Iterator[Scene]:
    """Begin the load; to ``settle``, wait until all partitions have outcomes."""
    with (
        Outcomes(stage.broker.bootstrap, stage.topics) as outcomes,
        Load(stage.broker.bootstrap, stage.topics.requests, requests, streams) as load,
    ):
        scene = Scene(stage, load, outcomes)
        used = {partition for stream in streams for partition in stream.partitions}
        deadline = time.monotonic() + WARM_UP_SECONDS
        while used - load.ends.keys():
            if time.monotonic() > deadline:
                raise TimeoutError("the broker acknowledged no request on some partition")
            time.sleep(0.05)
        if settle:
            scene.settle(WARM_UP_SECONDS)
        yield scene
