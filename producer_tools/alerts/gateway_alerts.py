"""All that a gateway needs to take alerts in, put together."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from starlette.routing import Route

from producer_tools.alerts.asked import AskedRequests
from producer_tools.alerts.endpoint import PATH, AlertEndpoint
from producer_tools.alerts.intake import AlertIntake, Publisher
from producer_tools.alerts.read_back import ReadBack
from producer_tools.alerts.rules import DefaultKey
from producer_tools.alerts.rules_watch import RulesWatch
from producer_tools.connection import Connection
from producer_tools.gateway.bodies import Bodies
from producer_tools.gateway.known_results import ResultRecord
from producer_tools.gateway.problems import Problem
from producer_tools.topic_reader import TopicReader
from schemas.contract import GatewayCode
from schemas.settings import Settings


class GatewayAlerts:
    """Takes alerts in at one gateway: route, rules, memory, and what is counted.

    Making one reads the rules, and raises ``InvalidRequestError`` with every mistake. ``unavailable`` says why nothing
    can be written now. ``take_results`` is to be called with each result that is read, and ``run`` for as long as
    the gateway runs.
    """

    def __init__(
        self,
        settings: Settings,
        rules_file: Path,
        publisher: Publisher,
        bodies: Bodies,
        unavailable: Callable[[], Problem | None],
    ) -> None:
        self._unavailable = unavailable
        self._asked = AskedRequests()
        key = settings.api_key.get_secret_value() if settings.api_key else None
        self.watch = RulesWatch(rules_file, DefaultKey(key))
        self.intake = AlertIntake(
            publisher, lambda: self.watch.rules, self._asked, max_products=settings.max_products_per_request
        )
        connection, results = Connection(settings.kafka), settings.topics.results
        self._read_back = ReadBack(
            lambda since: TopicReader(connection, results, since),
            self._asked,
            lambda: self.watch.rules.read_back_seconds,
        )
        tokens = [token.get_secret_value() for token in settings.gateway.alert_tokens]
        endpoint = AlertEndpoint(tokens, bodies, self.intake, self._problem)
        self.route = Route(PATH, endpoint.notify, methods=["POST"])

    def take_results(self, records: Sequence[ResultRecord]) -> None:
        """Remember that these requests have a result, whoever made them: their alerts do not ask again."""
        for record in records:
            self._asked.add(record.request_id.encode())

    async def run(self) -> None:
        """Follow changes of the rules and read results of the past, until cancelled."""
        await asyncio.gather(self.watch.run(), self._read_back.run())

    def _problem(self) -> Problem | None:
        if not self._read_back.complete:
            return Problem.of_gateway(GatewayCode.GATEWAY_BUSY, problem="Earlier results are still being read")
        return self._unavailable()
