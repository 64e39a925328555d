"""``python -m tests.support.stuck WHAT``: the service, of which one thread stops going on some seconds after its start.

``WHAT``: ``owner``, ``core``, ``producer``, or ``nothing``. The watchdog's limits and the time-outs that they go with
are a tenth of what they are in earnest.
"""

import sys
import time
from typing import Any

from consumer import bootstrap
from consumer.adapters import kafka_out
from consumer.adapters.kafka_in import KafkaSource
from consumer.adapters.kafka_out import TransactionalSink
from consumer.cli import main
from consumer.engine.core import Core

TENTH = 0.1
GOES_WELL_SECONDS = 2.0
LONG_SECONDS = 3600
SCALED = {
    bootstrap: ("OWNER_LIMIT_SECONDS", "CORE_LIMIT_SECONDS", "PRODUCER_LIMIT_SECONDS"),
    kafka_out: (
        *("CALL_TIMEOUT_SECONDS", "INIT_TIMEOUT_SECONDS", "OFFSETS_TIMEOUT_SECONDS"),
        *("FIRST_PATIENCE_SECONDS", "MOST_PATIENCE_SECONDS"),
    ),
}
STUCK = {"owner": (KafkaSource, "_turn"), "core": (Core, "tick"), "producer": (TransactionalSink, "_timed")}


def _scale() -> None:
    for module, names in SCALED.items():
        for name in names:
            setattr(module, name, TENTH * getattr(module, name))


def _stick(owner: type, name: str) -> None:
    """From some moment on the method does not come back; a producer's call sticks inside the method that times it."""
    well, until = getattr(owner, name), time.monotonic() + GOES_WELL_SECONDS

    def method(self: Any, *args: Any) -> Any:  # noqa: ANN401 - in the place of any method
        if time.monotonic() < until:
            return well(self, *args)
        return well(self, time.sleep, LONG_SECONDS) if name == "_timed" else time.sleep(LONG_SECONDS)

    setattr(owner, name, method)


if __name__ == "__main__":
    _scale()
    if sys.argv[1] in STUCK:
        _stick(*STUCK[sys.argv[1]])
    sys.exit(main(["run"]))
