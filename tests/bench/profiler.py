"""Where the service spends its time, by py-spy where that is installed (``pip install py-spy``)."""

import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

RATE = 250
"""Samples a second."""
END_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Profiler:
    """Keeps the stacks of one run in ``file``, in the collapsed form that flame graph tools read."""

    program: str
    file: Path

    @contextmanager
    def attached(self, pid: int) -> Iterator[None]:
        """Sample whichever thread of a process holds the interpreter, without stopping it."""
        arguments = [self.program, "record", "--pid", str(pid), "--rate", str(RATE), "--format", "raw"]
        arguments += ["--gil", "--nonblocking", "--threads", "--nolineno", "--output", str(self.file)]
        process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=END_SECONDS)

    def busiest(self, most: int) -> Sequence[tuple[str, float, float]]:
        """Of the latest run: function, share of the samples in it alone, share with all that it called."""
        own, whole, samples = Counter[str](), Counter[str](), 0
        for line in self.file.read_text().splitlines():
            stack, _, count = line.rpartition(" ")
            frames = stack.split(";")
            samples += int(count)
            own[frames[-1]] += int(count)
            for frame in set(frames):
                whole[frame] += int(count)
        return [(frame, own[frame] / samples, whole[frame] / samples) for frame, _ in own.most_common(most)]


def find_profiler(file: Path) -> Profiler | None:
    """A profiler that writes to ``file``; ``None`` where py-spy is not installed."""
    program = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")
    return None if program is None else Profiler(program, file)
