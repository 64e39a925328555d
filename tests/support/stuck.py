"""``python -m tests.support.stuck WHAT FILE``: the service, of which one thread stands still once FILE exists.

``WHAT``: ``owner``, ``core``, ``producer``, or ``nothing``. The watchdog's limits and the time-outs that they go with
are a tenth of what they are in earnest.
"""

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from consumer import service
from consumer.adapters.kafka import sink as kafka_out
from consumer.adapters.kafka.sink import TransactionalSink
from consumer.adapters.kafka.source import KafkaSource
from consumer.cli import main
from consumer.engine.core import Core

TENTH = 0.1
LONG_SECONDS = 3600
SCALED = {
    kafka_out: (
        *("CALL_TIMEOUT_SECONDS", "INIT_TIMEOUT_SECONDS", "OFFSETS_TIMEOUT_SECONDS"),
        *("FIRST_PATIENCE_SECONDS", "MOST_PATIENCE_SECONDS"),
    ),
}
STUCK = {"owner": (KafkaSource, "_turn"), "core": (Core, "_tick"), "producer": (TransactionalSink, "_timed")}


def _scale() -> None:
    policy = service.POLICY
    limits = {name: TENTH * getattr(policy, name) for name in ("owner_limit", "core_limit", "producer_limit")}
    service.POLICY = replace(policy, **limits)  # type: ignore[misc]  # a constant, for everybody else
    for module, names in SCALED.items():
        for name in names:
            setattr(module, name, TENTH * getattr(module, name))


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
