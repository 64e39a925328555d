# ruff: noqa: PLC0415 - imports that take time stand where they are needed, after what answers at once
"""``run``: the service itself, as one process or several."""

import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import click

from schemas.console.program import examples
from schemas.process.signals import StopSignals

if TYPE_CHECKING:
    from consumer.domain.share import Share
    from consumer.engine.status import EngineStatus
    from schemas.settings import Settings


class _Count(click.ParamType[int | str]):
    """A number of processes, or ``auto``."""

    name = "N|auto"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> int | str:  # noqa: ANN401 - click's
        return "auto" if value == "auto" else click.IntRange(1, 256).convert(value, parameter, context)


@click.command(
    epilog=examples(
        "RESYNC_KAFKA__BOOTSTRAP_SERVERS=kafka:9092 RESYNC_ENCRYPTION_KEYS_FILE=encryption.key \\",
        "  mirakl-resync-consumer run",
    )
)
@click.option(
    "--processes",
    type=_Count(),
    metavar="N|auto",
    help="Number of processes; `auto`: one per core.  [default: RESYNC_PROCESSES, which is 1]",
)
@click.option("--share", type=(int, int), hidden=True, help="Number of this process, and of how many.")
@click.option("--parent", type=int, hidden=True, help="Descriptor of a socket to the parent.")
def run(processes: int | Literal["auto"] | None, share: tuple[int, int] | None, parent: int | None) -> NoReturn:
    """Answer requests until told to stop.

    SIGTERM or SIGINT stops it once its work in flight has finished; a second one ends it at once, which is safe.
    It creates and migrates nothing: `doctor` says what is missing.

    With several processes, a parent serves the admin address for all of them, and restarts those that end.
    """
    with StopSignals() as signals:  # before what takes time, imports included
        from consumer.cli.access import read_all_settings

        settings = read_all_settings()
        if share is not None and parent is not None:
            from consumer.domain.share import Share
            from consumer.member import Parent

            tie = Parent(socket.socket(fileno=parent), Share(*share))
            _serve(settings, signals, tie.share, tie.report)
        count = _count(settings, processes)
        if count > 1:
            from consumer.processes import run_all

            run_all(settings, count, os.environ, signals)
        _serve_alone(settings, signals)


def _serve_alone(settings: "Settings", signals: StopSignals) -> NoReturn:
    from consumer.domain.share import Share

    everything = Share()
    _serve(settings, signals, lambda: everything, lambda _port, _status, _renew: None)


def _serve(
    settings: "Settings",
    signals: StopSignals,
    share: "Callable[[], Share]",
    on_start: "Callable[[int, Callable[[], EngineStatus], Callable[[], None]], None]",
) -> NoReturn:
    from consumer.preflight import begin
    from schemas.process.memory import share_one_heap

    share_one_heap()
    checks = begin(settings)  # the brokers answer while the service is imported
    from consumer.service import run as serve

    serve(settings, signals, checks, share, on_start)


def _count(settings: "Settings", given: int | Literal["auto"] | None) -> int:
    """Return the number of processes; for ``auto`` the brokers are asked how many partitions there are."""
    wanted = settings.processes if given is None else given
    if wanted != "auto":
        return wanted
    from consumer.adapters.kafka.topic_admin import TopicAdmin

    topic = TopicAdmin(settings.kafka).facts([settings.topics.requests]).get(settings.topics.requests)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores if topic is None else min(cores, topic.partitions)
