"""Numbers that both long-running programs share, each with its unit and its reason."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class ProcessPolicy:
    """Times in seconds and sizes of watchdog, health server and log."""

    look_seconds: float = 1.0
    """Between two looks of the watchdog at the heartbeats."""
    report_seconds: float = 5.0
    """For the report of a stuck process; after it, the process leaves without one."""
    request_seconds: float = 10.0
    """One connection to the health server, from accept to close."""
    connections: int = 32
    """To the health server at a time; probes and scrapers need two or three."""
    poll_seconds: float = 0.1
    """Period at which the health server looks for a stop and for overdue connections."""
    check_seconds: float = 3.0
    """For ``/livez`` as a container's own health check asks for it."""
    close_seconds: float = 2.0
    """For the last lines of the log at the end of the process: nobody may read them."""
    repeat_seconds: float = 30.0
    """In which a repeated warning or error is written once."""
    repeats_known: int = 1_000
    """Warnings and errors whose repetitions are recognized; beyond, the oldest are forgotten."""
    pending_bytes: int = 16 * 1024 * 1024
    """Of lines that wait to be written: some 40,000 request lines, one second at full speed: enough for a reader that
    pauses."""


PROCESS: Final = ProcessPolicy()
