"""CPU and memory of processes, from Linux's ``/proc``."""

import os
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
    """The most resident memory that it ever had (VmHWM)."""
    status = Path(f"/proc/{pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


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
