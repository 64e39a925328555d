"""All instances of a simulated Mirakl: their rules, faults, journal and violations, scripted and read from Python."""

import random
import sys
from collections import deque
from collections.abc import Callable
from typing import IO, Final
from urllib.parse import quote

from producer_tools.sandbox.mirakl.faults import Fault, FaultPlan
from producer_tools.sandbox.mirakl.instance import Instance, Surroundings
from producer_tools.sandbox.mirakl.journal import DEFAULT_BYTES, Counters, Journal
from producer_tools.sandbox.mirakl.rules import Rules

DEFAULT_INSTANCE: Final = "default"
_KEPT_VIOLATIONS: Final = 1000


def _shout(violation: str) -> None:
    print(f"VIOLATION of CM21: {violation}", file=sys.stderr, flush=True)  # noqa: T201 - meant for people


class MiraklInstances:
    """The instances of one simulator.

    ``seed`` makes tracking ids, latencies and probabilities repeat. ``shout`` gets each violation as it happens.
    """

    def __init__(
        self,
        *,
        seed: int | None = None,
        rules: Rules | None = None,
        journal_bytes: int = DEFAULT_BYTES,
        journal_file: IO[str] | None = None,
        shout: Callable[[str], None] = _shout,
    ) -> None:
        randomness = random.Random(seed)  # noqa: S311 - a simulation repeats
        self.journal = Journal(journal_bytes, journal_file)
        self.violations: deque[str] = deque(maxlen=_KEPT_VIOLATIONS)
        """The latest; ``violation_count`` counts all."""
        self.violation_count = 0
        self.accepted_connections = 0
        self.base_url = ""
        """Of the instance ``default``; set while serving."""
        self._shout = shout
        self._plan = FaultPlan(randomness)
        self._surroundings = Surroundings(self._plan, self.journal, randomness, self._violated)
        self._rules = rules or Rules()
        self._instances: dict[str, Instance] = {}

    def url(self, instance: str) -> str:
        """Return the base URL for a client specification that calls this instance."""
        return f"{self.base_url}/c/{quote(instance, safe='')}"

    @property
    def rules(self) -> Rules:
        """The rules of all instances without rules of their own."""
        return self._rules

    def set_rules(self, rules: Rules, instance: str | None = None) -> None:
        """Set an instance's standing behaviour, or that of all of them."""
        if instance is not None:
            self.instance(instance).rules = rules
            return
        self._rules = rules
        for each in self._instances.values():
            each.rules = rules

    def add_fault(self, fault: Fault, instance: str | None = None) -> None:
        """Script a fault for an instance, or for all."""
        self._plan.add(fault, instance)

    def clear_faults(self, instance: str | None = None) -> None:
        """Forget the scripted faults of one instance, or of all instances if none is named."""
        self._plan.clear(instance)

    @property
    def scripted_faults(self) -> list[dict[str, object]]:
        return self._plan.listing()

    def counters(self, instance: str = DEFAULT_INSTANCE) -> Counters:
        return self.instance(instance).counters

    @property
    def instances(self) -> list[Instance]:
        return list(self._instances.values())

    def instance(self, name: str) -> Instance:
        """Return an instance, which is created when it is first mentioned."""
        found = self._instances.get(name)
        if found is None:
            found = self._instances[name] = Instance(name, self._rules, self._surroundings)
        return found

    def forget(self) -> None:
        """Forget faults, counters, violations and journal, as between two tests; rules stay."""
        self.clear_faults()
        self.journal.clear()
        self.violations.clear()
        self.violation_count = self.accepted_connections = 0
        for each in self._instances.values():
            each.counters = Counters(concurrent_calls=each.counters.concurrent_calls)

    def _violated(self, violation: str) -> None:
        self.violations.append(violation)
        self.violation_count += 1
        self._shout(violation)
