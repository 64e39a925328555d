"""``python -m tests.support.stuck WHAT FILE``: the service, of which one thread stands still once FILE exists.

``WHAT``: ``owner``, ``core``, ``producer``, or ``nothing``. The watchdog's limits and the time-outs that they go with
are a tenth of what they are in earnest.
"""

import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from consumer import bootstrap, service
from consumer.adapters.kafka.policy import PUBLISHING
from consumer.adapters.kafka.source import KafkaSource
from consumer.adapters.kafka.transactions import TransactionalSink
from consumer.cli import main
from consumer.engine.core import Core

TENTH = 0.1
LONG_SECONDS = 3600
LIMITS = ("owner_limit", "core_limit", "producer_limit")
TIMEOUTS = ("call_timeout", "init_timeout", "offsets_timeout", "first_patience", "longest_patience")
STUCK = {"owner": (KafkaSource, "_turn"), "core": (Core, "_tick"), "producer": (TransactionalSink, "_timed")}


def _scale() -> None:
    limits = {name: TENTH * getattr(service.POLICY, name) for name in LIMITS}
    setattr(service, "POLICY", replace(service.POLICY, **limits))  # noqa: B010 - a constant, for everybody else
    timeouts = {name: TENTH * getattr(PUBLISHING, name) for name in TIMEOUTS}
    impatient = partial(TransactionalSink, policy=replace(PUBLISHING, **timeouts))
    setattr(bootstrap, "TransactionalSink", impatient)  # noqa: B010 - makes the same, which its type does not say


def _stick(owner: type, name: str, once: Path) -> None:
    """The method does not come back any more; a producer's call does not inside the method that times it."""
    well = getattr(owner, name)

    def method(self: Any, *args: Any) -> Any:  # noqa: ANN401 - in the place of any method
        if not once.exists():
            return well(self, *args)
        return well(self, _stand_still) if name == "_timed" else _stand_still()

    setattr(owner, name, method)


def _stand_still() -> None:
    time.sleep(LONG_SECONDS)


if __name__ == "__main__":
    _scale()
    if sys.argv[1] in STUCK:
        _stick(*STUCK[sys.argv[1]], Path(sys.argv[2]))
    sys.exit(main(["run"]))
