"""Results a second over the time of a run, so that a pause is seen."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import mean

from tests.bench.watch import Results, Sample

EVERY_SECONDS = 0.25
BARS = "▁▂▃▄▅▆▇█"
"""From more than nothing up to the most; nothing is a blank."""


@dataclass(frozen=True, slots=True)
class Pace:
    """What happened from the first result on."""

    per_second: tuple[int, ...]
    """Results a second, for each quarter of a second."""
    longest_pause: float
    """The most seconds without any result."""
    silences: tuple[float, ...]
    """For each client specification that counts: the most seconds without a result until its last one."""

    @property
    def longest_silence(self) -> float:
        """Of any client specification, in seconds."""
        return max(self.silences)


def pace(results: Results, samples: Sequence[Sample]) -> Pace:
    """Look at the samples from the one with the first result to the one with the last that counts."""
    visible = [results.visible(sample) for sample in samples]
    times = [sample.at - samples[0].at for sample in samples]
    steps = max(1, round(times[-1] / EVERY_SECONDS))
    marks = [_at(number * EVERY_SECONDS, times, visible) for number in range(steps + 1)]
    per_second = tuple(round((after - before) / EVERY_SECONDS) for before, after in pairwise(marks))
    return Pace(per_second, _longest_pause(times, visible), results.silences(samples))


def coarser(per_second: Sequence[int], times: int) -> list[int]:
    """Means of so many figures each."""
    return [round(mean(per_second[begin : begin + times])) for begin in range(0, len(per_second), times)]


def sparkline(per_second: Sequence[int], most: int) -> str:
    """Draw one character for each figure; ``most`` is as high as a character can be."""
    top = len(BARS) - 1
    return "".join(BARS[min(top, each * len(BARS) // (most + 1))] if each > 0 else " " for each in per_second)


def _at(time: float, times: Sequence[float], visible: Sequence[int]) -> float:
    """Interpolate between two samples."""
    after = next((index for index, each in enumerate(times) if each >= time), None)
    if after is None:
        return visible[-1]
    if after == 0:
        return visible[0]
    before = after - 1
    share = (time - times[before]) / (times[after] - times[before])
    return visible[before] + share * (visible[after] - visible[before])


def _longest_pause(times: Sequence[float], visible: Sequence[int]) -> float:
    grown = [time for time, (before, after) in zip(times[1:], pairwise(visible), strict=True) if after > before]
    return max((later - earlier for earlier, later in pairwise([times[0], *grown])), default=0.0)
