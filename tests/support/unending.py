"""``python -m tests.support.unending WHAT``: the service, of which one thing never comes to its end, as ``WHAT`` says.

It says ``stands still`` on stderr when that has begun.
"""

import asyncio
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from consumer import bootstrap
from consumer.adapters.kafka import source as kafka_in
from consumer.adapters.kafka import transactions
from consumer.adapters.mirakl.client import Cm21
from consumer.adapters.stores import DirectoryReader
from consumer.cli import main
from consumer.engine.core import Core

FOR_EVER: Final = 3600.0
STANDS_STILL: Final = "stands still"
GOES_WELL_SECONDS: Final = 2.0
COLLECTING_SECONDS: Final = 0.03


def stand_still(*_: object) -> Any:  # noqa: ANN401 - in the place of anything
    sys.stderr.write(f"{STANDS_STILL}\n")
    time.sleep(FOR_EVER)


async def _stand_still_aside(*_: object) -> Any:  # noqa: ANN401
    """A thread that the loop waits for when it closes, and the interpreter when it ends."""
    await asyncio.get_running_loop().run_in_executor(None, stand_still)


async def _never_mind(*_: object) -> Any:  # noqa: ANN401
    """A call that goes on although it was cancelled."""
    sys.stderr.write(f"{STANDS_STILL}\n")
    while True:
        try:
            await asyncio.sleep(FOR_EVER)
        except asyncio.CancelledError:
            continue


def _after_a_while(owner: type, name: str) -> None:
    """The method goes well for a while, from its first call on: a start takes as long as the machine lets it."""
    well, until = getattr(owner, name), list[float]()

    def method(*args: Any) -> Any:  # noqa: ANN401 - in the place of any method
        if not until:
            until.append(time.monotonic() + GOES_WELL_SECONDS)
        return well(*args) if time.monotonic() < until[0] else stand_still()

    setattr(owner, name, method)


def _class_with(module: Any, name: str, method: str) -> None:  # noqa: ANN401 - a module
    """Replace a class of librdkafka's by one of which a method stands still."""
    setattr(module, name, type(name, (getattr(module, name),), {method: stand_still}))


def _told_to_stop_amid_garbage() -> None:
    """SIGTERM while what the start has left is collected: some 50 ms, most of them in a destructor of librdkafka's."""
    collect = gc.collect

    def told() -> int:
        threading.Timer(COLLECTING_SECONDS, os.kill, (os.getpid(), signal.SIGTERM)).start()
        return collect()

    setattr(gc, "collect", told)  # noqa: B010 - its type takes arguments that nobody gives


UNENDING: Final[dict[str, Callable[[], None]]] = {
    "start": partial(setattr, bootstrap, "require_brokers", stand_still),
    "start, told to stop": _told_to_stop_amid_garbage,
    "loop": partial(setattr, Core, "_stop_requested", stand_still),
    "cancelled call": partial(setattr, Cm21, "synchronize", _never_mind),
    "thread of a call": partial(setattr, Cm21, "synchronize", _stand_still_aside),
    "database": partial(_after_a_while, DirectoryReader, "read"),
    "leaving": partial(_class_with, kafka_in, "Consumer", "close"),
    "commit": partial(_class_with, transactions, "Producer", "commit_transaction"),
    "nothing": lambda: None,
}

if __name__ == "__main__":
    UNENDING[sys.argv[1]]()
    sys.exit(main(["run"]))
