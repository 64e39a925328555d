"""The remote control of a running simulator: JSON below ``/_control``.

=========================  ==========================================================================================
``GET state``              base URL, violations, and of each instance rules and counters; the scripted faults
``GET journal``            submissions, by ``?instance=&tracking_id=&mirakl_product_id=&after=&limit=``
``POST faults``            script a ``Fault``, or a list of them; ``?instance=`` for one of them
``DELETE faults``          forget them, ``?instance=`` of one of them
``PUT rules``              set ``Rules``, ``?instance=`` of one of them
``POST forget``            forget faults, counters, violations and journal
=========================  ==========================================================================================
"""

import json
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from pydantic import TypeAdapter, ValidationError

from producer_tools.sandbox.mirakl.faults import Fault, error_response
from producer_tools.sandbox.mirakl.instances import MiraklInstances
from producer_tools.sandbox.mirakl.rules import Rules
from producer_tools.sandbox.mirakl.wire import Delivery, Request, response

FAULTS: Final[TypeAdapter[Fault | list[Fault]]] = TypeAdapter(Fault | list[Fault])
_MOST_SUBMISSIONS: Final = 100_000


class Control:
    """Carries out the commands below ``/_control``, by which tests and people script the simulator from afar."""

    def __init__(self, simulator: MiraklInstances) -> None:
        self._simulator = simulator
        self._commands: Mapping[str, Callable[[dict[str, str], bytes], object]] = {
            "GET state": self._state,
            "GET journal": self._journal,
            "POST faults": self._add_faults,
            "DELETE faults": self._clear_faults,
            "PUT rules": self._set_rules,
            "POST forget": self._forget,
        }

    def answer(self, request: Request) -> Delivery:
        """Carry out a command; one that cannot be read changes nothing."""
        url = urlsplit(request.target)
        command = self._commands.get(f"{request.method} {url.path.removeprefix('/_control/')}")
        if command is None:
            return Delivery(error_response(404, f"No such command; there are: {', '.join(self._commands)}"))
        try:
            answer = command(dict(parse_qsl(url.query)), request.body)
        except (ValidationError, ValueError) as error:
            return Delivery(error_response(400, str(error)))
        return Delivery(response(200, json.dumps(answer).encode()))

    def _state(self, _: dict[str, str], __: bytes) -> object:
        simulator = self._simulator
        return {
            "base_url": simulator.base_url,
            "accepted_connections": simulator.accepted_connections,
            "violation_count": simulator.violation_count,
            "violations": list(simulator.violations),
            "faults": simulator.scripted_faults,
            "rules": _without_credentials(simulator.rules),
            "instances": {
                instance.name: {
                    "url": simulator.url(instance.name),
                    "counters": instance.counters.as_json(),
                    "rules": _without_credentials(instance.rules),
                }
                for instance in simulator.instances
            },
        }

    def _journal(self, query: dict[str, str], _: bytes) -> object:
        journal = self._simulator.journal
        if "tracking_id" in query:
            found = journal.find(query["tracking_id"])
            submissions = [] if found is None else [found]
        else:
            matching = journal.search(
                query.get("instance"), query.get("mirakl_product_id"), float(query.get("after", 0))
            )
            submissions = list(islice(matching, int(query.get("limit", _MOST_SUBMISSIONS))))
        return {"submissions": [each.as_json() for each in submissions], "forgotten": journal.forgotten}

    def _add_faults(self, query: dict[str, str], body: bytes) -> object:
        faults = FAULTS.validate_json(body)
        for fault in faults if isinstance(faults, list) else [faults]:
            self._simulator.add_fault(fault, query.get("instance"))
        return self._simulator.scripted_faults

    def _clear_faults(self, query: dict[str, str], _: bytes) -> object:
        self._simulator.clear_faults(query.get("instance"))
        return self._simulator.scripted_faults

    def _set_rules(self, query: dict[str, str], body: bytes) -> object:
        rules = Rules.model_validate_json(body)
        self._simulator.set_rules(rules, query.get("instance"))
        return _without_credentials(rules)

    def _forget(self, _: dict[str, str], __: bytes) -> object:
        self._simulator.forget()
        return {}


def _without_credentials(rules: Rules) -> object:
    return rules.model_dump(mode="json", exclude_defaults=True, exclude={"authorization"})
