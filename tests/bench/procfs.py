"""CPU and memory of processes, from Linux's ``/proc``."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_LISTENING = "0A"


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads, also those that ended; a hundredth of a second exact."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND


def machine_busy_seconds() -> float:
    """Time that the machine's processors were not idle, of all together."""
    user, nice, system, _idle, _wait, irq, soft_irq, steal = map(int, _first_line("/proc/stat").split()[1:9])
    return (user + nice + system + irq + soft_irq + steal) / _TICKS_PER_SECOND


def peak_megabytes(pid: int) -> float:
    """The most resident memory that it ever had (VmHWM); 0 for a process that is ending."""
    status = Path(f"/proc/{pid}/status").read_text()
    return sum(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


def children(pid: int) -> list[int]:
    """Processes that its main thread started and that have not ended."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class ProcessGroup:
    """CPU and memory of processes and their children, those that have ended since the last look included."""

    def __init__(self, *pids: int, with_children: bool = True) -> None:
        self._pids = list(pids)
        self._with_children = with_children
        self._cpu: dict[int, float] = {}
        self._peak: dict[int, float] = {}

    def add(self, pid: int) -> None:
        """Count another process, and its children, from now on."""
        self._pids.append(pid)

    def cpu_seconds(self) -> float:
        """Look at all processes; the CPU time of all that were ever seen."""
        for pid in self._alive():
            try:
                self._cpu[pid] = cpu_seconds(pid)
                self._peak[pid] = max(peak_megabytes(pid), self._peak.get(pid, 0.0))
            except OSError:  # it has ended since
                continue
        return sum(self._cpu.values())

    def kill(self) -> None:
        """Kill all of them at once: a parent's end alone would let its children end in order."""
        for pid in list(self._alive()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    @property
    def peaks(self) -> tuple[float, ...]:
        """The most megabytes that each process had, as of the last look; in the order of their starts."""
        return tuple(self._peak.values())

    def _alive(self) -> Iterator[int]:
        for pid in self._pids:
            yield pid
            with contextlib.suppress(OSError):  # it has ended
                yield from children(pid) if self._with_children else ()


def broker_pid(bootstrap: str) -> int | None:
    """The process of a broker on this machine; ``None`` where it is elsewhere, or behind Docker's proxy."""
    host, _, port = bootstrap.split(",", maxsplit=1)[0].rpartition(":")
    if host not in ("127.0.0.1", "localhost"):
        return None
    sockets = _listening_sockets(int(port))
    for process in Path("/proc").glob("[0-9]*"):
        if _comm(process) == "java" and sockets & _sockets(process):
            return int(process.name)
    return None


def _listening_sockets(port: int) -> set[str]:
    rows = [line.split() for table in ("tcp", "tcp6") for line in _lines(Path("/proc/net") / table)[1:]]
    return {f"socket:[{row[9]}]" for row in rows if row[3] == _LISTENING and int(row[1].rpartition(":")[2], 16) == port}


def _sockets(process: Path) -> set[str]:
    try:
        return {str(each.readlink()) for each in (process / "fd").iterdir()}
    except OSError:  # it has ended, or is somebody else's
        return set()


def _comm(process: Path) -> str:
    try:
        return (process / "comm").read_text().strip()
    except OSError:
        return ""


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def _first_line(path: str) -> str:
    with Path(path).open() as file:
        return file.readline()
